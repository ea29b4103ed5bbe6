"""With AWS credentials the gateway signs each request for the service that its provider's host is."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

CONFIG = """
[providers.aws]
kind = "{kind}"
base_url = "http://{host}"
proxy = "{proxy}"
aws = {{ region = "us-east-1", access_key_id = "AKIATEST", secret_access_key = "not-a-secret" }}

[[keys]]
id = "k"
secret = "sk-test-signed"
team = "t"
workflow = "w"
"""


def script(_: Seen) -> Iterable[Step]:
    return [answer(json.dumps({"usage": {"input_tokens": 3, "output_tokens": 2}}).encode())]


@pytest.mark.parametrize(
    ("kind", "host", "path", "service"),
    [
        ("bedrock", "bedrock-runtime.us-east-1.amazonaws.com", "/model/a%3A0/invoke", "bedrock"),
        ("bedrock", "Bedrock-Runtime.US-East-1.amazonaws.com", "/model/a%3A0/invoke", "bedrock"),
        ("bedrock", "bedrock-mantle.us-east-1.api.aws", "/anthropic/v1/messages", "bedrock-mantle"),
        ("bedrock", "vpce-1.bedrock-mantle.us-east-1.vpce.amazonaws.com", "/v1/chat/completions", "bedrock-mantle"),
        ("anthropic", "aws-external-anthropic.us-east-1.api.aws", "/v1/messages", "aws-external-anthropic"),
    ],
)
def test_a_request_is_signed_for_the_service_that_its_host_is(
    tmp_path: Path, kind: str, host: str, path: str, service: str
) -> None:
    body = b'{"model": "m", "max_tokens": 2, "messages": []}'
    with Upstream(script) as proxy, Gateway(tmp_path, CONFIG.format(kind=kind, host=host, proxy=proxy.url)) as gateway:
        request = urllib.request.Request(f"{gateway.url}/aws{path}", data=body, method="POST")
        request.add_header("x-spendgate-key", "sk-test-signed")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as told:
            assert told.status == 200
        (seen,) = proxy.seen
    assert (seen.header("host"), seen.target.endswith(path)) == (host.lower(), True)
    authorization, moment = seen.header("authorization") or "", seen.header("x-amz-date") or ""
    assert f"Credential=AKIATEST/{moment[:8]}/us-east-1/{service}/aws4_request" in authorization
    # the same request, signed by botocore for the same moment, has the same signature
    same = AWSRequest(
        "POST", f"http://{host.lower()}{path}", {"Content-Type": "application/json", "Host": host.lower()}, body
    )
    same.context["timestamp"] = moment
    same.headers["X-Amz-Date"] = moment
    signer = SigV4Auth(Credentials("AKIATEST", "not-a-secret"), service, "us-east-1")
    signature = signer.signature(signer.string_to_sign(same, signer.canonical_request(same)), same)
    assert re.search(r"Signature=(\w+)$", authorization).group(1) == signature  # type: ignore[union-attr]

"""Credentials that end: Entra's and Google's tokens, and AWS keys, fetched and renewed away from the calls."""

from __future__ import annotations

import base64
import http.client
import json
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

KEY = "sk-test-credentials"
SECRET = "entra-application-secret"
PEOPLE = f'[[keys]]\nid = "k"\nsecret = "{KEY}"\nteam = "t"\nworkflow = "w"\n'
USAGE = {"usage": {"prompt_tokens": 3, "completion_tokens": 4}, "usageMetadata": {"promptTokenCount": 3}}
VERTEX = "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent"
AZURE = "/openai/v1/chat/completions"


class Authority:
    """Grants a new token each time, of a life of ``seconds``; refuses while ``closed``, and for the key ``revoked``."""

    def __init__(self) -> None:
        self.seconds = 3600
        self.revoked = "none"
        self.closed = False
        self.granted: list[dict[str, str]] = []

    def script(self, seen: Seen) -> Iterable[Step]:
        form = {name: values[0] for name, values in parse_qs(seen.body.decode()).items()}
        if key_of(form) == self.revoked:
            return [answer(b'{"error":"invalid_grant","error_description":"Invalid JWT Signature."}', status=400)]
        if self.closed:
            return [answer(b'{"error":"temporarily_unavailable"}', status=503)]
        self.granted.append({**form, "target": seen.target})
        token = {"access_token": f"token-{len(self.granted)}", "expires_in": self.seconds, "token_type": "Bearer"}
        return [answer(json.dumps(token).encode())]


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def tokens(authority: Authority) -> Iterator[Upstream]:
    with Upstream(authority.script) as running:
        yield running


@pytest.fixture
def provider() -> Iterator[Upstream]:
    with Upstream(lambda _: [answer(json.dumps({"model": "m", **USAGE}).encode())]) as running:
        yield running


def azure(provider: Upstream, tokens: Upstream) -> str:
    return (
        f'[providers.azure]\nkind = "azure"\nbase_url = "{provider.url}"\n[providers.azure.azure]\n'
        f'tenant_id = "tenant-1"\nclient_id = "app-1"\nclient_secret = "{SECRET}"\nauthority = "{tokens.url}"\n{PEOPLE}'
    )


def ask(gateway: Gateway, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"model": "m", "messages": [], "contents": []})
    connection.request("POST", path, body, {"content-type": "application/json", **named})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, response.headers


def wait_for(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_azure_is_called_with_the_gateways_own_token(
    tmp_path: Path, authority: Authority, tokens: Upstream, provider: Upstream
) -> None:
    with Gateway(tmp_path, azure(provider, tokens)) as gateway:
        for _ in range(3):
            assert ask(gateway, "/azure" + AZURE, api_key=KEY)[0] == 200
        log = gateway.log()
    assert [seen.header("authorization") for seen in provider.seen] == ["Bearer token-1"] * 3
    assert all(KEY not in str(seen.headers) and seen.header("api-key") is None for seen in provider.seen)
    assert len(authority.granted) == 1
    granted = authority.granted[0]
    assert granted["target"] == "/tenant-1/oauth2/v2.0/token"
    assert (granted["grant_type"], granted["client_id"], granted["client_secret"]) == (
        "client_credentials",
        "app-1",
        SECRET,
    )
    assert granted["scope"] == "https://cognitiveservices.azure.com/.default"
    assert SECRET not in log


def test_a_token_is_renewed_before_it_ends_without_a_call_waiting_for_it(
    tmp_path: Path, authority: Authority, tokens: Upstream, provider: Upstream
) -> None:
    authority.seconds = 3
    with Gateway(tmp_path, azure(provider, tokens)) as gateway:
        wait_for(lambda: len(authority.granted) >= 3)
        assert ask(gateway, "/azure" + AZURE, api_key=KEY)[0] == 200
    number = int((provider.seen[-1].header("authorization") or "").removeprefix("Bearer token-"))
    assert number >= 2


def test_without_a_token_a_call_fails_by_name_and_costs_nothing_until_there_is_one(
    tmp_path: Path, authority: Authority, tokens: Upstream, provider: Upstream
) -> None:
    authority.closed = True
    with Gateway(tmp_path, azure(provider, tokens)) as gateway:
        status, headers = ask(gateway, "/azure" + AZURE, api_key=KEY)
        assert status in (502, 503)
        assert headers["x-spendgate-error"]
        record = gateway.get("/api/requests/" + headers["x-spendgate-request-id"])
        assert (record["outcome"], record["cost_nanousd"]) == ("upstream_error", 0)
        assert provider.seen == []
        address = f"ws://127.0.0.1:{gateway.port}/azure/openai/realtime?deployment=m"
        with pytest.raises(InvalidStatus) as refused:
            connect(address, additional_headers={"api-key": KEY})
        told = refused.value.response
        assert (told.status_code, told.headers["x-spendgate-error"]) == (status, headers["x-spendgate-error"])
        authority.closed = False
        wait_for(lambda: ask(gateway, "/azure" + AZURE, api_key=KEY)[0] == 200)
        assert SECRET not in gateway.log()


def key_of(form: dict[str, str]) -> str:
    """The key that signed a service account's request for a token; empty where none did."""
    if "assertion" not in form:
        return ""
    head = form["assertion"].split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


def service_account(directory: Path, token_url: str, key_id: str = "k1") -> Path:
    """A key file as Google's console makes it, but for where its tokens come from."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = directory / "account.json"
    path.write_text(
        json.dumps({"type": "service_account", "project_id": "p", "private_key_id": key_id, "private_key": pem.decode(),
                    "client_email": "gateway@p.iam.gserviceaccount.com", "client_id": "1", "token_uri": token_url})
    )  # fmt: skip
    return path


def test_vertex_is_called_with_a_token_of_the_service_account(
    tmp_path: Path, authority: Authority, tokens: Upstream, provider: Upstream
) -> None:
    account = service_account(tmp_path, tokens.url + "/token")
    config = (
        f'[providers.vertex]\nkind = "vertex"\nbase_url = "{provider.url}"\n[providers.vertex.google]\n'
        f'service_account_file = "{account}"\n{PEOPLE}'
    )
    with Gateway(tmp_path, config) as gateway:
        status, headers = ask(gateway, "/vertex" + VERTEX, authorization=f"Bearer {KEY}")
        record = gateway.get("/api/requests/" + headers["x-spendgate-request-id"])
    assert (status, record["usage"]) == (200, {"input_tokens_total": 3})
    assert provider.seen[0].header("authorization") == "Bearer token-1"
    claims = authority.granted[0]["assertion"].split(".")[1]
    claimed = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert claimed["iss"] == "gateway@p.iam.gserviceaccount.com"
    assert claimed["scope"] == "https://www.googleapis.com/auth/cloud-platform"


def test_a_service_accounts_new_key_is_taken_without_a_restart(
    tmp_path: Path, authority: Authority, tokens: Upstream, provider: Upstream
) -> None:
    account = service_account(tmp_path, tokens.url + "/token", "k1")
    config = (
        f'[providers.vertex]\nkind = "vertex"\nbase_url = "{provider.url}"\n[providers.vertex.google]\n'
        f'service_account_file = "{account}"\n{PEOPLE}'
    )
    authority.seconds = 4
    with Gateway(tmp_path, config) as gateway:
        assert ask(gateway, "/vertex" + VERTEX, authorization=f"Bearer {KEY}")[0] == 200
        authority.revoked = "k1"
        service_account(tmp_path, tokens.url + "/token", "k2")
        wait_for(lambda: key_of(authority.granted[-1]) == "k2")
        assert ask(gateway, "/vertex" + VERTEX, authorization=f"Bearer {KEY}")[0] == 200


def test_a_callers_own_token_passes_through_where_the_gateway_has_none(tmp_path: Path, provider: Upstream) -> None:
    kinds = (("vertex", VERTEX), ("azure", AZURE))
    config = "".join(f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{provider.url}"\n' for kind, _ in kinds)
    with Gateway(tmp_path, config + PEOPLE) as gateway:
        for kind, path in kinds:
            own = {"authorization": "Bearer ya29.callers-own", "x_spendgate_key": KEY}
            status, headers = ask(gateway, f"/{kind}{path}", **own)
            assert status == 200
            assert gateway.get("/api/requests/" + headers["x-spendgate-request-id"])["team"] == "t"
    for seen in provider.seen:
        assert seen.header("authorization") == "Bearer ya29.callers-own"
        assert KEY not in str(seen.headers)


PROCESS = """#!{python}
import datetime, json, pathlib
count = pathlib.Path({count!r})
number = len(count.read_text()) + 1 if count.exists() else 1
count.write_text("x" * number)
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=10)
print(json.dumps({{"Version": 1, "AccessKeyId": "AKID%d" % number, "SecretAccessKey": "secret",
                  "SessionToken": "session-%d" % number, "Expiration": end.isoformat()}}))
"""


def test_aws_keys_that_end_are_fetched_away_from_the_calls(
    tmp_path: Path, provider: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, program, settings = tmp_path / "count", tmp_path / "keys.py", tmp_path / "aws"
    program.write_text(PROCESS.format(python=sys.executable, count=str(count)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    settings.write_text(f"[profile gateway]\ncredential_process = {program}\n")
    config = (
        f'[providers.bedrock]\nkind = "bedrock"\nbase_url = "{provider.url}"\n'
        f'aws = {{ region = "us-east-1", profile = "gateway" }}\n{PEOPLE}'
    )
    env = {"AWS_CONFIG_FILE": str(settings), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
           "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with Gateway(tmp_path, config, env=env) as gateway:
        wait_for(count.exists)
        fetched = len(count.read_text())
        for _ in range(5):
            path = "/bedrock/model/amazon.nova-lite-v1%3A0/converse"
            assert ask(gateway, path, x_spendgate_key=KEY)[0] == 200
        # they end in ten minutes, which is soon: but no call fetched new ones
        assert len(count.read_text()) <= fetched + 1
    found: list[Any] = [seen.header("authorization") for seen in provider.seen]
    assert all("Credential=AKID" in line and "/us-east-1/bedrock/aws4_request" in line for line in found)
    assert all((seen.header("x-amz-security-token") or "").startswith("session-") for seen in provider.seen)

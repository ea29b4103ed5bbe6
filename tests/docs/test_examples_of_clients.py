"""Examples of clients in the documentation work as they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

DOCS = Path(__file__).parents[2] / "docs"
CONFIG = """
[providers.bedrock]
kind = "bedrock"
base_url = "{url}"
aws = {{ region = "us-east-1", access_key_id = "AKIATEST", secret_access_key = "not-a-secret" }}

[[keys]]
id = "k"
secret = "sk-demo-search-ranking"
team = "t"
workflow = "w"
"""


def script(_: Seen) -> Iterable[Step]:
    said = {"role": "assistant", "content": [{"text": "hi"}]}
    usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
    words = {"output": {"message": said}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}
    return [answer(json.dumps(words).encode())]


def test_boto3_sends_its_key_beside_a_signature_over_plain_http(tmp_path: Path) -> None:
    text = (DOCS / "configuration.md").read_text()
    (example,) = re.findall(r"```python\n(import boto3\n.*?)```", text, re.DOTALL)
    with Upstream(script) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        names: dict[str, Any] = {}
        exec(example.replace("http://127.0.0.1:8080", gateway.url), names)
        told = names["bedrock"].converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])
        (record,) = gateway.records()
        (seen,) = upstream.seen
    assert told["usage"]["totalTokens"] == 5
    assert (record["key_id"], record["usage"]["output_tokens_total"]) == ("k", 2)
    assert "Credential=AKIATEST/" in (seen.header("authorization") or "")
    assert seen.header("x-spendgate-key") is None

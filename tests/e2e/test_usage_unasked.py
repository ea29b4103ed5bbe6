"""A server that reports the usage of its streams unasked, and one that does so only when asked: both streams pass as
their servers would have sent them to the client."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head
from usages import SSE, sse

KEY = "sk-test-unasked"
USAGE = {"prompt_tokens": 11, "completion_tokens": 7}
SAYS = {"model": "m", "choices": [{"index": 0, "delta": {"content": "so"}}]}
REPORT = {"model": "m", "choices": [], "usage": USAGE}
UNASKED = sse({**SAYS, "usage": None}, {**SAYS, "usage": None}, REPORT, done=True)
PLAIN = sse(SAYS, SAYS, done=True)
ASKED = sse({**SAYS, "usage": None}, {**SAYS, "usage": None}, REPORT, done=True)


def server(seen: Seen) -> Iterator[Step]:
    always = seen.target.startswith("/always")
    asked = "stream_options" in json.loads(seen.body)
    yield chunked_head(SSE) + chunk(UNASKED if always else ASKED if asked else PLAIN) + LAST_CHUNK


def test_what_a_server_says_unasked_stays_in_its_streams(tmp_path: Path) -> None:
    with Upstream(server) as upstream:
        config = f"""
[providers.always]
kind = "openai-compatible"
base_url = "{upstream.url}/always"
api_key = "k"
usage_unasked = true
[providers.asked]
kind = "openai-compatible"
base_url = "{upstream.url}/asked"
api_key = "k"
[[keys]]
id = "k"
secret = "{KEY}"
team = "t"
workflow = "w"
"""
        with Gateway(tmp_path, config) as gateway:
            for name, stream in (("always", UNASKED), ("asked", PLAIN)):
                body = json.dumps({"model": "m", "messages": [], "stream": True}).encode()
                request = urllib.request.Request(
                    f"{gateway.url}/{name}/v1/chat/completions", body,
                    {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
                )  # fmt: skip
                with urllib.request.urlopen(request, timeout=20) as reply:
                    assert reply.read() == stream
            assert [seen.body == body for seen in upstream.seen] == [True, False]
            read = {"input_tokens_total": 11, "output_tokens_total": 7}
            assert [(one["usage"], one["usage_source"]) for one in gateway.records()] == [(read, "response")] * 2


WHOLE = json.dumps({"model": "m", "choices": [{"index": 0, "message": {"content": "so"}}], "usage": USAGE}).encode()
LAX = """
[providers.lax]
kind = "openai-compatible"
base_url = "{url}/lax"
api_key = "k"
[providers.strict]
kind = "openai-compatible"
base_url = "{url}/strict"
api_key = "k"
[[keys]]
id = "k"
secret = "sk-test-unasked"
team = "t"
workflow = "w"
"""


def lax(seen: Seen) -> Iterator[Step]:
    """Takes what pydantic takes for true; ``strict``: takes ``true`` alone, and answers all else at once."""
    said = json.loads(seen.body)["stream"]
    if said is True or seen.target.startswith("/lax"):
        yield from server(seen)
    else:
        yield answer(WHOLE)


@pytest.mark.parametrize("said", [True, 1, 1.0, "true", "True", "yes", "1"])
@pytest.mark.parametrize("provider", ["lax", "strict"])
def test_a_stream_that_is_asked_for_in_other_words_is_metered_whichever_way_it_comes(
    tmp_path: Path, provider: str, said: Any
) -> None:
    with Upstream(lax) as upstream, Gateway(tmp_path, LAX.format(url=upstream.url)) as gateway:
        body = json.dumps({"model": "m", "messages": [], "stream": said}).encode()
        request = urllib.request.Request(
            f"{gateway.url}/{provider}/v1/chat/completions", body,
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=20) as reply:
            assert reply.read() == (PLAIN if provider == "lax" or said is True else WHOLE)
        (one,) = gateway.records()
        assert (one["usage"], one["usage_source"], one["outcome"]) == (
            {"input_tokens_total": 11, "output_tokens_total": 7}, "response", "completed",
        )  # fmt: skip

"""A call that `kill -9` cut is told at the next start as one that was settled: where it was served, in which tier, and
whether a price is known; so that pricing it again changes nothing."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, chunk, chunked_head

KEY = "sk-test-recovered"
CONFIG = f"""
[providers.vertex]
kind = "vertex"
base_url = "{{url}}"
api_key = "ya29.real"

[providers.openai]
kind = "openai"
base_url = "{{url}}"
api_key = "sk-real"

[providers.perplexity]
kind = "perplexity"
base_url = "{{url}}"
api_key = "pplx-real"

[[prices]]
provider = "openai"
model = "gpt-5.4-mini"
service_tier = "priority"
input_per_mtok = 30.0
output_per_mtok = 200.0

[[keys]]
id = "k"
secret = "{KEY}"
team = "t"
workflow = "w"
"""
LOCATION = "/vertex/v1/projects/p/locations/europe-west1/publishers/anthropic/models"
CLAUDE = f"{LOCATION}/claude-sonnet-4-5@20250929:streamRawPredict"
CHAT = "/openai/v1/chat/completions"
ASKED = {"max_tokens": 200, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
STARTED = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929", "content": [],
           "usage": {"input_tokens": 1000, "output_tokens": 1}}  # fmt: skip
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one two three "}}


def frames(seen: Seen) -> Iterator[bytes]:
    """A stream without end."""
    if "anthropic" in seen.target:
        yield b"event: message_start\ndata: %b\n\n" % json.dumps({"type": "message_start", "message": STARTED}).encode()
        while True:
            yield b"event: content_block_delta\ndata: %b\n\n" % json.dumps(DELTA).encode()
    asked = json.loads(seen.body)
    piece = {"id": "c", "object": "chat.completion.chunk", "model": asked["model"],
             "choices": [{"index": 0, "delta": {"content": "one two three "}}]}  # fmt: skip
    while True:
        yield b"data: %b\n\n" % json.dumps(piece).encode()


def play(seen: Seen) -> Iterator[Step]:
    if seen.header("x-silent"):
        yield 60.0
    yield chunked_head("text/event-stream")
    for frame in frames(seen):
        yield chunk(frame)
        yield 0.05


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def cut(folder: Path, path: str, body: dict[str, Any], silent: bool = False) -> tuple[dict[str, Any], str]:
    """The record of a stream that a kill cut after a checkpoint, or of a call to which the provider had not answered;
    and what pricing again would change."""
    with Upstream(play) as upstream:
        gateway = Gateway(folder, CONFIG.format(url=upstream.url)).start()
        raw = json.dumps({**ASKED, **body}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(raw)}\r\n"
        head += "Content-Type: application/json\r\n" + "X-Silent: 1\r\n" * silent
        with socket.create_connection(("127.0.0.1", gateway.port), 10) as client:
            client.sendall(head.encode() + b"\r\n" + raw)
            ledger = sqlite3.connect(f"file:{folder}/data/ledger.db?mode=ro", uri=True)
            marks = ledger.execute
            if silent:
                until(lambda: bool(upstream.seen))
            else:
                until(lambda: marks("SELECT count(*) FROM checkpoints").fetchone() != (0,))
            gateway.kill()
        ledger.close()
        with gateway:
            (record,) = gateway.records()
            model = record["model"]
            estimated = gateway.value("spendgate_usage_estimated_total", model=model)
            unpriced = gateway.value("spendgate_unpriced_requests_total", model=model)
            assert gateway.cli("ledger", "verify").returncode == 0
            again = gateway.cli("ledger", "reprice", "--since", "2020-01-01", "--dry-run").stdout
    assert record["outcome"] == "recovered"
    assert (estimated, unpriced) == (record["usage_source"] == "estimated", not record["priced"])
    assert record["cost_nanousd"] == sum(line["nanousd"] for line in record["cost_lines"])
    return record, again.splitlines()[-1]


def test_a_stream_that_was_cut_is_told_and_priced_where_it_was_served(tmp_path: Path) -> None:
    record, again = cut(tmp_path, CLAUDE, {"anthropic_version": "vertex-2023-10-16"})
    assert record["region"] == "europe-west1"
    assert "regional +10%" in record["price"]
    assert record["cost_nanousd"] > 3_300_000
    assert again.startswith("0 calls would change")


def test_a_stream_that_was_cut_is_told_and_priced_in_the_tier_that_was_asked_for(tmp_path: Path) -> None:
    record, again = cut(tmp_path, CHAT, {"model": "gpt-5.4-mini", "service_tier": "priority"})
    assert record["service_tier"] == "priority"
    assert record["cost_nanousd"] >= record["usage"]["output_tokens_total"] * 200_000 > 0
    assert again.startswith("0 calls would change")


def test_a_stream_that_was_cut_says_that_no_price_is_known(tmp_path: Path) -> None:
    record, _ = cut(tmp_path, CHAT, {"model": "of-nobody"})
    assert (record["priced"], record["cost_nanousd"]) == (False, 0)
    assert record["usage"]["output_tokens_total"] > 0


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (CLAUDE, {"anthropic_version": "vertex-2023-10-16"}, ("europe-west1", "")),
        (CHAT, {"model": "gpt-5.4-mini", "service_tier": "priority"}, ("", "priority")),
        # it has a fee for each request
        ("/perplexity/chat/completions", {"model": "sonar"}, ("", "")),
    ],
)
def test_a_call_that_was_cut_before_its_answer_says_what_it_asked_for(
    tmp_path: Path, path: str, body: dict[str, Any], told: tuple[str, str]
) -> None:
    record, again = cut(tmp_path, path, body, silent=True)
    assert (record["region"], record["service_tier"]) == told
    assert again.startswith("0 calls would change")
    assert record["reserved_nanousd"] > 0

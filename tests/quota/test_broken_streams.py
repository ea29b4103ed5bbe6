"""What streams hold that break off, read slowly, or speak in leaps, under a rule that ends answers by closing them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head

OUTPUT_NANOUSD = 600
MARGIN_TOKENS = 64
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-broken"
team = "t"
workflow = "w"

[[prices]]
provider = "*"
model = "*"
input_per_mtok = 0.15
output_per_mtok = 0.6

[[quotas]]
name = "budget"
usd = {usd}
window = "total"
extend = {extend}

[on_disconnect]
policy = "cancel"
"""


class Provider:
    """Says ``at_once`` words an event until it has said ``words`` or nobody listens."""

    def __init__(
        self, words: int, at_once: int = 1, pause: float = 0.002, before: float = 0.0, padding: int = 0
    ) -> None:
        self.words = words
        self.at_once = at_once
        self.pause = pause
        self.before = before
        self.padding = padding
        self.said = 0

    def script(self, seen: Seen) -> Iterator[Step]:
        self.said = 0
        if self.before:
            yield self.before
        yield chunked_head("text/event-stream")
        while self.said < self.words:
            self.said += self.at_once
            said = {"index": 0, "delta": {"content": " word" * self.at_once}}
            yield event({"choices": [said], "obfuscation": "x" * self.padding})
            if self.pause:
                yield self.pause
        if json.loads(seen.body).get("stream_options"):
            usage = {"prompt_tokens": 9, "completion_tokens": self.said, "total_tokens": 9 + self.said}
            yield event({"choices": [], "usage": usage})
        yield chunk(b"data: [DONE]\n\n") + LAST_CHUNK


def event(data: dict[str, object]) -> bytes:
    return chunk(b"data: " + json.dumps({"id": "c", "model": "gpt-4o-mini", **data}).encode() + b"\n\n")


def ask(gateway: Gateway, most: int, until: Callable[[int], bool] = lambda _: False) -> str:
    """Read a stream until it ends or enough pieces came, then hang up; answers its finish reason."""
    client = openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key="sk-test-broken", max_retries=0)
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Go on."}], stream=True, max_tokens=most
    )
    reason = ""
    with stream:
        for number, piece in enumerate(stream):
            for choice in piece.choices:
                reason = choice.finish_reason or reason
            if until(number):
                break
    return reason


def settled(gateway: Gateway, count: int = 1) -> list[dict[str, Any]]:
    """The records, once so many calls have ended."""
    for _ in range(200):
        records = [record for record in gateway.records() if record["outcome"] != "rejected"]
        if len(records) >= count:
            return records
        time.sleep(0.05)
    raise AssertionError("the call did not settle")


def used(gateway: Gateway) -> int:
    [row] = gateway.get("/api/quotas")["quotas"]
    assert row["reserved"] == 0
    return round(row["used"] * 1e9)


def config(upstream: Upstream, usd: float, extend: str = "true") -> str:
    return CONFIG.format(url=upstream.url, usd=usd, extend=extend)


def test_a_stream_that_is_closed_holds_what_it_said_and_what_was_on_its_way(tmp_path: Path) -> None:
    provider = Provider(3000)
    with Upstream(provider.script) as upstream, Gateway(tmp_path, config(upstream, 10)) as gateway:
        ask(gateway, 4000, until=lambda number: number == 100)
        [record] = settled(gateway)
        assert record["outcome"] == "client_disconnected"
        assert record["reserved_output_tokens"] >= provider.said >= 100
        assert record["reserved_output_tokens"] <= provider.said + MARGIN_TOKENS
        assert used(gateway) == record["reserved_nanousd"]
        assert used(gateway) >= 9 * 150 + provider.said * OUTPUT_NANOUSD
        assert gateway.post("/api/quotas/verify")["differences"] == []


def test_without_extend_it_holds_all_that_it_could_have_become(tmp_path: Path) -> None:
    provider = Provider(3000)
    with Upstream(provider.script) as upstream, Gateway(tmp_path, config(upstream, 10, "false")) as gateway:
        ask(gateway, 4000, until=lambda number: number == 100)
        [record] = settled(gateway)
        assert record["outcome"] == "client_disconnected"
        assert record["reserved_output_tokens"] == 4000
        assert used(gateway) == record["reserved_nanousd"] >= 4000 * OUTPUT_NANOUSD


def test_what_a_broken_call_was_sent_is_held_as_counted_not_by_its_bytes(tmp_path: Path) -> None:
    def script(seen: Seen) -> Iterator[Step]:
        yield 5.0
        yield answer(b"{}")

    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream, 10, "false")) as gateway:
        client = openai.OpenAI(
            base_url=gateway.url + "/openai/v1", api_key="sk-test-broken", max_retries=0, timeout=0.3
        )
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "word " * 1000}], max_tokens=50
            )
        [record] = settled(gateway)
        assert record["outcome"] == "client_disconnected"
        assert 1000 <= record["reserved_input_tokens"] <= 1200
        assert record["reserved_output_tokens"] == 50


def test_a_stream_that_is_closed_before_it_begins_holds_what_was_on_its_way(tmp_path: Path) -> None:
    provider = Provider(3000, before=5.0)
    with Upstream(provider.script) as upstream, Gateway(tmp_path, config(upstream, 10)) as gateway:
        client = openai.OpenAI(
            base_url=gateway.url + "/openai/v1", api_key="sk-test-broken", max_retries=0, timeout=0.3
        )
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "Go on."}], stream=True, max_tokens=4000
            )
        [record] = settled(gateway)
        assert record["reserved_output_tokens"] == MARGIN_TOKENS


@pytest.mark.prove
def test_a_client_that_does_not_read_lets_no_provider_run_ahead_of_what_is_held(tmp_path: Path, prove: bool) -> None:
    """What fills the buffers between a provider and a client that does not read is more than the budget's 900.

    On a machine that keeps up with 6 MB a second: 64 tokens are a tenth of a second here.
    """
    if not prove:
        pytest.skip("runs in make prove")
    provider = Provider(12_000, at_once=3, pause=0.005, padding=30_000)
    budget = 900 * OUTPUT_NANOUSD
    with Upstream(provider.script) as upstream, Gateway(tmp_path, config(upstream, budget / 1e9)) as gateway:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Go on."}]}
        body |= {"stream": True, "max_tokens": 16_000}
        data = json.dumps(body).encode()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", gateway.port))
            client.sendall(
                b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-test-broken\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
            )
            time.sleep(3.5)
            got = b""
            while not got.endswith(b"0\r\n\r\n"):
                got = got[-5:] + (client.recv(65536) or b"0\r\n\r\n")
        [record] = settled(gateway)
        assert record["refused_by"] == "budget"
        assert used(gateway) <= budget
        assert used(gateway) >= provider.said * OUTPUT_NANOUSD


def test_a_provider_that_speaks_in_leaps_is_stopped_a_leap_before_the_budget(tmp_path: Path) -> None:
    provider = Provider(3000, at_once=90, pause=0.05)
    budget = 1000 * OUTPUT_NANOUSD
    with Upstream(provider.script) as upstream, Gateway(tmp_path, config(upstream, budget / 1e9)) as gateway:
        assert ask(gateway, 3000) == "length"
        [record] = settled(gateway)
        assert record["refused_by"] == "budget"
        assert provider.said * OUTPUT_NANOUSD + 9 * 150 <= used(gateway) <= budget


def test_an_answer_that_has_begun_comes_before_those_that_want_to_begin(tmp_path: Path) -> None:
    provider = Provider(520)
    budget = 640 * OUTPUT_NANOUSD
    with Upstream(provider.script) as upstream, Gateway(tmp_path, config(upstream, budget / 1e9)) as gateway:
        client = openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key="sk-test-broken", max_retries=0)
        first = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Go on."}], stream=True, max_tokens=3000
        )
        reason, refused = "", None
        with first:
            for number, piece in enumerate(first):
                for choice in piece.choices:
                    reason = choice.finish_reason or reason
                if number == 330:
                    with pytest.raises(openai.RateLimitError) as refusal:
                        ask(gateway, 3000)
                    refused = refusal.value
        assert refused is not None
        assert used(gateway) >= 520 * OUTPUT_NANOUSD
        assert refused.response.headers["retry-after"] == "1"
        # who tries again once it has ended gets what is left
        provider.words = 20
        ask(gateway, 3000)
        assert len(settled(gateway, 2)) == 2

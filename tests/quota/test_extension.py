"""A stream with a small reservation that grows: it goes on while there is budget, ends cleanly where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import pytest
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, chunk, chunked_head

OUTPUT_NANOUSD = 600
BUDGET_NANOUSD = 300_000
"""About 500 output tokens of the price below."""
LEAP_TOKENS = 75
AHEAD_TOKENS = 16
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[providers.anthropic]
kind = "anthropic"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-extend"
team = "t"
workflow = "w"

[[prices]]
provider = "*"
model = "*"
input_per_mtok = 0.15
output_per_mtok = 0.6

[[quotas]]
name = "budget"
usd = 0.0003
window = "total"
extend = true
"""


class Provider:
    """Says one token a chunk until it has said all it was asked for, or nobody listens."""

    def __init__(self, tokens: int, silent_after: int = 0, leap_after: int = 0) -> None:
        self.tokens = tokens
        self.leap_after = leap_after
        """After so many it says LEAP_TOKENS at once, then nothing for a while; 0: never."""
        self.silent_after = silent_after
        """After so many it says nothing for a while; 0: never."""
        self.said = 0
        self.heard: int | None = None
        """What the client has read, if it tells: no more than AHEAD_TOKENS are then on their way, on any machine."""

    def script(self, seen: Seen) -> Iterator[Step]:
        self.said = 0
        yield chunked_head("text/event-stream")
        yield from self._anthropic() if "messages" in seen.target else self._openai(json.loads(seen.body))

    def _openai(self, body: dict[str, object]) -> Iterator[Step]:
        shared = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 17, "model": "gpt-4o-mini"}
        word = event(shared | {"choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]})
        for _ in range(self.tokens):
            while self.heard is not None and self.said - self.heard >= AHEAD_TOKENS:
                yield 0.001
            if self.said == self.leap_after > 0:
                self.said += LEAP_TOKENS
                yield word * LEAP_TOKENS
                yield 3.0
            yield word
            self.said += 1
            yield 3.0 if self.said == self.silent_after else 0.001
        yield event(shared | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if body.get("stream_options"):
            usage = {"prompt_tokens": 9, "completion_tokens": self.tokens, "total_tokens": 9 + self.tokens}
            yield event(shared | {"choices": [], "usage": usage})
        yield chunk(b"data: [DONE]\n\n") + LAST_CHUNK

    def _anthropic(self) -> Iterator[Step]:
        usage = {"input_tokens": 9, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "claude-plain"}
        message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
        yield named({"type": "message_start", "message": message})
        yield named({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        for _ in range(self.tokens):
            yield named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " word"}})
            self.said += 1
            yield 0.001
        yield named({"type": "content_block_stop", "index": 0})
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        yield named({"type": "message_delta", "delta": delta, "usage": {"output_tokens": self.tokens}})
        yield named({"type": "message_stop"}) + LAST_CHUNK


def event(data: dict[str, object]) -> bytes:
    return chunk(b"data: " + json.dumps(data).encode() + b"\n\n")


def named(data: dict[str, object]) -> bytes:
    return chunk(b"event: %b\ndata: %b\n\n" % (str(data["type"]).encode(), json.dumps(data).encode()))


def one_record(gateway: Gateway) -> dict[str, object]:
    records = [record for record in gateway.records() if record["outcome"] != "rejected"]
    return records[0]


def ask_openai(gateway: Gateway, provider: Provider | None = None) -> tuple[str, str]:
    client = openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key="sk-test-extend", max_retries=0)
    text, reason = "", ""
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Go on."}], stream=True, max_tokens=2000
    )
    for piece in stream:
        assert piece.id == "chatcmpl-7"
        for choice in piece.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
        if provider is not None:
            provider.heard = text.count(" word")
    return text, reason


def ask_anthropic(gateway: Gateway) -> tuple[str, str]:
    client = anthropic.Anthropic(base_url=gateway.url + "/anthropic", api_key="sk-test-extend", max_retries=0)
    with client.messages.stream(
        model="claude-plain", messages=[{"role": "user", "content": "Go on."}], max_tokens=2000
    ) as stream:
        message = stream.get_final_message()
    return message.content[0].text, str(message.stop_reason)


@pytest.mark.parametrize("ask", [ask_openai, ask_anthropic])
def test_a_short_answer_ends_by_itself_and_costs_what_it_cost(tmp_path: Path, ask: object) -> None:
    provider = Provider(20 if ask is ask_anthropic else 300)
    # less than the whole hold, and enough also where all words come at once
    config = CONFIG.replace("usd = 0.0003", "usd = 0.001")
    with Upstream(provider.script) as upstream, Gateway(tmp_path, config.format(url=upstream.url)) as gateway:
        text, reason = ask(gateway)
        assert text == " word" * provider.tokens
        assert reason in ("stop", "end_turn")
        record = one_record(gateway)
        assert record["cost_nanousd"] == 9 * 150 + provider.tokens * OUTPUT_NANOUSD
        assert record["usage_source"] == "response"
        assert record["refused_by"] == ""
        [row] = gateway.get("/api/quotas")["quotas"]
        assert row["used"] == record["cost_nanousd"] / 1e9
        assert row["reserved"] == 0


@pytest.mark.parametrize(("ask", "least"), [(ask_openai, 200), (ask_anthropic, 10)])
def test_where_the_budget_ends_the_answer_ends_in_the_providers_own_way(
    tmp_path: Path, ask: object, least: int
) -> None:
    provider = Provider(1500)
    with Upstream(provider.script) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        text, reason = ask(gateway)
        words = text.count(" word")
        assert text == " word" * words
        assert reason in ("length", "max_tokens")
        assert least <= words <= BUDGET_NANOUSD // OUTPUT_NANOUSD
        assert (provider.said * OUTPUT_NANOUSD + 9 * 150) <= BUDGET_NANOUSD
        record = one_record(gateway)
        assert record["outcome"] == "completed"
        assert record["refused_by"] == "budget"
        assert record["usage_source"] == "estimated"
        [row] = gateway.get("/api/quotas")["quotas"]
        assert row["reserved"] == 0
        assert row["used"] <= row["limit"]
        # what was held at the cut stays held: the provider may have made more than it sent
        assert row["used"] * 1e9 >= provider.said * OUTPUT_NANOUSD
        assert gateway.post("/api/quotas/verify")["differences"] == []
        with pytest.raises(openai.RateLimitError if ask is ask_openai else anthropic.RateLimitError):
            ask(gateway)


def test_a_leap_that_ends_the_budget_is_counted_whole(tmp_path: Path) -> None:
    # 380 tokens hold some 450; 75 more fit the budget, but leave too little room for what may follow them
    provider = Provider(1500, leap_after=380)
    provider.heard = 0  # in lockstep, or words that a busy machine hears at once are a leap too
    with Upstream(provider.script) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        text, reason = ask_openai(gateway, provider)
        assert reason == "length"
        assert text.count(" word") == provider.said == 380 + LEAP_TOKENS
        [row] = gateway.get("/api/quotas")["quotas"]
        assert row["reserved"] == 0
        assert BUDGET_NANOUSD - OUTPUT_NANOUSD < round(row["used"] * 1e9) <= BUDGET_NANOUSD
        assert gateway.post("/api/quotas/verify")["differences"] == []


def test_a_crash_keeps_what_a_grown_stream_had_reserved(tmp_path: Path) -> None:
    # silent long before the budget ends, even were it to come in leaps: the gateway can't be done before it is killed
    provider = Provider(1500, silent_after=300)
    with Upstream(provider.script) as upstream:
        gateway = Gateway(tmp_path, CONFIG.format(url=upstream.url)).start()
        client = openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key="sk-test-extend", max_retries=0)
        stream = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Go on."}], stream=True, max_tokens=2000
        )
        for number, _ in enumerate(stream):
            if number == 280:
                break
        gateway.kill()
        with gateway:
            record = one_record(gateway)
            assert record["outcome"] == "recovered"
            assert record["reserved_output_tokens"] >= 280
            [row] = gateway.get("/api/quotas")["quotas"]
            assert provider.said * OUTPUT_NANOUSD <= row["used"] * 1e9 <= BUDGET_NANOUSD

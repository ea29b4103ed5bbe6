"""Reports that come twice, as nothing, as nonsense, too early or never: the bytes pass, one record each."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import CLOSE, LAST_CHUNK, Seen, Step, Upstream, chunk, chunked_head
from usages import EVENTS, SSE, aws, sse

from gateway.wire.framing.aws_eventstream import encode

KEY = "sk-test-odd"
PATHS = {
    "openai": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    "bedrock": "/model/amazon.nova-lite-v1:0/converse-stream",
    "cohere": "/v2/chat",
    "ollama": "/api/chat",
}
MODELS = {"anthropic": "claude-sonnet-4-5", "cohere": "command-r-08-2024", "ollama": "llama3.2"}
PROMPT = "Tell me in a few words what the weather will be like tomorrow."


def says(text: str, usage: Any = None, *, choices: bool = True) -> dict[str, Any]:
    said = [{"index": 0, "delta": {"content": text}}] if choices else []
    return {"model": "gpt-4o-mini", "choices": said, "usage": usage}


def reports(*usages: Any) -> bytes:
    """A chat stream with these reports, one a chunk."""
    return sse(says("fine "), *(says("", usage, choices=False) for usage in usages), done=True)


def begins(**usage: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"model": "claude-sonnet-4-5", "usage": usage}}


def goes_on(text: str = "fine and warm ") -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def ends(**usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}


def gemini(meta: Any, reason: str | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"content": {"parts": [{"text": "fine and warm "}]}}
    return {"candidates": [{**said, **({"finishReason": reason} if reason else {})}], "usageMetadata": meta}


def done(**usage: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"model": "gpt-4o-mini", "usage": usage}}


STOP = {"type": "message_stop"}
ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
DELTA = ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "fine and warm "}})
STREAM_ERROR = encode({":message-type": "exception", ":exception-type": "throttlingException"}, b'{"message":"slow"}')
GOOD = {"prompt_tokens": 100, "completion_tokens": 50}


def metadata(**usage: Any) -> tuple[str, Any]:
    return "metadata", {"usage": usage}


def spoiled(raw: bytes) -> bytes:
    """A message whose checksum is wrong."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


def read(tokens_in: int, tokens_out: int, **more: int) -> dict[str, int]:
    found = {"input_tokens_total": tokens_in, "output_tokens_total": tokens_out, **more}
    return {name: number for name, number in found.items() if number}


WHOLE: dict[str, tuple[str, bytes, dict[str, int]]] = {
    "twice": ("openai", reports(GOOD, {"prompt_tokens": 101, "completion_tokens": 51}), read(101, 51)),
    "twice, less the second time": ("openai", reports(GOOD, {"completion_tokens": 7}), read(100, 7)),
    "zero": ("openai", reports({"prompt_tokens": 0, "completion_tokens": 0}), {}),
    "strings": ("openai", reports({"prompt_tokens": "100", "completion_tokens": "50"}), read(100, 50)),
    "fractions of nothing": ("openai", reports({"prompt_tokens": 100.0, "completion_tokens": 50.0}), read(100, 50)),
    "details that are none": ("openai", reports({**GOOD, "prompt_tokens_details": [1], "completion_tokens_details": 5}),
                              read(100, 50)),
    "after the end": ("openai", reports() + sse(says("", GOOD, choices=False)), read(100, 50)),
    "frames that are no JSON": ("openai", b"data: {\n\ndata: \xff\xfe\n\nnonsense\n\n" + reports(GOOD), read(100, 50)),
    "no blank line at the end": ("openai", sse(says("", GOOD, choices=False)).rstrip(b"\n"), read(100, 50)),
    "an answer cut short": ("responses", sse({"type": "response.incomplete",
                                              "response": {"usage": {"input_tokens": 100, "output_tokens": 50}}}),
                            read(100, 50)),
    "a failure that was charged": ("responses", sse({"type": "response.failed", "response": {
        "error": {"code": "server_error"}, "usage": {"input_tokens": 100, "output_tokens": 50}}}), read(100, 50)),
    "a completion after which more comes": ("responses", sse(done(input_tokens=100, output_tokens=50), {"type": "x"}),
                                            read(100, 50)),
    "anthropic, three times": ("anthropic", sse(begins(input_tokens=100, output_tokens=1), goes_on(),
                                                ends(output_tokens=40), ends(output_tokens=50), STOP), read(100, 50)),
    "anthropic, corrected": ("anthropic", sse(begins(input_tokens=90, output_tokens=1), goes_on(),
                                              ends(input_tokens=100, output_tokens=50), STOP, {"type": "ping"}),
                             read(100, 50)),
    "anthropic, negative": ("anthropic", sse(begins(input_tokens=100, cache_read_input_tokens=-4, output_tokens=1),
                                             ends(output_tokens=50), STOP), read(100, 50)),
    "gemini, growing": ("gemini", sse(gemini({"promptTokenCount": 100, "candidatesTokenCount": 9}),
                                      gemini({"promptTokenCount": 100, "candidatesTokenCount": 50}, "STOP")),
                        read(100, 50)),
    "gemini, absurd in between": ("gemini", sse(gemini({"promptTokenCount": 10**30, "candidatesTokenCount": -1}),
                                                gemini({"promptTokenCount": 100, "candidatesTokenCount": 50}, "STOP")),
                                  read(100, 50)),
    "gemini, nothing": ("gemini", sse(gemini({"promptTokenCount": 0}, "STOP")), {}),
    "bedrock, twice": ("bedrock", aws(DELTA, metadata(inputTokens=1, outputTokens=1),
                                      metadata(inputTokens=100, outputTokens=50)), read(100, 50)),
    "bedrock, a spoiled message behind": ("bedrock", aws(DELTA, metadata(inputTokens=100, outputTokens=50))
                                          + spoiled(aws(metadata(inputTokens=9, outputTokens=9))), read(100, 50)),
    "cohere, zero": ("cohere", sse({"type": "message-end", "delta": {"usage": {"billed_units": {
        "input_tokens": 0, "output_tokens": 0}}}}), {}),
    "ollama, done twice": ("ollama", b'{"done":true,"prompt_eval_count":1,"eval_count":1}\n'
                           b'{"done":true,"prompt_eval_count":100,"eval_count":50}\n', read(100, 50)),
}  # fmt: skip
"""Play → who plays it, the whole stream, what the ledger says of it: each is a report of the provider's."""

HUGE = 2**32 - 1
MOST: dict[str, tuple[str, bytes, dict[str, int]]] = {
    "the most": ("openai", reports({"prompt_tokens": HUGE, "completion_tokens": HUGE}), read(HUGE, HUGE)),
    "the most of anthropic's": ("anthropic", sse(begins(input_tokens=HUGE, cache_read_input_tokens=HUGE,
                                                        cache_creation_input_tokens=HUGE, output_tokens=HUGE),
                                                 ends(output_tokens=HUGE), STOP),
                                read(3 * HUGE, HUGE, cache_read_tokens=HUGE, cache_write_tokens=HUGE)),
}  # fmt: skip
"""What is just taken still has its price, and its place in the ledger and in all sums."""
WHOLE.update(MOST)

BROKE = {"code": "insufficient_quota", "message": "You exceeded your current quota.", "type": "insufficient_quota"}
UNTOLD = {"id": "r", "model": "gpt-4o-mini", "error": None, "output": [], "usage": None}
ANNOUNCED = [{"type": f"response.{kind}", "response": UNTOLD} for kind in ("created", "in_progress")]
FAILED = {"type": "response.failed", "response": {**UNTOLD, "status": "failed", "error": BROKE}}

ESTIMATED: dict[str, tuple[str, bytes, int]] = {
    "negative": ("openai", reports({"prompt_tokens": -1, "completion_tokens": -50}), 0),
    "absurd": ("openai", reports({"prompt_tokens": 10**30, "completion_tokens": 1e300}), 0),
    "of another type": ("openai", reports([100, 50]), 0),
    "words": ("openai", reports({"prompt_tokens": "many", "completion_tokens": None}), 0),
    "an error in the middle": ("openai", sse(says("fine "), {"error": {"message": "overloaded"}}), 0),
    "a response that failed in the middle": ("responses", sse(
        *ANNOUNCED, {"type": "response.output_text.delta", "delta": "fine "}, FAILED), 0),
    "anthropic, an error in the middle": ("anthropic", sse(begins(input_tokens=100, output_tokens=1), goes_on(), ERROR),
                                          100),
    "anthropic, no last report": ("anthropic", sse(begins(input_tokens=100, output_tokens=1), goes_on()), 100),
    "bedrock, an exception": ("bedrock", aws(DELTA) + STREAM_ERROR, 0),
    "bedrock, a spoiled message before": ("bedrock", spoiled(aws(DELTA)) + aws(metadata(inputTokens=1, outputTokens=1)),
                                          0),
    "cohere, nothing": ("cohere", sse({"type": "content-delta", "delta": {"message": {"content": {"text": "fine"}}}}),
                        0),
}  # fmt: skip
"""Play → who plays it, the whole stream, the input that it reported before it stopped saying (0: nothing)."""

FAILURE = {"error": {"message": "overloaded"}}
VLLMS = {"object": "error", "message": "overloaded", "type": "InternalServerError", "param": None, "code": 500}
GROQS = {"id": "c", "object": "chat.completion.chunk", "choices": [], "x_groq": {"id": "r", "error": "overloaded"}}
REFUSED: dict[str, tuple[str, bytes]] = {
    "an error alone": ("openai", sse(FAILURE)),
    "an error, then the end": ("openai", sse(FAILURE, done=True)),
    "an error after comments": ("openai", b": waiting\n\n: waiting\n\n" + sse(FAILURE)),
    "an error in lines of another kind": ("openai", sse(FAILURE).replace(b"\n", b"\r\n")),
    "an error that is the document itself": ("openai", sse(VLLMS, done=True)),
    "a response that failed before it said anything": (
        "responses",
        sse(*ANNOUNCED, {"type": "error", "error": BROKE}, FAILED),
    ),
    "an error beside an empty chunk": ("openai", sse(GROQS, done=True)),
    "anthropic, an error alone": ("anthropic", sse(ERROR)),
}
"""Play → who plays it, the whole stream: an error instead of an answer."""

BROKEN: dict[str, tuple[str, bytes, dict[str, int]]] = {
    "broken after a report": ("openai", sse(says("fine "), says("", GOOD, choices=False)), read(100, 50)),
    "anthropic, broken": ("anthropic", sse(begins(input_tokens=100, output_tokens=1), goes_on()), read(100, 1)),
    "gemini, broken": ("gemini", sse(gemini({"promptTokenCount": 100, "candidatesTokenCount": 9})), read(100, 9)),
    "bedrock, broken in a message": ("bedrock", aws(DELTA) + aws(DELTA)[:9], {}),
}
"""Play → who plays it, what comes before the connection ends, what had been reported by then."""


def content_type(kind: str) -> str:
    return {"bedrock": EVENTS, "ollama": "application/x-ndjson"}.get(kind, SSE)


def script(seen: Seen) -> Iterable[Step]:
    play = seen.header("x-play") or ""
    kind, body = (WHOLE | ESTIMATED | BROKEN | REFUSED)[play][:2]
    half = len(body) - 1 if play in REFUSED else len(body) // 2
    yield chunked_head(content_type(kind))
    yield chunk(body[:half])
    yield chunk(body[half:])
    yield CLOSE if play in BROKEN else LAST_CHUNK


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    providers = "".join(
        f'[providers.{name}]\nkind = "{"openai" if name == "responses" else name}"\nbase_url = "{upstream.url}"\n'
        f'api_key = "real"\n'
        for name in PATHS
    )
    key = f'[[keys]]\nid = "odd"\nsecret = "{KEY}"\nteam = "t"\nworkflow = "w"\n'
    with Gateway(tmp_path_factory.mktemp("odd"), providers + key) as running:
        yield running


def ask(gateway: Gateway, play: str, kind: str) -> tuple[bytes, bool, dict[str, Any]]:
    """The body that came, whether it came to its end, and the record."""
    request: dict[str, Any] = {"model": MODELS.get(kind, "gpt-4o-mini"), "stream": True, "max_tokens": 900,
                               "messages": [{"role": "user", "content": PROMPT}]}  # fmt: skip
    if kind == "openai":
        request["stream_options"] = {"include_usage": True}
    if kind == "bedrock":
        request = {"messages": [{"role": "user", "content": [{"text": PROMPT}]}]}
    if kind == "gemini":
        request = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    headers = {"x-spendgate-key": KEY, "x-play": play, "content-type": "application/json"}
    connection.request("POST", f"/{kind}{PATHS[kind]}", json.dumps(request), headers)
    response = connection.getresponse()
    try:
        body, whole = response.read(), True
    except http.client.IncompleteRead as cut:
        body, whole = cut.partial, False
    connection.close()
    record: dict[str, Any] = gateway.get("/api/requests/" + response.headers["x-spendgate-request-id"])
    return body, whole, record


@pytest.mark.parametrize("play", WHOLE)
def test_what_was_reported_last_is_what_was_used(gateway: Gateway, play: str) -> None:
    kind, stream, usage = WHOLE[play]
    body, whole, record = ask(gateway, play, kind)
    assert (body, whole) == (stream, True)
    assert (record["outcome"], record["usage_source"]) == ("completed", "response")
    assert {name: number for name, number in record["usage"].items() if number} == usage


@pytest.mark.parametrize("play", ESTIMATED)
def test_what_says_nothing_sensible_is_estimated(gateway: Gateway, play: str) -> None:
    kind, stream, told = ESTIMATED[play]
    body, whole, record = ask(gateway, play, kind)
    assert (body, whole) == (stream, True)
    assert (record["outcome"], record["usage_source"]) == ("completed", "estimated")
    tokens = record["usage"]["input_tokens_total"]
    assert tokens == told if told else 5 <= tokens <= 200
    assert 0 < record["usage"]["output_tokens_total"] <= 200


@pytest.mark.parametrize("play", REFUSED)
def test_an_error_instead_of_an_answer_costs_nothing(gateway: Gateway, play: str) -> None:
    kind, stream = REFUSED[play]
    body, whole, record = ask(gateway, play, kind)
    assert (body, whole) == (stream, True)
    assert (record["cost_nanousd"], record["usage_source"]) == (0, "none")


@pytest.mark.parametrize("play", BROKEN)
def test_what_breaks_off_is_what_was_reported_and_an_estimate_of_the_rest(gateway: Gateway, play: str) -> None:
    kind, stream, told = BROKEN[play]
    body, whole, record = ask(gateway, play, kind)
    assert (body, whole) == (stream, False)
    assert (record["outcome"], record["usage_source"]) == ("upstream_error", "estimated")
    assert record["usage"]["input_tokens_total"] >= max(1, told.get("input_tokens_total", 0))
    assert record["usage"]["output_tokens_total"] >= max(1, told.get("output_tokens_total", 0))


@pytest.mark.parametrize("play", MOST)
def test_what_is_just_taken_is_summed_like_any_other(gateway: Gateway, play: str) -> None:
    for _ in range(3):
        record = ask(gateway, play, MOST[play][0])[2]
        assert record["cost_nanousd"] == sum(line["nanousd"] for line in record["cost_lines"]) > 0
    assert gateway.cli("report", "--by", "model").returncode == 0
    assert "Traceback" not in gateway.log()

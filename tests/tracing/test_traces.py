"""Traces as a collector and a provider see them; nothing changes where they are off."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.gateway import Gateway
from support.upstream import Seen, Upstream

from gateway.tracing import Beginner, parse

KEY = "sk-tracing-test-key"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
COLLECTOR_TOKEN = "Bearer collector-token-1234"
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{provider}"
api_key = "sk-real-openai-key"
[[keys]]
id = "k"
secret = "sk-tracing-test-key"
team = "search"
workflow = "ranking"
[[quotas]]
name = "none"
match = {{ workflow = "blocked" }}
requests = 0
window = "total"
"""
TRACING = '[tracing]\notlp_endpoint = "{collector}/v1/traces"\nheaders = {{ authorization = "env:OTLP_TOKEN" }}\n'
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "prompt_tokens_details": {"cached_tokens": 3}}
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": USAGE,
}


def provider(seen: Seen) -> Iterator[bytes]:
    if b'"fail"' in seen.body:
        yield b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}"
        return
    body = json.dumps(ANSWER).encode()
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def collector(seen: Seen) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


def call(gateway: Gateway, traceparent: str = "", model: str = "gpt-4o", **headers: str) -> dict[str, Any]:
    """One call; answers its record."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "a secret prompt"}]})
    sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **headers}
    if traceparent:
        sent |= {"traceparent": traceparent, "tracestate": "vendor=1"}
    connection.request("POST", "/openai/v1/chat/completions", body, sent)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status == 429:
        return gateway.records(limit=1)[0]
    record: dict[str, Any] = gateway.get(f"/api/requests/{answer.headers['x-spendgate-request-id']}")
    return record


class Traced:
    """A gateway that sends spans to a collector."""

    def __init__(self, gateway: Gateway, provider: Upstream, collector: Upstream) -> None:
        self.gateway, self.provider, self.collector = gateway, provider, collector

    def spans(self) -> dict[str, Any]:
        """All spans after the gateway has stopped, by request id."""
        assert self.gateway.stop() == 0
        found = {}
        for seen in self.collector.seen:
            assert seen.header("authorization") == COLLECTOR_TOKEN
            for resource in ExportTraceServiceRequest.FromString(seen.body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        told = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
                        found[told["spendgate.request_id"]] = (span, told)
        return found


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Traced]:
    with Upstream(provider) as upstream, Upstream(collector) as sink:
        config = TRACING.format(collector=sink.url) + CONFIG.format(provider=upstream.url)
        with Gateway(tmp_path, config, {"OTLP_TOKEN": COLLECTOR_TOKEN}) as gateway:
            yield Traced(gateway, upstream, sink)


def test_a_call_is_a_span_between_its_callers_and_its_providers(traced: Traced) -> None:
    record = call(traced.gateway, f"00-{TRACE}-{PARENT}-01")
    assert record["trace_id"] == TRACE
    (seen,) = traced.provider.seen
    onward = parse((seen.header("traceparent") or "").encode())
    assert onward is not None
    assert (onward[0], onward[2]) == (TRACE, 1)
    assert onward[1] != PARENT
    assert seen.header("tracestate") == "vendor=1"
    span, told = traced.spans()[record["request_id"]]
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (TRACE, onward[1], PARENT)
    assert span.name == "chat gpt-4o"
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "openai"
    assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == ("gpt-4o", "gpt-4o-2024-08-06")
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (11, 7)
    assert told["gen_ai.usage.cache_read.input_tokens"] == 3
    assert told["spendgate.cost_nanousd"] == record["cost_nanousd"] > 0
    assert (told["spendgate.team"], told["spendgate.workflow"]) == ("search", "ranking")
    assert [event.name for event in span.events] == ["first_token"]
    assert span.start_time_unix_nano <= span.events[0].time_unix_nano <= span.end_time_unix_nano
    assert b"a secret prompt" not in b"".join(seen.body for seen in traced.collector.seen)


def test_a_call_without_a_trace_begins_one_and_failures_and_refusals_say_so(traced: Traced) -> None:
    good, failed = call(traced.gateway), call(traced.gateway, model="fail")
    refused = call(traced.gateway, **{"x-spendgate-workflow": "blocked"})
    unsampled = call(traced.gateway, f"00-{TRACE}-{PARENT}-00")
    assert len({record["trace_id"] for record in (good, failed, refused)}) == 3
    assert unsampled["trace_id"] == TRACE
    assert (traced.provider.seen[-1].header("traceparent") or "").endswith("-00")
    spans = traced.spans()
    assert set(spans) == {record["request_id"] for record in (good, failed, refused)}
    for record in (good, failed, refused):
        span, told = spans[record["request_id"]]
        assert span.trace_id.hex() == record["trace_id"]
        assert not span.parent_span_id
        assert told.get("error.type") == {200: None, 500: "500", 429: "rejected"}[record["status"]]
    assert spans[refused["request_id"]][1]["spendgate.refused_by"] == "none"


def test_a_collector_that_is_down_disturbs_nobody(tmp_path: Path) -> None:
    with Upstream(provider) as upstream:
        config = TRACING.format(collector="http://127.0.0.1:9") + CONFIG.format(provider=upstream.url)
        with Gateway(tmp_path, config, {"OTLP_TOKEN": COLLECTOR_TOKEN}) as gateway:
            assert call(gateway)["status"] == 200
            began = time.monotonic()
            assert gateway.stop() == 0
            assert time.monotonic() - began < 25
            assert COLLECTOR_TOKEN.split()[1] not in gateway.log()


def test_off_the_context_passes_as_it_came_and_no_sdk_is_loaded(tmp_path: Path) -> None:
    sent = f"00-{TRACE}-{PARENT}-01"
    with Upstream(provider) as upstream, Gateway(tmp_path, CONFIG.format(provider=upstream.url)) as gateway:
        assert call(gateway, sent)["trace_id"] == TRACE
        assert upstream.seen[0].header("traceparent") == sent
        assert call(gateway)["trace_id"] == ""
        assert upstream.seen[1].header("traceparent") is None
    program = "import gateway.app, sys; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "00",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}",
    ],
)
def test_what_is_no_context_begins_a_new_trace(wrong: str) -> None:
    context = Beginner(1.0, lambda bits: 5)(wrong.encode())
    assert (context.trace_id, context.parent_id, context.sampled) == (f"{5:032x}", "", True)


def test_a_version_to_come_is_read_as_far_as_it_is_known() -> None:
    assert parse(f"01-{TRACE}-{PARENT}-01-more".encode()) == (TRACE, PARENT, 1)
    assert parse(f"00-{TRACE}-{PARENT}-01-more".encode()) is None


def test_new_traces_are_sampled_by_their_id() -> None:
    kept = [Beginner(0.25, lambda bits, n=n: n << 56)(b"").sampled for n in range(256)]
    assert sum(kept) == 64

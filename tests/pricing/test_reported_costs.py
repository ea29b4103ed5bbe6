"""What a recorded call cost by its provider's own word is what the price list makes of what it used."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.wire import dialects
from gateway.wire.usage import Reading, Usage
from pricing.book import PriceBook
from pricing.catalogue import load

AUGUST = int(datetime(2026, 8, 11, tzinfo=UTC).timestamp()) * 10**9
BOOK = PriceBook((), load())


def reading_of(kind: str, path: str, request: dict[str, Any], answer: dict[str, Any]) -> Reading:
    dialect = dialects.get(kind)
    facts = dialect.read(b"POST", path.encode(), b"application/json", json.dumps(request).encode())
    if facts.stream:
        body, form = b"data: " + json.dumps(answer).encode() + b"\r\n\r\n", b"text/event-stream"
    else:
        body, form = json.dumps(answer).encode(), b"application/json"
    meter = dialect.meter(facts, 200, [(b"content-type", form)])
    assert meter.feed(body) + meter.flush() == body
    return meter.reading()


def facts_tier(kind: str, path: str, request: dict[str, Any]) -> str:
    """The tier that a quota holds a call at."""
    return (
        dialects.get(kind).read(b"POST", path.encode(), b"application/json", json.dumps(request).encode()).service_tier
    )


def sonar(model: str, tokens_in: int, tokens_out: int, size: str, cost: float) -> dict[str, Any]:
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out,
             "search_context_size": size, "cost": {"total_cost": cost}}  # fmt: skip
    return {"model": model, "usage": usage, "object": "chat.completion"}


def grok(tokens_in: int, cached: int, tokens_out: int, searches: int, ticks: int) -> dict[str, Any]:
    usage = {"input_tokens": tokens_in, "input_tokens_details": {"cached_tokens": cached}, "output_tokens": tokens_out,
             "total_tokens": tokens_in + tokens_out, "num_sources_used": 0, "num_server_side_tools_used": searches,
             "server_side_tool_usage_details": {"web_search_calls": searches, "x_search_calls": 0},
             "cost_in_usd_ticks": ticks}  # fmt: skip
    return {"model": "grok-4.3", "usage": usage}


PRO = {"web_search_options": {"search_type": "pro"}}
CASES = [
    ("perplexity", "/chat/completions", {}, sonar("sonar", 11, 62, "low", 0.00507)),
    ("perplexity", "/chat/completions", {}, sonar("sonar", 10, 100, "medium", 0.00811)),
    ("perplexity", "/chat/completions", {}, sonar("sonar", 10, 100, "high", 0.01211)),
    ("perplexity", "/chat/completions", {"stream": True}, sonar("sonar-pro", 17, 6, "low", 0.00614)),
    ("perplexity", "/chat/completions", {}, sonar("sonar-reasoning-pro", 45, 482, "low", 0.00995)),
    ("perplexity", "/chat/completions", {"stream": True, **PRO}, sonar("sonar-pro", 26, 832, "medium", 0.03056)),
    # it streams or it is no Pro Search
    ("perplexity", "/chat/completions", PRO, sonar("sonar-pro", 26, 832, "medium", 0.02256)),
    ("xai", "/v1/responses", {}, grok(5689, 2048, 444, 2, 160_708_500)),
    ("xai", "/v1/responses", {}, grok(5913, 2048, 364, 2, 161_508_500)),
]


@pytest.mark.parametrize(("kind", "path", "request_body", "answer"), CASES)
def test_the_price_list_makes_of_a_recorded_call_what_its_provider_charged(
    kind: str, path: str, request_body: dict[str, Any], answer: dict[str, Any]
) -> None:
    reading = reading_of(kind, path, {"model": answer["model"], "messages": [], **request_body}, answer)
    price = BOOK.find(dialects.get(kind).price_as, answer["model"], AUGUST)
    assert price is not None
    assert reading.usage is not None
    assert reading.reported_cost_nanousd is not None
    bill = price.bill(reading.usage, at_ns=AUGUST, service_tier=reading.service_tier)
    # Perplexity rounds input and output to a thousandth of a cent each
    assert abs(bill.nanousd - reading.reported_cost_nanousd) <= (10_000 if kind == "perplexity" else 0)
    tokens = reading.usage.input_tokens_total, reading.usage.output_tokens_total
    searches = {"web_search_requests": reading.usage.web_search_requests}
    for asked in ("", facts_tier(kind, path, request_body)):
        assert bill.nanousd <= price.ceiling(*tokens, searches, service_tier=asked)


ELSEWHERE = [
    ("azure", "DeepSeek-R1", 1_350, 5_400),
    ("azure", "deepseek-v4-pro", 1_740, 3_480),
    ("azure", "gpt-oss-120b", 150, 600),
    ("bedrock", "eu.amazon.nova-pro-v1:0", 1_050, 4_200),
    ("bedrock", "apac.amazon.nova-lite-v1:0", 63, 252),
    # where these come from they cost what they did, DeepSeek half of it at noon
    ("deepseek", "deepseek-v4-pro", 660, 1_980),
    ("bedrock", "us.amazon.nova-pro-v1:0", 800, 3_200),
    ("bedrock", "amazon.nova-lite-v1:0", 60, 240),
]


@pytest.mark.parametrize(("kind", "model", "of_input", "of_output"), ELSEWHERE)
def test_what_another_seller_or_part_of_the_world_sells_has_its_own_price(
    kind: str, model: str, of_input: int, of_output: int
) -> None:
    at_ns = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()) * 10**9
    price = BOOK.find(dialects.get(kind).price_as, model, at_ns)
    assert price is not None
    lines = {line.item: line.nanousd for line in price.bill(Usage(input_tokens_total=1000, output_tokens_total=1000),
                                                            at_ns=at_ns).lines}  # fmt: skip
    assert lines == {"input": of_input * 1000, "output": of_output * 1000}


def test_an_hour_that_xai_writes_down_costs_ten_cents() -> None:
    price = BOOK.find("xai", "grok-stt", AUGUST)
    assert price is not None
    assert price.bill(Usage(audio_milliseconds=3_600_000), at_ns=AUGUST).nanousd == 100_000_000


def test_a_batch_of_geminis_first_embedding_model_costs_half() -> None:
    price = BOOK.find("gemini", "gemini-embedding-001", AUGUST)
    assert price is not None
    usage = reading_of("gemini", "/v1beta/models/gemini-embedding-001:embedContent", {},
                       {"usageMetadata": {"promptTokenCount": 1_000_000}}).usage  # fmt: skip
    assert usage is not None
    assert price.bill(usage, at_ns=AUGUST).nanousd == 150_000_000
    assert price.bill(usage, at_ns=AUGUST, service_tier="batch").nanousd == 75_000_000

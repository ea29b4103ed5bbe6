"""What a batch of OpenAI's or Azure's tells of its use, and when."""

from __future__ import annotations

from typing import Any

import pytest
from usages import ask, numbers, reading_of

USAGE = {
    "input_tokens": 4100,
    "input_tokens_details": {"cached_tokens": 1024},
    "output_tokens": 900,
    "output_tokens_details": {"reasoning_tokens": 640},
    "total_tokens": 5000,
}
EXACT = {"input_tokens_total": 4100, "cache_read_tokens": 1024, "output_tokens_total": 900, "reasoning_tokens": 640}
ZEROS = {"input_tokens": 0, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 0, "total_tokens": 0}
LOOKS = [
    ("openai", "/v1/batches/batch_1"),
    ("openai", "/v1/batches/batch_1/?x=y"),
    ("azure", "/openai/batches/batch_1?api-version=2024-10-21"),
    ("azure", "/openai/v1/batches/batch_1"),
]


def batch(status: str, usage: Any) -> dict[str, Any]:
    return {"id": "batch_1", "object": "batch", "status": status, "model": "gpt-4o-2024-08-06", "usage": usage}


@pytest.mark.parametrize(("kind", "path"), LOOKS)
@pytest.mark.parametrize("status", ["completed", "expired", "cancelled"])
def test_a_batch_that_has_ended_reports_the_sum_of_what_it_used(kind: str, path: str, status: str) -> None:
    facts = ask(kind, path, b"", "GET")
    assert (facts.api, facts.fetches, facts.billable) == ("batches", True, False)
    reading = reading_of(kind, facts, batch(status, USAGE))
    assert (numbers(reading), reading.source, reading.complete) == (EXACT, "response", True)
    assert (reading.claim, reading.model, reading.service_tier) == ("batch_1", "gpt-4o-2024-08-06", "batch")


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "cancelling", "failed", "", None, 7])
def test_what_a_batch_says_before_its_end_is_no_report(status: Any) -> None:
    reading = reading_of("openai", ask("openai", "/v1/batches/batch_1", b"", "GET"), batch(status, USAGE))
    assert (reading.usage, reading.claim) == (None, "batch_1")


@pytest.mark.parametrize("usage", [ZEROS, None, {}, [], "x"])
def test_a_batch_that_reports_no_use_is_not_charged_for_good(usage: Any) -> None:
    reading = reading_of("openai", ask("openai", "/v1/batches/batch_1", b"", "GET"), batch("completed", usage))
    assert reading.usage is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/batches"),
        ("POST", "/v1/batches/batch_1/cancel"),
        ("POST", "/v1/batches/batch_1"),
        ("GET", "/v1/vector_stores/vs_1/file_batches/vsfb_1"),
        ("DELETE", "/v1/batches/batch_1"),
    ],
)
def test_only_a_look_at_one_batch_is_charged(method: str, path: str) -> None:
    facts = ask("openai", path, b"", method)
    assert (facts.fetches, facts.billable) == (False, False)


@pytest.mark.parametrize(("kind", "path"), [("openai", "/v1/batches"), ("anthropic", "/v1/messages/batches")])
def test_the_call_that_begins_a_batch_tells_its_id(kind: str, path: str) -> None:
    facts = ask(kind, path, {"input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h"})
    assert (facts.fetches, facts.billable) == (False, False)
    reading = reading_of(kind, facts, {"id": "batch_1", "status": "validating", "processing_status": "in_progress"})
    assert (reading.usage, reading.claim) == (None, "batch_1")

"""What a batch tells of its use whose results lie in a file: Groq's, Mistral's, Together's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from usages import ask, numbers, reading_of

JOBS = {"groq": "/openai/v1/batches", "mistral": "/v1/batch/jobs", "together": "/v1/batches"}
FILES = {"groq": "/openai/v1/files", "mistral": "/v1/files", "together": "/v1/files"}
USAGE = {"prompt_tokens": 27, "completion_tokens": 2, "total_tokens": 29,
         "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0}}  # fmt: skip
READ = {"input_tokens_total": 54, "output_tokens_total": 4, "cache_read_tokens": 32}


def line(**body: Any) -> dict[str, Any]:
    return {"id": "batch-1-0", "custom_id": "0", "response": {"status_code": 200, "body": body}, "error": None}


ANSWERED = line(id="c", object="chat.completion", model="m-1", usage=USAGE, choices=[])
FAILED = {"custom_id": "1", "response": {"status_code": 400, "body": {"error": {"message": "no"}}}, "error": None}
ASKED = {"custom_id": "0", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m-1", "usage": USAGE}}


def told(*lines: Any) -> bytes:
    return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines)


@pytest.mark.parametrize("kind", JOBS)
def test_the_lines_of_a_file_are_summed_at_the_batch_tier(kind: str) -> None:
    facts = ask(kind, f"{FILES[kind]}/out_1/content", b"", "GET")
    assert (facts.api, facts.fetches, facts.billable) == ("download", True, False)
    body = told(ANSWERED, FAILED, b"", {"response": None}, b"{", {"response": {"body": [1]}}, ANSWERED)
    reading = reading_of(kind, facts, body, "application/octet-stream")
    assert (numbers(reading), reading.complete, reading.model) == (READ, True, "m-1")
    assert (reading.claim, reading.service_tier) == ("files/out_1", "batch")
    # a part of it says nothing, nor does what holds no results
    assert reading_of(kind, facts, body, "application/octet-stream", 206).usage is None
    assert reading_of(kind, facts, told(ASKED, FAILED), "application/octet-stream").usage is None


def test_each_model_of_a_file_has_a_sum_of_its_own() -> None:
    facts = ask("groq", "/openai/v1/files/out_1/content", b"", "GET")
    other = line(model="m-2", usage={"prompt_tokens": 5, "completion_tokens": 1})
    reading = reading_of("groq", facts, told(ANSWERED, other, ANSWERED, other), "application/octet-stream")
    assert (numbers(reading), reading.model) == (READ, "m-1")
    assert [(one.model, one.usage.input_tokens_total) for one in reading.beside] == [("m-2", 10)]


@pytest.mark.parametrize(
    ("kind", "answer", "claim", "begun_as"),
    [
        ("groq", {"id": "b", "status": "in_progress", "output_file_id": None}, "b", ""),
        ("groq", {"id": "b", "status": "completed", "output_file_id": "out"}, "files/out", "b"),
        ("together", {"job": {"id": "b", "status": "VALIDATING"}, "warning": ""}, "b", ""),
        ("together", {"id": "b", "status": "COMPLETED", "output_file_id": "out"}, "files/out", "b"),
        ("mistral", {"id": "b", "status": "SUCCESS", "output_file": "out", "outputs": None}, "files/out", "b"),
        ("mistral", {"object": "batch"}, "", ""),
    ],
)
def test_a_look_at_a_batch_tells_where_its_results_lie(
    kind: str, answer: dict[str, Any], claim: str, begun_as: str
) -> None:
    facts = ask(kind, f"{JOBS[kind]}/b?inline=true", b"", "GET")
    assert (facts.api, facts.fetches, facts.billable) == ("batches", True, False)
    reading = reading_of(kind, facts, answer)
    assert (reading.usage, reading.claim, reading.begun_as) == (None, claim, begun_as)


@pytest.mark.parametrize("status", ["SUCCESS", "TIMEOUT_EXCEEDED", "CANCELLED", "FAILED", "RUNNING", "QUEUED", None, 7])
def test_answers_inlined_in_a_job_of_mistrals_count_once_it_has_ended(status: Any) -> None:
    job = {"id": "b", "object": "batch", "model": "mistral-small-latest", "output_file": None, "status": status,
           "outputs": [ANSWERED, FAILED, ANSWERED]}  # fmt: skip
    reading = reading_of("mistral", ask("mistral", "/v1/batch/jobs/b", b"", "GET"), job)
    ended = status not in ("RUNNING", "QUEUED", None, 7)
    assert (numbers(reading), reading.claim) == (READ if ended else None, "b")
    whole = json.dumps({**job, "status": "SUCCESS"}).encode()
    assert reading_of("mistral", ask("mistral", "/v1/batch/jobs/b", b"", "GET"), whole[:-1]).usage is None


def test_pages_that_a_batch_read_are_counted() -> None:
    page = line(model="mistral-ocr-latest", usage_info={"pages_processed": 3, "doc_size_bytes": 9}, pages=[])
    facts = ask("mistral", "/v1/files/out_1/content", b"", "GET")
    assert numbers(reading_of("mistral", facts, told(page, page), "application/octet-stream")) == {"pages": 6}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/batch/jobs"), ("POST", "/v1/batch/jobs/b/cancel"), ("GET", "/v1/files/f"), ("POST", "/v1/files"),
     ("DELETE", "/v1/batch/jobs/b"), ("GET", "/v1/files/f/url"), ("GET", "/v1/batches/b")],
)  # fmt: skip
def test_all_else_about_batches_and_files_is_free(method: str, path: str) -> None:
    facts = ask("mistral", path, b"", method)
    assert (facts.api, facts.fetches, facts.billable) == ("other", False, False)

"""The recorded exchanges, as test data."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.wire import dialects
from gateway.wire.facts import Facts
from gateway.wire.usage import Reading

CORPUS = Path(os.environ.get("WIRE_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "wire"))
KINDS = {"google": "gemini"}
PARTS = (
    "input_tokens_total", "output_tokens_total", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "reasoning_tokens", "input_audio_tokens", "input_image_tokens", "output_audio_tokens", "output_image_tokens",
    "web_search_requests", "search_units",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    id: str
    kind: str
    api: str
    stream: bool
    method: str
    host: str
    path: str
    request_headers: dict[str, str]
    request_body: bytes
    status: int
    response_headers: dict[str, str]
    response_body: bytes
    model: str
    usage: dict[str, int] | None
    usage_source: str
    billable: bool

    def __repr__(self) -> str:
        return self.id


def _case(raw: dict[str, Any]) -> Case:
    request, response, expected = raw["request"], raw["response"], raw["expected"]
    if "body_base64" in response:
        body = base64.b64decode(response["body_base64"])
    else:
        body = (response.get("body_text") or "").encode()
    return Case(
        id=raw["id"],
        kind=KINDS.get(raw["provider"], raw["provider"]),
        api=raw["api"],
        stream=raw["stream"],
        method=request["method"],
        host=request["host"],
        path=request["path"],
        request_headers=request.get("headers") or {},
        request_body=(request.get("body_text") or "").encode(),
        status=response["status"],
        response_headers={
            k: v
            for k, v in (response.get("headers") or {}).items()
            if k.lower() not in ("content-encoding", "content-length", "transfer-encoding")
        },
        response_body=body,
        model=expected["model"],
        usage=expected["usage"],
        usage_source=expected["usage_source"],
        billable=expected["billable"],
    )


@cache
def cases() -> tuple[Case, ...]:
    """All cases; empty where the corpus is absent."""
    if not CORPUS.is_dir():
        return ()
    return tuple(_case(json.loads(path.read_text())) for path in sorted(CORPUS.glob("*.json")))


def of(*kinds: str) -> list[Any]:
    """Parameters for the cases of these kinds; one skipped parameter where the corpus is absent."""
    found = [pytest.param(case, id=case.id) for case in cases() if case.kind in kinds]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason=f"no recorded exchanges in {CORPUS}"))]


def facts_of(case: Case) -> Facts:
    content_type = case.request_headers.get("content-type", "application/json").encode()
    return dialects.get(case.kind).read(case.method.encode(), case.path.encode(), content_type, case.request_body)


def headers_of(case: Case) -> list[tuple[bytes, bytes]]:
    return [(k.encode(), str(v).encode("latin-1")) for k, v in case.response_headers.items()]


def meter_of(case: Case, *, asked: bool = True) -> Any:
    """A meter for the case's response; ``asked``: as if the client had asked for usage itself."""
    facts = facts_of(case)
    if asked:
        facts.asks_usage = True
    return dialects.get(case.kind).meter(facts, case.status, headers_of(case))


def read(case: Case, pieces: list[bytes]) -> tuple[Reading, bytes]:
    """The reading of these pieces, and the bytes for the client."""
    meter = meter_of(case)
    out = b"".join(meter.feed(piece) for piece in pieces) + meter.flush()
    return meter.reading(), out


def check(case: Case, reading: Reading) -> None:
    """The reading says what the case expects."""
    facts = facts_of(case)
    assert (reading.model or facts.model) == case.model
    assert facts.billable == (case.billable or case.status >= 400 or case.usage is not None) or not case.billable
    if case.usage is None:
        assert reading.usage is None, reading.usage
        return
    assert reading.usage is not None
    got = {part: getattr(reading.usage, part) for part in PARTS}
    assert got == {part: case.usage.get(part, 0) for part in PARTS}
    assert reading.source == case.usage_source

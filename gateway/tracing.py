"""Where a call stands in a W3C trace. Knows no SDK: ``gateway.tracing_otlp`` sends spans, where that is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

Header = tuple[bytes, bytes]
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16


def parse(traceparent: bytes) -> tuple[str, str, int] | None:
    """Trace id, parent span id and flags of a valid ``traceparent``; None for any other."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or match[1] == b"ff" or (match[5] and match[1] == b"00"):
        return None
    if match[2] == _NO_TRACE or match[3] == _NO_SPAN:
        return None
    return match[2].decode(), match[3].decode(), int(match[4], 16)


def trace_id_of(traceparent: bytes) -> str:
    """The trace's id; empty where there is none."""
    found = parse(traceparent)
    return found[0] if found is not None else ""


class TraceContext(msgspec.Struct, frozen=True):
    """The gateway's own place in a trace, between the caller's span and the provider's."""

    trace_id: str
    span_id: str
    parent_id: str
    """The caller's span; empty: the trace begins here."""
    sampled: bool

    @property
    def span(self) -> str:
        """As it is kept with a call until its span is made; empty: none is."""
        return f"{self.span_id}-{self.parent_id}" if self.sampled else ""

    def onward(self, headers: Sequence[Header]) -> list[Header]:
        """The fields with the ``traceparent`` that the provider gets: the same trace, the gateway's span."""
        kept = [header for header in headers if header[0].lower() != b"traceparent"]
        flags = "01" if self.sampled else "00"
        kept.append((b"traceparent", f"00-{self.trace_id}-{self.span_id}-{flags}".encode()))
        if not self.parent_id:
            kept = [header for header in kept if header[0].lower() != b"tracestate"]
        return kept


class Beginner:
    """Gives calls their place. ``sample`` is the part of new traces that are kept; ``random_bits`` makes ids."""

    def __init__(self, sample: float, random_bits: Callable[[int], int]) -> None:
        self._below = int(sample * (1 << 64))
        self._random_bits = random_bits

    def __call__(self, traceparent: bytes) -> TraceContext:
        found = parse(traceparent) if traceparent else None
        span_id = f"{self._random_bits(64) or 1:016x}"
        if found is not None:
            trace_id, parent_id, flags = found
            return TraceContext(trace_id, span_id, parent_id, bool(flags & 1))
        number = self._random_bits(128) or 1
        return TraceContext(f"{number:032x}", span_id, "", number % (1 << 64) < self._below)

"""What a scrape is written as, held against prometheus-client's own encoders."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder

from gateway.ledger.record import Record
from gateway.metrics import Metrics
from gateway.metrics.exposition import exposition
from gateway.metrics.families import REQUESTS
from gateway.metrics.lines import SLICE_SAMPLES, cut
from gateway.wire.usage import Usage

ACCEPTED = ("", "application/openmetrics-text; version=1.0.0", "text/plain; version=1.0.0; escaping=allow-utf-8")
names = st.text(max_size=9) | st.sampled_from(['a"b', "a\\b", "a\nb", "\\n", 'le="1"', "%s", "{}", "\u2028"])
numbers = st.integers(0, 10**16)
traces = st.just("") | st.text("0123456789abcdef", min_size=32, max_size=32)
a_record = partial(
    Record, request_id="r", started_ns=0, key_id="k", tags={}, api="chat", method="POST", path="/", stream=False,
    model_requested="m", usage_source="response",
)  # fmt: skip
records = st.builds(
    a_record,
    ended_ns=numbers, team=names, workflow=names, provider=names, model=names, outcome=names, refused_by=names,
    status=st.sampled_from([0, 200, 429, 503]), cost_nanousd=numbers, priced=st.booleans(), latency_us=numbers,
    ttft_us=st.none() | numbers, gateway_us=numbers, trace_id=traces,
    usage=st.builds(Usage, input_tokens_total=numbers, reasoning_tokens=numbers),
)  # fmt: skip


def written(metrics: Metrics, accept: str) -> tuple[str, str]:
    """By the gateway and by prometheus-client."""
    encoder, kind = choose_encoder(accept)
    exemplars = kind.startswith("application/openmetrics-text")
    parts = asyncio.run(exposition(metrics.pieces(), encoder, exemplars=exemplars))
    return b"".join(parts).decode(), encoder(metrics).decode()


@pytest.mark.parametrize("accept", ACCEPTED)
@given(calls=st.lists(records, max_size=4), samples=st.lists(st.tuples(names, names, *[numbers] * 4), max_size=3))
def test_every_line_is_what_prometheus_client_writes(
    accept: str, calls: list[Record], samples: list[tuple[str, str, float, float, float, float]]
) -> None:
    metrics = Metrics()
    metrics.quota_samples = lambda: [(quota, bucket, "usd", *values) for quota, bucket, *values in samples]
    for record in calls:
        metrics.started(record.provider)
        metrics.settled(record)
        metrics.refused(record, "reason")
    ours, theirs = written(metrics, accept)
    assert ours == theirs


@pytest.mark.parametrize("accept", ACCEPTED)
def test_a_scrape_of_many_series_is_whole(accept: str) -> None:
    metrics = Metrics()
    for number in range(3 * SLICE_SAMPLES + 7):
        metrics.started("p")
        call = {"team": "t", "workflow": f"w{number}", "provider": "p", "model": f"m{number}", "outcome": "completed"}
        metrics.settled(a_record(**call, status=200, ended_ns=1, usage=Usage()))
    ours, theirs = written(metrics, accept)
    assert ours == theirs
    assert ours.count("\nspendgate_requests_total{") == 3 * SLICE_SAMPLES + 7


@given(count=st.integers(0, 5 * SLICE_SAMPLES))
def test_pieces_are_small_and_nothing_is_left_out(count: int) -> None:
    pieces = [piece.rows for piece in cut(REQUESTS, ((number,) for number in range(count)))]
    assert pieces
    assert max(map(len, pieces)) <= SLICE_SAMPLES
    assert [row for rows in pieces for row in rows] == [(number,) for number in range(count)]

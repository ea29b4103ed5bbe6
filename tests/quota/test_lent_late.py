"""What is lent when a window has ended meanwhile is charged to the window that holds it, in quotas and ledger alike."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from test_leases import HOUR_NS, START_NS, Office

from gateway.admission import Admitted, reserve_lent
from gateway.config.quotas import QuotaConfig
from gateway.ledger.record import OpenEntry
from gateway.quota.engine import Amounts, Shortage, Subject
from gateway.tokens.bounds import Bound

SUBJECT = Subject("t", "w", "k", "p", "m")


def admitted(started_ns: int, tokens: int) -> Admitted:
    entry = OpenEntry("late", started_ns, "t", "w", "k", {}, "p", "chat", "POST", "/", "m", False)
    nothing: Any = None
    return Admitted(
        nothing, nothing, nothing, b"", b"", nothing, None, SUBJECT, Bound(0, 0, {}), Amounts(0, 0, tokens), entry
    )


def test_a_call_for_which_room_comes_after_its_window_begins_in_the_next() -> None:
    hourly = QuotaConfig(name="hourly", match={}, window="hour", output_tokens=10_000)
    scarce = QuotaConfig(name="scarce", match={"model": "m"}, window="total", output_tokens=100)
    office = Office([hourly, scarce], 2)
    one, other = office.processes[0], office.processes[1]
    office.now_ns = START_NS + HOUR_NS - 1
    # so that the other process has slack, for which it must be asked
    other.call(SUBJECT, Amounts(0, 0, 10))
    office.quiet()
    call = admitted(office.now_ns, 85)
    told: list[Shortage | None] = []
    parts: Any = SimpleNamespace(quotas=one.quotas, clock=SimpleNamespace(now_ns=lambda: office.now_ns))
    short = one.quotas.reserve("late", SUBJECT, call.amounts, office.now_ns)
    assert isinstance(short, Shortage)
    reserve_lent(parts, call, short, told.append)
    # before the answer comes the hour ends, and a call of the next one brings room
    office.now_ns = START_NS + HOUR_NS + 1
    one.call(Subject("t", "w", "k", "p", "another"), Amounts(0, 0, 1))
    for way in ("from", "from", "to"):
        office.ways[way, 0].popleft()()
    assert len(one.live) == 1
    assert told == []
    office.quiet()
    assert told == [None]
    assert call.reservation is not None
    span = next(span for span in call.reservation.spans if span.counter.rule.name == "hourly")
    assert span.counter.rule.window(call.entry.started_ns)[0] == span.start_ns

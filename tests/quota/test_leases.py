"""Several processes share quotas by leases: whatever they do and in whatever order messages come, never over."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.office import HOUR_NS, START_NS, SUBJECT, Office, quota, taken

from gateway.quota.engine import Amounts
from gateway.quota.rule import UNITS, Raise


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), processes=st.integers(1, 4), limit=st.integers(0, 300))
def test_used_and_held_of_all_never_pass_the_limit(seed: int, processes: int, limit: int) -> None:
    office = Office([quota(tokens=limit, requests=40, concurrent=5)], processes, seed)
    rng = random.Random(seed)
    for _ in range(120):
        what = rng.random()
        process = rng.choice(list(office.processes.values()))
        if what < 0.4:
            process.call(SUBJECT, Amounts(0, rng.randint(0, 20), rng.randint(0, 20)))
        elif what < 0.6 and process.live:
            which = rng.randrange(len(process.live))
            _, tokens_in, tokens_out, *_ = process.live[which].vector
            process.settle(which, Amounts(0, rng.randint(0, tokens_in), rng.randint(0, tokens_out)))
        elif what < 0.65:
            office.now_ns += HOUR_NS // 7
        else:
            office.step()
        assert taken(office, "tokens") <= limit
        assert taken(office, "concurrent") <= 5
    office.quiet()


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), processes=st.integers(2, 4))
def test_what_fits_is_let_through_wherever_the_slack_lies(seed: int, processes: int) -> None:
    office = Office([quota(tokens=100)], processes, seed)
    rng = random.Random(seed)
    for _ in range(200):
        process = rng.choice(list(office.processes.values()))
        want = rng.randint(1, 9)
        before, free = process.refused, 100 - taken(office, "tokens")
        process.call(SUBJECT, Amounts(0, want, 0))
        office.quiet()
        assert process.refused - before == (1 if want > free else 0)
        if process.live and rng.random() < 0.7:
            held = process.live[0].vector[1]
            process.settle(0, Amounts(0, rng.randint(0, held) // 4, 0))
            office.quiet()
        if taken(office, "tokens") == 100:
            office.now_ns += HOUR_NS


@pytest.mark.parametrize("seed", range(20))
def test_a_process_that_dies_keeps_nothing_and_its_use_stays(seed: int) -> None:
    office = Office([quota(tokens=60, concurrent=6)], 3, seed)
    rng = random.Random(seed)
    (rule,) = office.lender.rules
    base = 0
    for number in range(3, 12):
        for _ in range(15):
            process = rng.choice(list(office.processes.values()))
            process.call(SUBJECT, Amounts(0, rng.randint(1, 4), 0))
            for _ in range(rng.randint(0, 6)):
                office.step()
            if process.live and rng.random() < 0.5:
                process.settle(0, Amounts(0, rng.randint(0, process.live[0].vector[1]), 0))
            assert base + taken(office, "tokens") <= 60
        dies = rng.choice(list(office.processes))
        gone = office.processes.pop(dies)
        office.kill(dies)
        counter = next(iter(gone.quotas.counters), None)
        base += counter.span.used[0] + counter.span.reserved[0] if counter is not None else 0
        # what it had used, and held, is in the ledger now
        rows = {(rule, "", START_NS): [base, 0]}
        if counter is not None:
            assert [UNITS[unit] for unit in counter.rule.units] == ["tokens", "concurrent"]
        office.lender.settled({rule: {START_NS}}, rows, {dies})
        office.enter(number)
        assert base + taken(office, "tokens") <= 60
    for process in office.processes.values():
        while process.live:
            process.settle(0, Amounts(0, process.live[0].vector[1], 0))
    office.quiet()
    left = 60 - base - taken(office, "tokens")
    process = next(iter(office.processes.values()))
    before = process.refused
    for _ in range(left):
        process.call(SUBJECT, Amounts(0, 1, 0))
        office.quiet()
        process.settle(0, Amounts(0, 1, 0))
        office.quiet()
    assert process.refused == before
    process.call(SUBJECT, Amounts(0, 1, 0))
    office.quiet()
    assert process.refused == before + 1


def test_a_raise_is_lent_by_the_call_so_that_none_is_left_over_when_it_ends() -> None:
    office = Office([quota(tokens=100, window="total")], 2)
    (rule,) = office.lender.rules.values()
    rule.raises.append(Raise(UNITS.index("tokens"), 1000, 0, START_NS + HOUR_NS))
    one, other = office.processes.values()
    for _ in range(30):
        one.call(SUBJECT, Amounts(0, 10, 0))
        other.call(SUBJECT, Amounts(0, 10, 0))
        office.quiet()
    assert taken(office, "tokens") == 600
    office.now_ns += HOUR_NS
    for process in (one, other):
        process.call(SUBJECT, Amounts(0, 1, 0))
        office.quiet()
    assert taken(office, "tokens") == 600


def test_a_quota_with_plenty_left_is_asked_for_seldom() -> None:
    office = Office([quota(tokens=10**9)], 4)
    for _ in range(1000):
        for process in office.processes.values():
            process.call(SUBJECT, Amounts(0, 100, 100))
            office.quiet()
            process.settle(0, Amounts(0, 50, 50))
    assert max(process.asked for process in office.processes.values()) < 3


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_rolling_windows_are_never_over_in_any_part(seed: int) -> None:
    office = Office([quota(tokens=100, window="rolling 1h")], 3, seed)
    rng = random.Random(seed)
    uses: list[tuple[int, int]] = []
    for _ in range(150):
        process = rng.choice(list(office.processes.values()))
        before = len(process.live)
        process.call(SUBJECT, Amounts(0, rng.randint(1, 20), 0))
        office.quiet()
        if len(process.live) > before:
            held = process.live.pop()
            used = rng.randint(0, held.vector[1])
            uses.append((held.reserved_ns, used))
            process.quotas.settle(held, Amounts(0, used, 0), office.now_ns)
            process.turn_ends()
        office.now_ns += rng.choice((0, HOUR_NS // 200, HOUR_NS // 20))
        office.quiet()
        assert sum(used for at, used in uses if at > office.now_ns - HOUR_NS) <= 100


def test_what_comes_late_for_a_part_of_a_rolling_window_counts_with_the_parts_behind_it() -> None:
    office = Office([quota(tokens=100, window="rolling 1h")], 2)
    late, next_one = office.processes.values()
    late.call(SUBJECT, Amounts(0, 60, 0))
    office.now_ns += HOUR_NS // 60
    next_one.call(SUBJECT, Amounts(0, 60, 0))
    # the newer call's words overtake those of the older one
    office.ways["from", next_one.number].popleft()()
    office.quiet()
    assert sum(held.vector[1] for process in office.processes.values() for held in process.live) == 60


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_rolling_windows_are_never_over_while_messages_are_on_their_way(seed: int) -> None:
    office = Office([quota(tokens=100, window="rolling 1h")], 3, seed)
    rng = random.Random(seed)
    ended: list[tuple[int, int]] = []
    for _ in range(150):
        process = rng.choice(list(office.processes.values()))
        what = rng.random()
        if what < 0.3:
            process.call(SUBJECT, Amounts(0, rng.randint(20, 60), 0))
        elif what < 0.35 and process.live:
            held = process.live[0]
            used = rng.randint(0, held.vector[1])
            ended.append((held.spans[0].end_ns, used))
            process.settle(0, Amounts(0, used, 0))
        elif what < 0.6:
            office.now_ns += rng.choice((HOUR_NS // 60, HOUR_NS // 20))
        else:
            office.step()
        live = [(one.spans[0].end_ns, one.vector[1]) for each in office.processes.values() for one in each.live]
        assert sum(amount for end, amount in ended + live if end > office.now_ns - HOUR_NS) <= 100
    office.quiet()

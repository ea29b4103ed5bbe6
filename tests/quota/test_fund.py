"""Several gateways share quotas by a store: whatever they do, whatever is lost on the way, never over."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.office import HOUR_NS, START_NS, SUBJECT
from support.town import Town

from gateway.quota.engine import Amounts
from gateway.quota.rule import UNITS
from gateway.sharing.store import Ask, Lent, Stand


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32), gateways=st.integers(1, 4), limit=st.integers(0, 400), losses=st.sampled_from([0, 0.2])
)
def test_used_and_held_of_all_gateways_never_pass_the_limit(
    seed: int, gateways: int, limit: int, losses: float
) -> None:
    town = Town(gateways, seed, losses, tokens=limit)
    rng = random.Random(seed)
    for _ in range(200):
        what = rng.random()
        gateway = rng.choice(list(town.gateways.values()))
        process = rng.choice(list(gateway.processes.values()))
        if what < 0.25:
            process.call(SUBJECT, Amounts(0, rng.randint(0, 20), rng.randint(0, 20)))
        elif what < 0.4 and process.live:
            which = rng.randrange(len(process.live))
            _, tokens_in, tokens_out, *_ = process.live[which].vector
            process.settle(which, Amounts(0, rng.randint(0, tokens_in), rng.randint(0, tokens_out)))
        elif what < 0.41:
            town.crash(gateway.number)
        else:
            town.step()
        assert town.used() <= limit
        assert all(sum(amounts.values()) <= limit for amounts in town.rows.taken.values())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), gateways=st.integers(2, 4))
def test_what_fits_is_let_through_wherever_the_slack_lies(seed: int, gateways: int) -> None:
    town = Town(gateways, seed, tokens=100, requests=1000)
    rng = random.Random(seed)
    for _ in range(60):
        process = rng.choice(list(rng.choice(list(town.gateways.values())).processes.values()))
        want, before, free = rng.randint(1, 9), process.refused, 100 - town.used()
        process.call(SUBJECT, Amounts(0, want, 0))
        town.quiet()
        town.wait()
        assert process.refused - before == (1 if want > free else 0)
        if process.live and rng.random() < 0.6:
            held = process.live[0].vector[1]
            process.settle(0, Amounts(0, rng.randint(0, held), 0))
            town.quiet()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), losses=st.sampled_from([0, 0.2]))
def test_a_reload_of_one_gateway_loses_nothing_of_what_was_taken(seed: int, losses: float) -> None:
    town = Town(3, seed, losses, tokens=300)
    rng = random.Random(seed)
    limit = 300
    for _ in range(150):
        what = rng.random()
        gateway = rng.choice(list(town.gateways.values()))
        process = rng.choice(list(gateway.processes.values()))
        if what < 0.25:
            process.call(SUBJECT, Amounts(0, rng.randint(0, 20), rng.randint(0, 20)))
        elif what < 0.4 and process.live:
            _, tokens_in, tokens_out, *_ = process.live[0].vector
            process.settle(0, Amounts(0, rng.randint(0, tokens_in), rng.randint(0, tokens_out)))
        elif what < 0.6 and gateway.lender.settling:
            gateway.known()
        elif what < 0.42:
            more = rng.randint(200, 400)
            limit = max(limit, more)
            gateway.reload(tokens=more)
        for _ in range(8):
            town.step()
        assert town.used() <= limit


def test_what_was_used_beyond_a_reservation_is_taken_from_all() -> None:
    town = Town(2, 1, tokens=100)
    one, other = (next(iter(gateway.processes.values())) for gateway in town.gateways.values())
    one.call(SUBJECT, Amounts(0, 10, 0))
    town.quiet()
    one.settle(0, Amounts(0, 95, 0))
    town.quiet()
    other.call(SUBJECT, Amounts(0, 6, 0))
    town.quiet()
    town.wait()
    assert other.refused == 1
    other.call(SUBJECT, Amounts(0, 5, 0))
    town.quiet()
    town.wait()
    assert len(other.live) == 1


def test_what_the_store_may_not_have_heard_is_said_again() -> None:
    town = Town(2, 1, tokens=100)
    process = next(iter(town.gateways[0].processes.values()))
    process.call(SUBJECT, Amounts(0, 10, 0))
    town.quiet()
    town.losses = 2.0
    process.settle(0, Amounts(0, 95, 0))
    town.quiet()
    assert sum(town.rows.counting(window) for window in town.rows.taken) < 95
    town.losses = 0.0
    town.quiet()
    assert sum(town.rows.counting(window) for window in town.rows.taken) == 95


@pytest.mark.parametrize("seed", range(10))
def test_calls_at_a_time_are_shared_too(seed: int) -> None:
    town = Town(3, seed, concurrent=6)
    rng = random.Random(seed)
    for _ in range(200):
        process = rng.choice(list(rng.choice(list(town.gateways.values())).processes.values()))
        if rng.random() < 0.5:
            process.call(SUBJECT, Amounts(0, 1, 1))
        elif process.live:
            process.settle(0, Amounts(0, 1, 1))
        for _ in range(rng.randint(0, 8)):
            town.step()
        assert town.used("concurrent") <= 6
    town.quiet()
    town.wait()
    for gateway in town.gateways.values():
        for process in gateway.processes.values():
            while process.live:
                process.settle(0, Amounts(0, 1, 1))
    town.quiet()
    process = next(iter(town.gateways[2].processes.values()))
    for _ in range(6):
        process.call(SUBJECT, Amounts(0, 1, 1))
        town.quiet()
        town.wait()
    assert len(process.live) == 6


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), losses=st.sampled_from([0, 0.2]))
def test_rolling_windows_of_several_gateways_are_never_over(seed: int, losses: float) -> None:
    town = Town(3, seed, losses, tokens=100, window="rolling 1h")
    rng = random.Random(seed)
    ended: list[tuple[int, int]] = []
    for _ in range(250):
        gateway = rng.choice(list(town.gateways.values()))
        process = rng.choice(list(gateway.processes.values()))
        what = rng.random()
        if what < 0.2:
            process.call(SUBJECT, Amounts(0, rng.randint(10, 60), 0))
        elif what < 0.25 and process.live:
            held = process.live[0]
            used = rng.randint(0, held.vector[1])
            ended.append((held.spans[0].end_ns, used))
            process.settle(0, Amounts(0, used, 0))
        elif what < 0.3:
            more = rng.choice((HOUR_NS // 60, HOUR_NS // 20))
            for each in town.gateways.values():
                each.now_ns += more
        else:
            town.step()
        now_ns = gateway.now_ns
        live = [
            (one.spans[0].end_ns, one.vector[1])
            for each in town.gateways.values()
            for party in each.processes.values()
            for one in party.live
        ]
        assert sum(amount for end, amount in ended + live if end > now_ns - HOUR_NS) <= 100


def test_with_plenty_left_the_store_is_asked_seldom() -> None:
    town = Town(2, 3, tokens=10**9)
    asked = 0
    ask = town.rows.ask

    def counting(gateway: int, one: Ask) -> Lent:
        nonlocal asked
        asked += 1
        return ask(gateway, one)

    town.rows.ask = counting  # type: ignore[method-assign]
    for _ in range(300):
        for gateway in town.gateways.values():
            for process in gateway.processes.values():
                process.call(SUBJECT, Amounts(0, 100, 100))
                gateway.quiet()
                gateway.talk(), gateway.talk(), gateway.talk()
                gateway.quiet()
                if process.live:
                    process.settle(0, Amounts(0, 50, 50))
    assert not any(process.refused for gateway in town.gateways.values() for process in gateway.processes.values())
    assert asked < 10


def test_how_others_stand_is_told_and_shown() -> None:
    town = Town(2, 5, tokens=1000)
    one, other = town.gateways.values()
    process = next(iter(one.processes.values()))
    process.call(SUBJECT, Amounts(0, 40, 0))
    town.quiet()
    process.settle(0, Amounts(0, 30, 0))
    town.quiet()
    one.lender.stand(process.number, process.quotas.stands())
    (stand,) = one.fund.stands()
    assert (stand.used, UNITS[stand.window.unit]) == (30, "tokens")
    other.lender.elsewhere([Stand(stand.window, stand.used, 0)])
    (account,) = other.lender.accounts.values()
    assert account.used(0, START_NS) == 30
    assert one.fund.stands() == []

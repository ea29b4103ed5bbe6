"""Counters of a rule with ``per``: each set of values has its own, however callers spell them."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config.quotas import QuotaConfig
from gateway.ledger.view import Spent
from gateway.quota.engine import Amounts, Quotas, Reservation
from gateway.quota.matcher import bucket_of
from gateway.quota.replay import load
from gateway.quota.rule import Rule, Subject, from_config

RULE = from_config(
    QuotaConfig.model_validate({"name": "q", "requests": 1, "window": "day", "per": ("workflow", "tag.env", "model")})
)
VALUES = st.text("a|%7C25", max_size=5)
THREE = st.tuples(VALUES, VALUES, VALUES)


def bucket(values: tuple[str, str, str]) -> str:
    workflow, env, model = values
    return bucket_of(RULE, Subject("t", workflow, "k", "p", model, (("env", env),)))


@given(THREE, THREE)
@example(("a|b", "c", ""), ("a", "b|c", ""))
@example(("a|", "", "b"), ("a", "|", "b"))
def test_two_sets_of_values_never_share_a_counter(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (bucket(one) == bucket(other)) == (one == other)


def test_a_plain_bucket_is_its_values_joined() -> None:
    assert bucket(("ranking", "prod", "gpt-4o")) == "ranking|prod|gpt-4o"


MINUTE_NS = 60_000_000_000
ONE = Amounts(0, 0, 0, 1)


def rules(overflow: str) -> list[Rule]:
    day = {"name": "day", "per": ("key",), "requests": 2, "window": "day", "overflow": overflow}
    minute = {"name": "minute", "per": ("key",), "requests": 9, "window": "minute", "action": "warn"}
    return [from_config(QuotaConfig.model_validate(one)) for one in (day, minute)]


def through(quotas: Quotas, key: str, now_ns: int, workflow: str = "w") -> int:
    """How many of three calls get through."""
    count = 0
    for number in range(3):
        held = quotas.reserve(f"{key} {now_ns} {number}", Subject("t", workflow, key, "p", "m"), ONE, now_ns)
        if isinstance(held, Reservation):
            quotas.settle(held, ONE, now_ns)
            count += 1
    return count


def test_a_bucket_that_was_counted_with_others_has_no_second_allowance_when_there_is_room_again() -> None:
    quotas = Quotas(rules("shared"), max_counters=8)
    assert [through(quotas, key, 0) for key in "abcd"] == [2, 2, 2, 2]
    assert through(quotas, "e", 0) == 2
    later = 5 * MINUTE_NS
    # the minutes' counters are past: there is room for others
    through(quotas, "f", later)
    assert through(quotas, "e", later) == 0
    assert through(quotas, "e", 24 * 60 * MINUTE_NS) == 2


class Used:
    """A ledger in which each of six keys has used all of its day within this minute."""

    def spent(self, since_ns: int, until_ns: int) -> Iterator[Spent]:
        for key in "abcdef":
            yield Spent("t", "w", key, "p", "m", {}, 0, 0, 0, 2)

    def last_start_ns(self, since_ns: int) -> int:
        return 0


def test_what_the_ledger_has_of_buckets_past_the_bound_is_not_forgotten_when_there_is_room_again() -> None:
    quotas = Quotas(rules("refuse"), max_counters=8)
    load(quotas, Used(), 0)
    assert [through(quotas, key, 5 * MINUTE_NS) for key in "fedcba"] == [0] * 6


def test_the_last_counter_that_fits_counts_for_all_who_share_it() -> None:
    quotas = Quotas(rules("refuse"), max_counters=3)
    assert [through(quotas, key, 0) for key in "ab"] == [2, 2]
    assert through(quotas, "b", 5 * MINUTE_NS, workflow="another") == 0


def test_a_counter_of_a_call_in_flight_that_holds_nothing_is_not_forgotten() -> None:
    rule = from_config(QuotaConfig.model_validate({"name": "q", "usd": 1, "window": "total", "per": ("workflow",)}))
    quotas = Quotas([rule], max_counters=2)

    def subject(workflow: str) -> Subject:
        return Subject("t", workflow, "k", "p", "m")

    # a name that has no price holds nothing, and may cost something when the model that answered is known
    held = quotas.reserve("call", subject("a"), Amounts(0, 0, 0), 0)
    assert isinstance(held, Reservation)
    for workflow in "bcd":
        quotas.counters.plan(subject(workflow), 0)
    quotas.settle(held, Amounts(1_000_000_000, 0, 0), 0)
    assert quotas.room(subject("a"), 0).nanousd == 0
    assert len(quotas.counters) <= 2

"""Counters of a rule with ``per``: each set of values has its own, however callers spell them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config.quotas import QuotaConfig
from gateway.quota.matcher import bucket_of
from gateway.quota.rule import Subject, from_config

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

"""Trusted headers refine workflow and tags, never the team, and only with what fits a label."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.attribution import MAX_LENGTH, MAX_TAGS, refine
from gateway.identity.principal import Principal

OWNER = Principal(key_id="k", team="t", workflow="w", tags=(("env", "prod"),))


def test_workflow_and_tags_of_a_call_come_before_those_of_its_key() -> None:
    said = [("workflow", " nightly "), ("tag.env", "test"), ("tag.user_id", "42")]
    assert refine(OWNER, said) == ("nightly", (("env", "test"), ("user_id", "42")))


def test_what_is_no_label_changes_nothing() -> None:
    said = [
        ("workflow", ""),
        ("workflow", "x" * 129),
        ("tag.env", "a\x00b"),
        ("tag.", "x"),
        ("tag.a b", "x"),
        ("tag.é", "x"),
    ]
    assert refine(OWNER, said) == ("w", (("env", "prod"),))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["workflow", "tag."]) | st.text(max_size=80).map("tag.".__add__), st.text(max_size=200)
        )
    )
)
def test_whatever_headers_say_labels_are_bounded(said: list[tuple[str, str]]) -> None:
    workflow, tags = refine(OWNER, said)
    assert 1 <= len(workflow) <= MAX_LENGTH
    assert len(tags) <= MAX_TAGS
    assert len(dict(tags)) == len(tags)
    for name, value in tags:
        assert 1 <= len(name) <= 64
        assert 1 <= len(value) <= MAX_LENGTH
        assert value.isprintable()

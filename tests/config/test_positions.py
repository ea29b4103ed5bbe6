"""Every key of a TOML text has the line on which it stands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.positions import line_of, positions

TEXT = '''\
# a comment with [brackets] and x = 1
top = 1
[server] # another
listen = "a#b"
text = """
[not.a.header]
nor = "a key"
"""
raw = \'\'\'
[[nor]]
\'\'\'
[ providers . "my openai" ]
kind = "openai"
a.b.c = 1
[[quotas]]
name = "x"
match = { team = "a", "tag.x" = ["b",
  "c"] }
per = [
  "team", # first
  ["nested"],
]
[[quotas]]
name = "y"
overrides = [
  { usd = 1, until = 2026-01-01 },
  { usd = 2 },
]
[[quotas.overrides2]]
a = 1
[[quotas.overrides2]]
a = 2
'''


def test_every_form_of_key_has_its_line() -> None:
    expected = {
        ("top",): 2,
        ("server",): 3,
        ("server", "listen"): 4,
        ("server", "text"): 5,
        ("server", "raw"): 9,
        ("providers", "my openai"): 12,
        ("providers", "my openai", "kind"): 13,
        ("providers", "my openai", "a", "b", "c"): 14,
        ("quotas",): 15,
        ("quotas", 0, "name"): 16,
        ("quotas", 0, "match", "team"): 17,
        ("quotas", 0, "match", "tag.x"): 17,
        ("quotas", 0, "match", "tag.x", 1): 18,
        ("quotas", 0, "per", 0): 20,
        ("quotas", 0, "per", 1): 21,
        ("quotas", 1): 23,
        ("quotas", 1, "overrides", 0, "until"): 26,
        ("quotas", 1, "overrides", 1, "usd"): 27,
        ("quotas", 1, "overrides2", 0, "a"): 30,
        ("quotas", 1, "overrides2", 1, "a"): 32,
    }
    found = positions(TEXT)
    assert {path: found.get(path) for path in expected} == expected
    assert not [path for path in found if "not" in path or "nor" in path]


def test_a_key_that_is_not_written_has_the_line_of_its_table() -> None:
    assert line_of(TEXT, ("server", "admin_listen")) == 3
    assert line_of(TEXT, ("nothing",)) is None


@given(st.text(alphabet="[]{}=.,#\"'\\\n ab", max_size=200))
def test_no_text_makes_the_scanner_fail_or_hang(text: str) -> None:
    for line in positions(text).values():
        assert 1 <= line <= text.count("\n") + 1

"""docs/providers.md says of every dialect what the dialect does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.wire import dialects
from gateway.wire.dialect import Dialect
from gateway.wire.facts import Facts

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "providers.md").read_text()
ENTRIES = dict(re.findall(r"^## `([^`]+)`: [^\n]+\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
KINDS = dialects.kinds()
PATH = re.compile(r"`(POST|GET) (/[^`]+)`")


def field(kind: str, name: str) -> str:
    """What an entry says under a name, on one line; empty where it says nothing."""
    found = re.search(rf"^- \*\*{name}\*\*: (.*?)(?=^- \*\*|\Z)", ENTRIES[kind], re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def read(dialect: Dialect, method: str, path: str, *, stream: bool = False) -> Facts:
    body = b'{"model":"m","stream":true}' if stream else b'{"model":"m"}'
    target = path.replace("/M:", "/some-model:").replace("/M/", "/some-model/").encode()
    return dialect.read(method.encode(), target, b"application/json", body)


def test_every_kind_has_an_entry_and_no_entry_is_of_an_unknown_kind() -> None:
    assert sorted(ENTRIES) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_says_all_there_is_to_know(kind: str) -> None:
    for name in ("Base URL", "Metered", "Usage", "Counted inside", "On demand", "Credential", "Source"):
        assert field(kind, name), name
    assert "https://" in field(kind, "Source") or kind == "simulated"


@pytest.mark.parametrize("kind", KINDS)
def test_the_base_url_is_the_default(kind: str) -> None:
    base = dialects.get(kind).base_url
    said = field(kind, "Base URL")
    assert said == f"`{base}`" if base else said.startswith(("needed", "none"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_credential_goes_where_the_entry_says(kind: str) -> None:
    auth = dialects.get(kind).auth
    name = auth.header.decode()
    said = "`Authorization: Bearer`" if name == "authorization" else f"`{name}`"
    assert field(kind, "Credential").startswith(said[:-1]) or kind == "simulated"


@pytest.mark.parametrize("kind", KINDS)
def test_metered_paths_cost_and_free_ones_do_not(kind: str) -> None:
    dialect = dialects.get(kind)
    metered, free = PATH.findall(field(kind, "Metered")), PATH.findall(field(kind, "Free"))
    assert metered
    for method, path in metered:
        facts = read(dialect, method, path)
        assert facts.billable, path
        assert facts.api != "other", path
    for method, path in free:
        assert not read(dialect, method, path).billable, path


@pytest.mark.parametrize("kind", KINDS)
def test_streams_are_asked_for_usage_where_the_entry_says_so(kind: str) -> None:
    dialect = dialects.get(kind)
    asked = [
        path
        for method, path in PATH.findall(field(kind, "Metered"))
        if not read(dialect, method, path, stream=True).asks_usage
    ]
    assert bool(asked) == ("include_usage" in field(kind, "On demand")), asked

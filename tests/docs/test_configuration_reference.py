"""The configuration's reference names every key with its default, and every example in the docs works."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import BaseModel

from gateway.config.load import load_all, parse
from gateway.config.mistakes import table_in
from gateway.config.schema import Config
from gateway.wire import dialects

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "configuration.md").read_text()
EXAMPLES = [
    (path, number, match[1])
    for path in sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"])
    for number, match in enumerate(re.finditer(r"```toml\n(.*?)```", path.read_text(), re.DOTALL))
]


def tables(model: type[BaseModel] = Config, heading: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every table of the schema with the heading of its section."""
    for name, field in model.model_fields.items():
        inner = table_in(field.annotation)
        if inner is None:
            continue
        key = field.alias or name
        whole = f"{heading}.{key}" if heading else key
        annotation = str(field.annotation)
        if "dict[" in annotation:
            whole += ".NAME"
        yield f"[[{whole}]]" if "tuple[" in annotation else f"[{whole}]", inner
        yield from tables(inner, whole)


TABLES = dict(tables())


def section(heading: str) -> dict[str, tuple[str, str]]:
    """Key → (default, meaning) of the section's table."""
    match = re.search(rf"^## `{re.escape(heading)}`\n(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/configuration.md has no section {heading}"
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| (.+) \|$", match[1], re.MULTILINE)
    return {key: (default, meaning) for key, default, meaning in rows}


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_has_an_entry_and_every_entry_is_a_key(heading: str) -> None:
    keys = {field.alias or name for name, field in TABLES[heading].model_fields.items()}
    assert set(section(heading)) == keys


def test_keys_of_the_top_level_have_an_entry() -> None:
    plain = {name for name, field in Config.model_fields.items() if table_in(field.annotation) is None}
    assert plain == {"max_quota_counters"}
    assert set(section("max_quota_counters")) == plain


@pytest.mark.parametrize("heading", TABLES)
def test_defaults_are_told_as_they_are(heading: str) -> None:
    for key, (told, _) in section(heading).items():
        field = next(f for name, f in TABLES[heading].model_fields.items() if (f.alias or name) == key)
        if field.is_required():
            assert told == "needed", f"{heading} {key}"
            continue
        default: Any = field.get_default(call_default_factory=True)
        if isinstance(default, bool | int | float | str) and default != "":
            value = tomllib.loads(f"x = {told.strip('`')}")["x"]
            assert value == default, f"{heading} {key}: {told}"
        else:
            assert told != "needed", f"{heading} {key}"
            assert not told.startswith("`"), f"{heading} {key}"


def test_every_kind_is_told() -> None:
    told = set(re.findall(r"`([a-z-]+)`", section("[providers.NAME]")["kind"][1]))
    assert set(dialects.kinds()) <= told


@pytest.mark.parametrize(("path", "number", "text"), EXAMPLES, ids=[f"{p.name}-{n}" for p, n, _ in EXAMPLES])
def test_every_example_in_the_docs_is_a_configuration(path: Path, number: int, text: str, tmp_path: Path) -> None:
    names = re.findall(r"(?:env|file):(\w+)", text)
    written = tomllib.loads(text, parse_float=Decimal)
    named = {
        provider
        for section_name in ("routes", "quotas", "keys")
        for table in written.get(section_name, [])
        for provider in _providers(table)
    } - set(written.get("providers", {}))
    text += "".join(f'\n[providers.{name}]\nkind = "openai"\n' for name in sorted(named))
    base = _with_certificates(written, tmp_path) if "tls" in str(written.get("server")) else ROOT
    parse(text, f"{path.name} example {number}", {name: f"a-value-of-{name}" for name in names}, base)


def _with_certificates(written: dict[str, Any], folder: Path) -> Path:
    """A folder in which the files of an example's ports are there."""
    authority = trustme.CA()
    issued = authority.issue_cert("gateway.test")
    blobs = {"cert": issued.cert_chain_pems[0], "key": issued.private_key_pem, "client_ca": authority.cert_pem}
    for port in ("tls", "admin_tls"):
        for key, name in written["server"].get(port, {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            blobs[key].write_to_path(folder / name)
    return folder


def _providers(table: dict[str, Any]) -> list[str]:
    found = [table.get("provider"), *table.get("providers", []), table.get("match", {}).get("provider")]
    return [name for name in found if isinstance(name, str) and "*" not in name]


def test_the_example_configuration_works_without_any_key_and_with_all(tmp_path: Path) -> None:
    loaded = load_all(ROOT / "config.example.toml", {})
    assert list(loaded.config.providers) == ["simulated"]
    assert {"openai", "anthropic", "gemini"} <= set(loaded.inactive)
    keys = {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b", "GEMINI_API_KEY": "c"}
    assert not load_all(ROOT / "config.example.toml", keys).inactive


def test_the_example_configuration_has_two_teams_three_workflows_and_a_quota_for_each() -> None:
    config = load_all(ROOT / "config.example.toml", {}).config
    assert len({key.team for key in config.keys}) == 2
    assert len({(key.team, key.workflow) for key in config.keys}) == 3
    for key in config.keys:
        assert any(quota.match.get("team") in (key.team, None) for quota in config.quotas)

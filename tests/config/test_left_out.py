"""Where a secret is not there: a provider may be left out, and commands that call nobody go without."""

from __future__ import annotations

from pathlib import Path

import pytest
from told import PROVIDER, only

from gateway.config.load import load, load_all, parse
from gateway.config.problems import ConfigErrors

OPTIONAL = """
[providers.openai]
kind = "openai"
api_key = "env:OPENAI_API_KEY"
optional = true
[[routes]]
model = "gpt-*"
provider = "openai"
[[quotas]]
name = "q"
match = { provider = "openai" }
usd = 1.0
window = "day"
[[keys]]
id = "k"
secret = "sk-12345678"
team = "t"
workflow = "w"
providers = ["openai"]
"""


def test_an_optional_provider_is_left_out_while_its_key_is_missing_and_references_to_it_stand() -> None:
    config = parse(OPTIONAL, "c", {}, Path("."))
    assert not config.providers
    assert not config.routes
    config = parse(OPTIONAL, "c", {"OPENAI_API_KEY": "k"}, Path("."))
    assert config.providers["openai"].api_key == "k"
    assert len(config.routes) == 1


def test_an_optional_provider_that_is_left_out_is_still_checked() -> None:
    assert only(OPTIONAL.replace("optional", 'bse_url = "http://x"\noptional')).key == "providers.openai.bse_url"


def test_what_is_left_out_is_told_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(OPTIONAL)
    loaded = load_all(tmp_path / "c.toml", {})
    assert loaded.inactive == {"openai": "the environment variable OPENAI_API_KEY is not set"}


def test_commands_that_call_nobody_need_no_secrets_but_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(PROVIDER + 'api_key = "env:NONE"\n')
    load(path, {}, need_secrets=False)
    path.write_text(PROVIDER + 'base_url = "env:NONE"\n')
    with pytest.raises(ConfigErrors, match="NONE is not set"):
        load(path, {}, need_secrets=False)

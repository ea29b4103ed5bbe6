"""What is told of a configuration."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from gateway.config.load import parse
from gateway.config.problems import ConfigErrors, Problem

PROVIDER = """
[providers.openai]
kind = "openai"
"""
KEY = '[[keys]]\nid = "{id}"\n{secret}\nteam = "t"\nworkflow = "w"\n'
QUOTA = """
[[quotas]]
name = "q"
"""


def problems_of(text: str, environ: dict[str, str] | None = None, base: Path = Path(".")) -> list[Problem]:
    with pytest.raises(ConfigErrors) as caught:
        parse(dedent(text), "config.toml", environ or {}, base)
    return caught.value.problems


def only(text: str, environ: dict[str, str] | None = None) -> Problem:
    found = problems_of(text, environ)
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]

"""The command line's reference names every command and option, and its examples can be typed."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.main import parser

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
PAGES = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
EXAMPLES = sorted(
    {
        line
        for page in PAGES
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
        for line in block.splitlines()
        if page.name == "cli.md" or line.startswith("spendgate ")
    }
)


def commands(top: argparse.ArgumentParser, words: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that can be run, with its words."""
    below = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    if not below or top.get_default("run"):
        yield words, top
    for action in below:
        for name, inner in action.choices.items():
            yield from commands(inner, f"{words} {name}".strip())


COMMANDS = dict(commands(parser([])))


def test_every_command_has_a_section() -> None:
    assert set(SECTIONS) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_an_entry(command: str) -> None:
    options = {word for action in COMMANDS[command]._actions for word in action.option_strings} - {"-h", "--help"}
    told = re.findall(r"^\| `(--[a-z0-9-]+)", SECTIONS[command], re.MULTILINE)
    assert set(told) == options
    for action in COMMANDS[command]._actions:
        if action.choices and not isinstance(action, argparse._SubParsersAction):
            row = re.search(rf"^\| `{action.option_strings[0]}.*$", SECTIONS[command], re.MULTILINE)
            assert row is not None
            assert all(f"`{choice}`" in row[0] for choice in action.choices)


NAMED = sorted({text for page in PAGES for text in re.findall(r"`spendgate ([a-z][^`]*)`", page.read_text())})


@pytest.mark.parametrize("text", NAMED)
def test_every_command_that_a_page_names_exists(text: str) -> None:
    words = text.split()
    options = [word for word in words if word.startswith("--")]
    named = [name for name in COMMANDS if words[: len(name.split())] == name.split()]
    assert named
    command = max(named, key=len)
    actions = COMMANDS[command]._actions
    assert set(options) <= {word for action in actions for word in action.option_strings}
    if any(isinstance(action, argparse._SubParsersAction) for action in actions):
        assert words[len(command.split()) :] == options


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_can_be_typed(line: str) -> None:
    words = shlex.split(line)
    assert words[0] == "spendgate"
    parser(words[1:]).parse_args(words[1:])

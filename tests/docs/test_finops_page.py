"""Each example of docs/finops.md is run as it stands; each picture is there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.admin import CONFIG
from support.browser import busy_gateway
from support.gateway import Gateway

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "finops.md").read_text()
EXAMPLES = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with busy_gateway(tmp_path_factory.mktemp("finops"), CONFIG, time.time_ns(), calls=1500) as running:
        yield running


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_answers_as_it_stands(gateway: Gateway, example: str) -> None:
    words = shlex.split(example)
    if words[0] == "spendgate":
        assert gateway.cli(*words[1:]).stdout.strip()
        return
    assert words[0] == "curl"
    url = words[1].replace("http://127.0.0.1:8081", gateway.admin)
    done = subprocess.run(["curl", "-sSf", url], capture_output=True, text=True, check=True, timeout=30)
    if "format=csv" in url:
        assert done.stdout.startswith("tag.env,day,requests")
    else:
        assert json.loads(done.stdout)


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) >= 16


def test_every_picture_and_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(targets) > 10
    for target in targets:
        assert (DOCS / target).exists(), target


def test_the_kinds_of_waste_are_those_that_are_looked_for() -> None:
    from gateway.finops.waste import KINDS

    told = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert sorted(told) == sorted(KINDS)

"""What the documents claim is what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.gateway import Gateway

from gateway.call_state import STATES, TRANSITIONS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_the_states_in_the_design_are_those_of_the_exchange() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    shown = text.split("<!-- states -->")[1].split("<!-- end -->")[0]
    lines = [f"{STATES[state]:10} -> {', '.join(STATES[to] for to in moves)}" for state, moves in TRANSITIONS.items()]
    assert shown.strip() == "```\n" + "\n".join(lines) + "\n```"


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    text = (ROOT / "config.example.toml").read_text()
    lines = [line for line in text.splitlines() if not re.match(r"(listen|admin_listen|data_dir|url) =", line)]
    return Gateway(tmp_path_factory.mktemp("readme"), "\n".join(lines))


def test_the_readmes_first_calls_work_as_pasted_and_the_report_shows_them(example: Gateway) -> None:
    curl = README.split("```bash\n")[1].split("```")[0].replace("http://127.0.0.1:8080", example.url)
    snippet = README.split("```python\n")[1].split("```")[0].replace("http://127.0.0.1:8080", example.url)
    with example:
        answered = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True, timeout=30)
        assert '"usage"' in answered.stdout
        said = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=True, timeout=30)
        assert said.stdout.strip()
        report = example.cli("report").stdout
    shown = README.split("report --config config.example.toml\n```\n\n```\n")[1].split("```")[0]
    assert report.strip() == shown.strip()

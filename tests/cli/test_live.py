"""``spendgate top`` and ``spendgate tail`` beside a running gateway: on a terminal, piped, interrupted."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import book
import pytest
from support.admin import ADMIN, CONFIG, READ, TEAM, TOKENS, Caller
from support.gateway import Gateway

from gateway.ledger.ids import first_id_at

SIMULATED = """
[providers.simulated]
kind = "simulated"
first_token_seconds = 0.0
token_seconds = 0.0

[[prices]]
provider = "simulated"
model = "*"
input_per_mtok = 2.5
output_per_mtok = 10.0

[[keys]]
id = "one"
secret = "sk-one-12345678"
team = "search"
workflow = "ranking"

[[keys]]
id = "two"
secret = "sk-two-12345678"
team = "support"
workflow = "bot"
"""
TEAMS = ("search", "support")
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("live"), SIMULATED) as running:
        yield running


def call(gateway: Gateway, secret: str = "sk-one-12345678", model: str = "gpt-4o") -> str:
    """The id of a call's record."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]}).encode()
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/simulated/v1/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=20) as answered:
        answered.read()
        name: str = answered.headers["x-spendgate-request-id"]
        return name


def started(gateway: Gateway, *words: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gateway.cli.main", *words, "--config", str(gateway.path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, gateway: Gateway, *words: str, columns: int = 100) -> None:
        self._leader, follower = pty.openpty()
        env = {**os.environ, "COLUMNS": str(columns), "LINES": "30", "TERM": "xterm"}
        command = [sys.executable, "-m", "gateway.cli.main", *words, "--config", str(gateway.path)]
        self.process = subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=follower, env=env, start_new_session=True
        )
        os.close(follower)
        self.seen = ""

    def until(self, text: str) -> str:
        """What was shown by the time that a text was."""
        deadline = time.monotonic() + 20
        while text not in self.seen and time.monotonic() < deadline:
            if not self._read():
                break
        assert text in self.seen, self.seen
        return self.seen

    def end(self, number: int) -> int:
        """Send a signal; answers the exit code."""
        self.process.send_signal(number)
        deadline = time.monotonic() + 20
        while self._read() and time.monotonic() < deadline:
            pass
        os.close(self._leader)
        return self.process.wait(20)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._leader], [], [], 10)
        try:
            piece = os.read(self._leader, 65536) if ready else b""
        except OSError:
            return False
        self.seen += piece.decode()
        return bool(piece)


def test_tail_shows_each_record_once_in_the_order_of_settlement_and_ends_with_ctrl_c(gateway: Gateway) -> None:
    call(gateway)
    process = started(gateway, "tail", "--format", "json", "--last", "1", "--interval", "0.1")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    made = [call(gateway) for _ in range(5)]
    found = [json.loads(process.stdout.readline())["request_id"] for _ in made]
    assert found == made
    assert first["request_id"] not in found
    process.send_signal(signal.SIGINT)
    rest, wrong = process.communicate(timeout=20)
    assert (process.returncode, rest, wrong) == (130, "", "")


def test_tail_keeps_to_its_filters_and_shows_a_line_a_call(gateway: Gateway) -> None:
    call(gateway)
    call(gateway, "sk-two-12345678", "gpt-4o-mini")
    said = gateway.cli("tail", "--no-follow", "--team", "support", "--last", "1").stdout
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  200  support/bot +gpt-4o-mini +2 in \d+ out +\$0\.\d{6} +\d+\.\d\ds\n", said
    )
    assert gateway.cli("tail", "--no-follow", "--last", "0").stdout == ""
    assert gateway.cli("tail", "--no-follow", "--model", "nothing").stdout == ""


def test_whoever_reads_a_tail_may_stop_reading(gateway: Gateway) -> None:
    call(gateway)
    process = started(gateway, "tail", "--last", "1", "--interval", "0.05")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    call(gateway)
    assert process.wait(20) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_tail_on_a_terminal_follows_and_ends_with_ctrl_c(gateway: Gateway) -> None:
    call(gateway)
    terminal = Terminal(gateway, "tail", "--last", "1", "--interval", "0.1")
    terminal.until("search/ranking")
    call(gateway, "sk-two-12345678")
    terminal.until("support/bot")
    assert terminal.end(signal.SIGINT) == 130
    assert "Traceback" not in terminal.seen


def test_tail_goes_on_when_the_gateway_comes_back(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, SIMULATED)
    with gateway:
        call(gateway)
        process = started(gateway, "tail", "--format", "json", "--last", "1", "--interval", "0.1")
        assert process.stdout is not None
        process.stdout.readline()
    assert process.stderr is not None
    assert "waiting" in process.stderr.readline()
    with gateway:
        made = call(gateway)
        assert json.loads(process.stdout.readline())["request_id"] == made
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_top_says_who_spends_now_and_the_same_as_the_report(gateway: Gateway) -> None:
    for _ in range(3):
        call(gateway)
    said = gateway.cli("top", "--by", "team,model", "--count", "2", "--interval", "0.1").stdout
    assert "\x1b" not in said
    assert said.count("calls in flight") == 2
    last = said.rstrip().splitlines()[-1].split()
    (whole,) = json.loads(gateway.cli("report", "--by", "", "--format", "json").stdout)
    assert last[0] == "total"
    assert last[-1] == f"{whole['cost_nanousd'] / 1e9:.6f}"


def test_top_counts_nothing_of_yesterday_as_today(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, SIMULATED)
    (tmp_path / "data").mkdir()
    last = int(time.time()) // 86_400 * 86_400 * 10**9 - 10**9
    late = book.record(
        1, request_id=first_id_at(last) + "1" * 16, started_ns=last, ended_ns=last, cost_nanousd=5 * 10**9
    )
    book.ledger(tmp_path / "data" / "ledger.db", [late])
    with gateway:
        said = gateway.cli("top", "--count", "1", "--window", "86400").stdout.splitlines()
    (row,) = (line.split() for line in said if line.startswith(late.team))
    assert (row[3], row[-1], said[-1].split()[-1]) == ("5.000000", "0.000000", "0.000000")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_top_gives_the_terminal_back_however_it_ends(gateway: Gateway, number: int, code: int) -> None:
    call(gateway)
    terminal = Terminal(gateway, "top", "--interval", "0.1", columns=60)
    terminal.until("total")
    assert terminal.end(number) == code
    assert terminal.seen.startswith(ENTER)
    assert f"\x1b[?25h{LEAVE}" in terminal.seen
    assert "Traceback" not in terminal.seen
    lines = re.sub(r"\x1b\[[?\d]*[A-Za-z]", "", terminal.seen).replace("\r", "").split("\n")
    assert max(len(line) for line in lines if "UTC" not in line) <= 60


@pytest.mark.parametrize("words", [("tail",), ("top", "--count", "1")])
def test_without_a_gateway_there_is_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    gateway = Gateway(tmp_path, SIMULATED)
    done = gateway.cli(*words, check=False)
    assert done.returncode == 1
    assert done.stderr == f"spendgate: no gateway answers at {gateway.admin}: start one with spendgate serve\n"


def test_another_token_of_the_admin_port_may_be_shown(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, CONFIG + TOKENS.replace(f'"{ADMIN}"', '"env:THE_OPERATORS_OWN"'))
    (tmp_path / "data").mkdir()
    book.ledger(tmp_path / "data" / "ledger.db", [book.record(one, team=team) for one, team in enumerate(TEAMS)])
    gateway.env["THE_OPERATORS_OWN"] = ADMIN
    with gateway:
        gateway.env = {"SPENDGATE_TOKEN": READ}
        assert "total" in gateway.cli("top", "--count", "1").stdout
        assert len(gateway.cli("tail", "--no-follow").stdout.splitlines()) == len(TEAMS)
        assert gateway.cli("quotas", "--format", "json").stdout.startswith("[")
        (tmp_path / "token").write_text(TEAM + "\n")
        gateway.env = {"SPENDGATE_TOKEN": "the file goes before this"}
        mine = gateway.cli("tail", "--no-follow", "--token-file", str(tmp_path / "token")).stdout
        assert [line.split()[3].split("/")[0] for line in mine.splitlines()] == ["search"]
        for words, told in (
            ((), "Set SPENDGATE_TOKEN, or --token-file."),
            (("--token-file", str(tmp_path / "none")), "No such file"),
            (("--token-file", os.devnull), "it is empty"),
        ):
            done = gateway.cli("tail", "--no-follow", *words, check=False)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert told in done.stderr


def test_a_call_that_is_settled_late_comes_after_those_that_it_outlasted(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, CONFIG + TOKENS)
    (tmp_path / "data").mkdir()
    # the first to begin is the last to be settled
    order = [book.record(number, team="search" if number % 2 else "support") for number in (2, 3, 1)]
    book.ledger(tmp_path / "data" / "ledger.db", order)
    with gateway:
        admin = Caller(gateway, {"Authorization": "Bearer an-admin-token-16"})
        first = admin.get("/api/requests/settled?limit=1")
        assert [one["request_id"] for one in first["requests"]] == [book.id_of(1)]
        page = admin.get("/api/requests/settled?after=0&limit=2")
        assert [one["request_id"] for one in page["requests"]] == [book.id_of(2), book.id_of(3)]
        rest = admin.get(f"/api/requests/settled?after={page['after']}&limit=2")
        assert [one["request_id"] for one in rest["requests"]] == [book.id_of(1)]
        assert admin.get(f"/api/requests/settled?after={rest['after']}")["requests"] == []
        own = admin.as_("a-team-token-of-16")
        assert {one["team"] for one in own.get("/api/requests/settled?after=0")["requests"]} == {"search"}
        assert own("GET", "/api/requests/settled?team=support").status == 403
        assert admin("GET", "/api/requests/settled?after=-1").status == 400
        said = gateway.cli("tail", "--no-follow").stdout
        assert len(said.splitlines()) == 3

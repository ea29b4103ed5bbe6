"""The command line as somebody types it: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import book
import pyarrow.parquet
import pytest
from support import command
from support.gateway import Gateway

CONFIG = """
[providers.openai]
kind = "openai"
api_key = "env:NOT_IN_THIS_SHELL"
[[keys]]
id = "configured"
secret = "sk-demo-1234"
team = "search"
workflow = "ranking"
tags = { env = "demo" }
[[prices]]
provider = "openai"
model = "house-model"
input_per_mtok = 2.0
output_per_mtok = 8.0
cache_read_per_mtok = 1.0
[[quotas]]
name = "month"
requests = 5
window = "month"
"""
COMMANDS = (
    "check",
    "keys create",
    "keys list",
    "keys revoke",
    "keys rotate",
    "ledger backup",
    "ledger export",
    "ledger reprice",
    "ledger restore",
    "ledger verify",
    "price",
    "prices diff",
    "prices update",
    "report",
    "serve",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def spendgate(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPENDGATE_")}
    return command.run(words, folder, {**clean, **(env or {})})


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an error."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_help_with_an_example(words: str, folder: Path) -> None:
    done = spendgate(folder, *words.split(), "--help")
    assert done.returncode == 0
    assert f"example: spendgate {words}" in " ".join(done.stdout.split())
    assert "--config" in done.stdout


def test_all_commands_stand_in_the_overview(folder: Path) -> None:
    done = spendgate(folder, "--help")
    for words in COMMANDS:
        assert re.search(rf"^\s+{words.split()[0]}\s", done.stdout, re.MULTILINE)
    assert re.fullmatch(r"spendgate \d+\.\d+\S*\n", spendgate(folder, "--version").stdout)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("chek",), "invalid choice: 'chek'"),
        (("keys",), "the following arguments are required: ACTION"),
        (("keys", "create", "--team", "t"), "required: --workflow"),
        (("keys", "create", "--team", "", "--workflow", "w"), "must be 1 to 128 printable characters"),
        (("keys", "create", "--team", "t", "--workflow", "w", "--tag", "env"), "must be NAME=VALUE"),
        (("keys", "create", "--team", "t", "--workflow", "w", "--expires", "soon"), "is no date or time"),
        (("keys", "create", "--team", "t", "--workflow", "w", "--expires", "2020-01-01"), "is in the past"),
        (("keys", "revoke", "nobody"), 'no key has the id "nobody"'),
        (("keys", "revoke", "configured"), "stands in config.toml"),
        (("keys", "rotate", "nobody"), 'no key has the id "nobody"'),
        (("keys", "rotate", "configured"), "give it old_secret and old_expires there"),
        (("keys", "rotate", "nobody", "--old-expires", "2020-01-01"), "--old-expires 2020-01-01"),
        (("price", "gpt-4o", "--input", "many"), '"many" is no whole number'),
        (("price", "gpt-4o", "--input", "-5"), '"-5" is no whole number'),
        (("price", "gpt-4oo"), 'no price is known for "gpt-4oo". Did you mean "gpt-4o'),
        (("price", "gpt-4o", "--provider", "opnai"), 'there is no price list "opnai". Did you mean "openai"?'),
        (("report", "--since", "yesterday"), "is no date or time"),
        (("report", "--config", "none.toml"), "1 problem in none.toml"),
        (("report", "--since", "2026-11-10", "--until", "2026-11-01"), "--until must be after --since"),
        (("report", "--since", "2999-01-01"), "--since is in the future"),
        (("report", "--until", "2020-01-01"), "--until must be after --since, which is 20"),
        (("ledger", "export", "--since", "2026-11-10", "--until", "2026-11-01"), "--until must be after --since"),
        (("ledger", "reprice", "--since", "2026-11-10", "--until", "2026-11-01"), "--until must be after --since"),
        (("export", "focus", "--since", "2026-11-10", "--until", "2026-11-01"), "--until must be after --since"),
        (("allocate", "--month", "9999-12"), "--month 9999-12: must be like 2026-11"),
        (("export", "openmetrics", "--since", "2026-11-10", "--until", "2026-11-01"), "--until must be after --since"),
        (("prices", "diff", "--since", "2026-11-10", "--until", "2026-11-01"), "--until must be after --since"),
        (("ledger", "verify"), "there is no ledger at "),
        (("ledger", "backup", "copy.db"), "there is no ledger at "),
        (("ledger", "export"), "there is no ledger at "),
        (("ledger", "reprice", "--since", "2026-01-01"), "there is no ledger at "),
        (("quotas", "grant", "month", "--until", "2999-01-01"), "say how much more by one of --usd, --tokens"),
        (("quotas", "grant", "month", "--until", "2999-01-01", "--requests", "many"), "requests is a whole number"),
        (("keys", "create", "--team", "t", "--workflow", "w", "--tag", "a=1", "--tag", "a=2"), "gives a name twice"),
        (("top", "--interval", "inf"), '"inf" is no number of seconds'),
        (("tail", "--interval", "-1"), '"-1" is no number of seconds'),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(words: tuple[str, ...], expected: str, folder: Path) -> None:
    done = spendgate(folder, *words)
    assert done.returncode in (1, 2)
    assert expected in (said(done) if "none.toml" not in words else done.stderr)


def test_a_period_without_calls_has_the_columns_of_one_with_calls(tmp_path: Path) -> None:
    """Else whatever reads a file a month fails on the first quiet one."""
    gateway = Gateway(tmp_path, CONFIG)
    (tmp_path / "data").mkdir()
    book.ledger(tmp_path / "data" / "ledger.db", [book.record(number) for number in range(3)])
    quiet = ("--since", "2020-01-01", "--until", "2020-02-01")
    for words in (
        ("report", "--by", "team", "--compare", "previous", "--trend", "--format", "csv"),
        ("ledger", "export", "--format", "csv"),
    ):
        full, empty = (gateway.cli(*words, *span).stdout.splitlines() for span in (("--since", "2020-01-01"), quiet))
        assert len(full) > 1
        assert [full[0].replace("by_week", "by_day")] == [empty[0].replace("by_week", "by_day")]
        assert len(empty) == 1
    for name, span in (("full", ()), ("empty", quiet)):
        gateway.cli("ledger", "export", "--format", "parquet", "--out", str(tmp_path / name), *span)
    assert pyarrow.parquet.read_schema(tmp_path / "full") == pyarrow.parquet.read_schema(tmp_path / "empty")


@pytest.mark.parametrize(
    ("words", "early"),
    [
        ("report --compare previous --trend --since", "0001-01-01"),
        ("ledger export --since", "0001-01-01T00:00:00+14:00"),
        ("ledger reprice --dry-run --since", "0001-01-01"),
        ("prices diff --since", "1600-01-01"),
        ("export focus --since", "0001-01-01"),
        ("insight waste --since", "0001-01-01"),
        ("price gpt-4o --input 1000 --at", "0001-01-01"),
    ],
)
def test_a_time_before_1970_is_before_all_there_is(words: str, early: str, tmp_path: Path) -> None:
    Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    (tmp_path / "data").mkdir()
    book.ledger(tmp_path / "data" / "ledger.db", [book.record(1)])
    done, since_1970 = (spendgate(tmp_path, *words.split(), day) for day in (early, "1970-01-01"))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", since_1970.stdout)


def test_a_copy_that_can_not_be_made_is_told_of_its_own_place(folder: Path) -> None:
    assert spendgate(folder, "keys", "list").returncode == 0
    line = said(spendgate(folder, "ledger", "backup", "nowhere/copy.db"))
    assert line == "spendgate: no copy was made: [Errno 2] No such file or directory: 'nowhere/copy.db'"


def test_check_tells_every_problem_and_their_number(folder: Path) -> None:
    (folder / "config.toml").write_text(
        '[server]\nlisten = 5\n[provider.x]\n[[quotas]]\nname = "q"\nusd = -1\nwindow = "dy"\n'
    )
    done = spendgate(folder, "check")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "config.toml:2: server.listen: must be text in quotes.",
        'config.toml:3: provider: unknown key. Did you mean "providers"?',
        "config.toml:6: quotas[0].usd: must not be below zero.",
        "config.toml:7: quotas[0].window: must be one of minute, hour, day, week, month, total, or rolling with a "
        'length, like "rolling 24h". Did you mean "day"?',
        "spendgate: 4 problems in config.toml",
    ]
    assert spendgate(folder, "serve").stderr == done.stderr


def test_check_says_what_is_fine_and_what_is_left_out(folder: Path) -> None:
    text = CONFIG.replace("[[keys]]", "optional = true\n[[keys]]")
    (folder / "config.toml").write_text(text)
    done = spendgate(folder, "check")
    assert done.returncode == 0, done.stderr
    assert 'provider "openai" is left out: the environment variable NOT_IN_THIS_SHELL is not set' in done.stdout
    assert "config.toml: fine: 0 providers, 1 key, 1 quota, 1 price, 0 routes" in done.stdout
    assert re.search(r"price book: 1 of your own, [\d,]+ models of genai-prices", done.stdout)


def test_check_finds_a_discount_on_nothing(folder: Path) -> None:
    entry = '[[prices]]\nprovider = "openai"\nmodel = "no-such-model"\ndiscount_percent = 10\n'
    (folder / "config.toml").write_text(entry)
    assert 'prices[0]: leaves "no-such-model" without a price' in spendgate(folder, "check").stderr


def test_check_takes_a_providers_own_prices_and_finds_a_stand_in_without_a_price(folder: Path) -> None:
    own = CONFIG.replace("[[keys]]", "optional = true\n[[keys]]").replace("env:NOT_IN_THIS_SHELL", "sk-real")
    own += '[providers.eu]\nkind = "openai"\napi_key = "x"\nunpriced_models = { price_as = "gpt-4o" }\n'
    own += '[[prices]]\nprovider = "eu"\nmodel = "gpt-4o"\ndiscount_percent = -10\n'
    (folder / "config.toml").write_text(own)
    done = spendgate(folder, "check")
    assert done.returncode == 0, done.stderr
    priced = spendgate(folder, "price", "eu/gpt-4o", "--input", "1000")
    assert "config prices[1]" in priced.stdout
    (folder / "config.toml").write_text(own.replace('price_as = "gpt-4o"', 'price_as = "gpt-forty"'))
    told = spendgate(folder, "check").stderr
    assert 'providers.eu.unpriced_models.price_as: "gpt-forty" has no price' in told
    assert spendgate(folder, "serve").stderr == told


def test_a_bar_shows_on_a_terminal_how_far_an_export_is(folder: Path) -> None:
    import pty

    book.ledger(folder / "data" / "ledger.db", [book.record(number) for number in range(5001)])
    master, terminal = pty.openpty()
    export = [sys.executable, "-m", "gateway.cli.main", "ledger", "export", "--out", "all.jsonl"]
    subprocess.run(export, cwd=folder, stderr=terminal, check=True, timeout=60)
    os.close(terminal)
    shown = os.read(master, 65536).decode()
    os.close(master)
    assert re.search(r"\[#{29}\.\] 100%  5,000 of 5,001 records", shown)
    assert len((folder / "all.jsonl").read_text().splitlines()) == 5001


def test_the_configuration_is_named_by_option_then_environment_then_the_folder(folder: Path) -> None:
    (folder / "other.toml").write_text("[server]\nbad = 1\n")
    assert "other.toml:2" in spendgate(folder, "check", "--config", "other.toml").stderr
    assert "other.toml:2" in spendgate(folder, "check", env={"SPENDGATE_CONFIG": "other.toml"}).stderr
    both = spendgate(folder, "keys", "list", "--config", "config.toml", env={"SPENDGATE_CONFIG": "other.toml"})
    assert both.returncode == 0


def test_a_key_is_made_listed_and_revoked_and_its_secret_shown_once(folder: Path) -> None:
    made = spendgate(
        folder, "keys", "create", "--team", "search", "--workflow", "nightly", "--tag", "env=prod", "--name", "a note"
    )
    assert made.returncode == 0, made.stderr
    match = re.search(r"id:\s+(key_\w+)\nsecret:\s+(sk-sg-[\w-]{43})\n", made.stdout)
    assert match is not None
    key_id, secret = match.groups()
    listed = spendgate(folder, "keys", "list").stdout
    assert secret not in listed
    assert re.search(rf"{key_id}\s+a note\s+search\s+nightly\s+env=prod\s+active", listed)
    assert re.search(r"configured\s+search\s+ranking\s+env=demo\s+active\s+configuration", listed)
    assert spendgate(folder, "keys", "revoke", key_id).stdout == f"{key_id} is revoked\n"
    assert said(spendgate(folder, "keys", "revoke", key_id)) == f"spendgate: {key_id} is revoked already"
    keys = json.loads(spendgate(folder, "keys", "list", "--format", "json").stdout)
    assert {key["id"]: key["state"] for key in keys} == {"configured": "active", key_id: "revoked"}


def test_a_key_is_rotated_and_the_old_one_ends_when_it_was_said(folder: Path) -> None:
    made = ("keys", "create", "--team", "search", "--workflow", "nightly", "--tag", "env=prod", "--model", "m*")
    old = json.loads(spendgate(folder, *made, "--format", "json").stdout)
    told = spendgate(folder, "keys", "rotate", old["id"], "--old-expires", "2099-01-01").stdout
    assert f"{old['id']} works until 2099-01-01T00:00:00Z" in told
    new = json.loads(spendgate(folder, "keys", "rotate", old["id"], "--format", "json").stdout)
    assert new["replaces"] == old["id"]
    assert new["secret"] != old["secret"]
    keys = {key.pop("id"): key for key in json.loads(spendgate(folder, "keys", "list", "--format", "json").stdout)}
    assert keys[old["id"]]["expires"] == "2099-01-01T00:00:00Z"
    shared = ("team", "workflow", "tags", "models", "providers", "state")
    assert [keys[new["id"]][name] for name in shared] == [keys[old["id"]][name] for name in shared]
    spendgate(folder, "keys", "revoke", old["id"])
    assert "is revoked already" in said(spendgate(folder, "keys", "rotate", old["id"]))
    assert old["id"] not in spendgate(folder, "keys", "list", "--team", "nobody").stdout


def test_a_price_is_explained_with_its_source(folder: Path) -> None:
    done = spendgate(folder, "price", "house-model", "--input", "1_000", "--output", "500", "--cache-read", "200")
    assert done.returncode == 0, done.stderr
    assert 'config prices[0] "house-model"' in done.stdout
    # 800 × $2 + 200 × $1 + 500 × $8 a million
    assert "total    $0.0058" in done.stdout
    found = json.loads(spendgate(folder, "price", "openai/house-model", "--input", "1", "--format", "json").stdout)
    assert found["bill"]["lines"][0]["nanousd"] == 2000


def test_a_price_needs_no_configuration(tmp_path: Path) -> None:
    done = spendgate(tmp_path, "price", "gpt-4o-mini", "--input", "1000000", "--at", "2026-01-01")
    assert done.returncode == 0, done.stderr
    assert "total    $0.15" in done.stdout
    assert spendgate(tmp_path, "price", "gpt-4o-mini", "--config", "none.toml").returncode == 1


def test_what_simulated_calls_cost_is_no_price_of_a_model_that_nobody_knows(tmp_path: Path) -> None:
    shipped = ("--config", str(Path(__file__).parents[2] / "config.example.toml"))
    for name in ("nobody-knows-it", "openai/nobody-knows-it"):
        done = spendgate(tmp_path, "price", name, *shipped)
        assert f'no price is known for "{name}"' in said(done)
    assert 'config prices[0] "*"' in spendgate(tmp_path, "price", "simulated/nobody-knows-it", *shipped).stdout


def test_a_reader_that_stops_reading_causes_no_noise(folder: Path) -> None:
    piped = f"{sys.executable} -m gateway.cli.main price gpt-4o --format json | head -c 1"
    done = subprocess.run(piped, shell=True, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_a_port_in_use_is_one_line(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (folder / "config.toml").write_text(f'[server]\nlisten = "127.0.0.1:{port}"\nadmin_listen = "127.0.0.1:0"\n')
        line = said(spendgate(folder, "serve"))
    assert "address already in use" in line.lower()
    assert str(port) in line


def test_a_host_that_is_none_is_one_line_that_names_it(folder: Path) -> None:
    (folder / "config.toml").write_text('[server]\nlisten = "no-such-host.invalid:0"\nadmin_listen = "127.0.0.1:0"\n')
    assert "can't listen on no-such-host.invalid:0: " in said(spendgate(folder, "serve"))


def test_a_data_directory_that_is_a_file_is_told_as_what_it_is(folder: Path) -> None:
    (folder / "file").write_text("")
    (folder / "config.toml").write_text(
        '[server]\nlisten = "127.0.0.1:0"\nadmin_listen = "127.0.0.1:0"\ndata_dir = "file"\n'
    )
    line = said(spendgate(folder, "serve"))
    assert "can't start: the data directory " in line
    assert line.endswith("file: is no directory")


@pytest.mark.parametrize("words", [("check",), ("serve",), ("report",)])
def test_a_ledger_that_is_a_directory_is_told_as_what_it_is(folder: Path, words: tuple[str, ...]) -> None:
    (folder / "here").mkdir()
    (folder / "config.toml").write_text('[ledger]\nurl = "sqlite:///here"\n')
    assert "here, which is a directory: name a file in it, like sqlite:///" in said(spendgate(folder, *words))


def test_a_data_directory_that_can_not_be_made_is_one_line(folder: Path) -> None:
    (folder / "file").write_text("")
    (folder / "config.toml").write_text(
        '[server]\nlisten = "127.0.0.1:0"\nadmin_listen = "127.0.0.1:0"\ndata_dir = "file/data"\n'
    )
    assert "file" in said(spendgate(folder, "serve"))
    assert "file" in said(spendgate(folder, "keys", "list"))


def test_a_file_that_is_no_ledger_is_one_line(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "ledger.db").write_bytes(b"this is no database" * 100)
    assert "ledger.db" in said(spendgate(folder, "keys", "list"))
    assert "ledger.db" in said(spendgate(folder, "report"))


def test_keys_work_while_the_gateway_runs_and_it_knows_them_at_once(tmp_path: Path) -> None:
    def call(gateway: Gateway, secret: str) -> int:
        request = urllib.request.Request(
            f"{gateway.url}/simulated/v1/chat/completions",
            data=b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}',
            headers={"Authorization": f"Bearer {secret}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    config = '[providers.simulated]\nkind = "simulated"\nfirst_token_seconds = 0\ntoken_seconds = 0\n'
    with Gateway(tmp_path, config) as gateway:
        made = json.loads(gateway.cli("keys", "create", "--team", "t", "--workflow", "w", "--format", "json").stdout)
        assert call(gateway, made["secret"]) == 200
        assert gateway.records()[0]["key_id"] == made["id"]
        gateway.cli("keys", "revoke", made["id"])
        time.sleep(1.1)
        assert call(gateway, made["secret"]) == 401

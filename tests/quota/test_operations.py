"""What people do with quotas while the gateway runs: look, raise, explain, prove, and hear of events, once each."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import book
import openai
import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

from gateway.desk import LOOK_SECONDS
from gateway.ledger.ids import first_id_at

CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-quota-ops"
team = "search"
workflow = "w"

[[prices]]
provider = "openai"
model = "*"
input_per_mtok = 1.0
output_per_mtok = 1.0

[[quotas]]
name = "month"
match = {{ team = "search" }}
usd = {usd}
requests = 1000
window = "month"
warn_at = [0.5, 0.8]

[[quotas]]
name = "others"
match = {{ team = "ads" }}
usd = 1.0
window = "day"

[[webhooks]]
url = "{url}/hook"
secret = "hook-secret-1"

[[webhooks]]
url = "{url}/slack"
format = "slack"
events = ["exhausted"]
"""
USED_TOKENS = 1000
"""0.001 dollars a call."""


class World:
    """A provider that answers calls, and takes webhooks (at the second try)."""

    def __init__(self) -> None:
        self.hooks: list[Seen] = []
        self.tries = 0

    def script(self, seen: Seen) -> Iterator[Step]:
        if seen.method == "POST" and seen.target in ("/hook", "/slack"):
            self.tries += 1
            if self.tries == 1:
                yield answer(b"{}", status=503)
                return
            self.hooks.append(seen)
            yield answer(b"ok")
            return
        usage = {"prompt_tokens": 10, "completion_tokens": USED_TOKENS - 10, "total_tokens": USED_TOKENS}
        yield answer(json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m",
                                 "choices": [], "usage": usage}).encode())  # fmt: skip

    def events(self, target: str = "/hook") -> list[dict[str, object]]:
        return [json.loads(seen.body) for seen in self.hooks if seen.target == target]


def call(gateway: Gateway, times: int = 1) -> None:
    client = openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key="sk-test-quota-ops", max_retries=0)
    for _ in range(times):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], max_tokens=1000)


def until(true: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_events_are_told_once_each_to_the_ledger_the_log_and_the_webhooks(tmp_path: Path) -> None:
    world = World()
    with Upstream(world.script) as upstream:
        text = CONFIG.format(url=upstream.url, usd=0.01)
        with Gateway(tmp_path, text) as gateway:
            call(gateway, 8)
            for _ in range(3):
                with pytest.raises(openai.RateLimitError):
                    call(gateway, 3)
            until(lambda: len(world.events()) >= 3)
            metrics = gateway.metrics()
            for kind, count in (("threshold", 2), ("exhausted", 1)):
                assert f'spendgate_quota_events_total{{kind="{kind}",quota="month"}} {count}.0' in metrics
            until(
                lambda: 'spendgate_webhook_deliveries_total{host="127.0.0.1",result="failed"} 1.0' in gateway.metrics()
            )
            until(
                lambda: (
                    'spendgate_webhook_deliveries_total{host="127.0.0.1",result="delivered"} 4.0' in gateway.metrics()
                )
            )
        with Gateway(tmp_path, text) as gateway:
            # meanwhile it looks for what has reopened: there is room, but not for the call that was refused
            time.sleep(2 * LOOK_SECONDS)
            with pytest.raises(openai.RateLimitError):
                call(gateway, 3)
            # a raise gives room again; the restart did not repeat what was told before
            gateway.cli(
                "quotas", "grant", "month", "--usd", "1", "--until", "2999-01-01", "--who", "ann", "--why", "<go>"
            )
            until(lambda: len(world.events()) >= 5)
            call(gateway)
            kept = gateway.get("/api/events")["events"]
        kinds = [(event["kind"], event.get("detail", "")) for event in kept]
        assert sorted(kinds[:3]) == [("exhausted", ""), ("threshold", "50 %"), ("threshold", "80 %")]
        assert [event["wanted"] > 0.001 for event in kept] == [event["kind"] == "exhausted" for event in kept]
        assert sorted(kinds[3:]) == [("granted", "<go>"), ("reopened", "")]
        assert world.events() == kept
        assert len(world.events("/slack")) == 1
        assert "*month* is exhausted" in str(world.events("/slack")[0]["text"])
        for seen in world.hooks:
            if seen.target == "/hook":
                stamp, code = (part.split("=")[1] for part in str(seen.header("x-spendgate-signature")).split(","))
                right = hmac.new(b"hook-secret-1", f"{stamp}.".encode() + seen.body, hashlib.sha256).hexdigest()
                assert code == right
        [told] = [line for line in gateway.log().splitlines() if "quota exhausted" in line]
        assert "unit=usd limit=0.01 " in told


def test_a_name_that_a_caller_sends_is_one_line_of_a_channel(tmp_path: Path) -> None:
    world = World()
    rule = '[[quotas]]\nname = "each"\nper = ["model"]\nrequests = 1\nwindow = "day"\n'
    with (
        Upstream(world.script) as upstream,
        Gateway(tmp_path, CONFIG.format(url=upstream.url, usd=9) + rule) as gateway,
    ):
        client = openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key="sk-test-quota-ops", max_retries=0)
        name = "m\r\nQuota *prod* has room again.\u2028<!channel>"
        client.chat.completions.create(model=name, messages=[])
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model=name, messages=[])
        until(lambda: world.events("/slack"))
    text = str(world.events("/slack")[0]["text"])
    assert text.startswith("Quota *each* (m  Quota *prod* has room again. &lt;!channel&gt;) is exhausted")
    assert text.isprintable()


def kinds(gateway: Gateway) -> list[str]:
    return [f"{one['kind']} {one['detail']}".strip() for one in gateway.get("/api/events")["events"]]


def test_a_limit_that_a_reload_raises_reopens_the_quota_and_its_next_end_is_told(tmp_path: Path) -> None:
    with Upstream(World().script) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url, usd=0.002)) as gateway:
        with pytest.raises(openai.RateLimitError):
            call(gateway, 3)
        gateway.write(CONFIG.format(url=upstream.url, usd=0.006))
        gateway.post("/api/reload")
        until(lambda: "reopened" in kinds(gateway))
        with pytest.raises(openai.RateLimitError):
            call(gateway, 5)
        until(lambda: kinds(gateway).count("exhausted") == 2)


def test_a_threshold_of_a_rolling_window_is_told_once_also_across_a_restart(tmp_path: Path) -> None:
    with Upstream(World().script) as upstream:
        # parts of a second, so that the restart is in another one
        text = CONFIG.format(url=upstream.url, usd=0.01).replace('"month"\nwarn_at', '"rolling 1m"\nwarn_at')
        with Gateway(tmp_path, text) as gateway:
            call(gateway, 6)
            until(lambda: kinds(gateway) == ["threshold 50 %"])
        with Gateway(tmp_path, text) as gateway:
            time.sleep(1.1)
            call(gateway)
            assert kinds(gateway) == ["threshold 50 %"]
            call(gateway)
            until(lambda: kinds(gateway) == ["threshold 50 %", "threshold 80 %"])


def test_a_rule_whose_day_becomes_a_month_tells_the_thresholds_of_the_month(tmp_path: Path) -> None:
    with Upstream(World().script) as upstream:
        month = CONFIG.format(url=upstream.url, usd=0.01)
        with Gateway(tmp_path, month.replace('"month"\nwarn_at', '"day"\nwarn_at')) as gateway:
            call(gateway, 5)
            until(lambda: kinds(gateway) == ["threshold 50 %"])
            gateway.write(month.replace('"month"\nwarn_at', '"total"\nwarn_at'))
            gateway.post("/api/reload")
            call(gateway)
            until(lambda: kinds(gateway).count("threshold 50 %") == 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_calls_that_are_put_back_into_the_ledger_count_while_it_serves(tmp_path: Path, workers: int) -> None:
    with Upstream(World().script) as upstream:
        text = CONFIG.format(url=upstream.url, usd=0.005) + f"\n[server]\nworkers = {workers}\n"
        (tmp_path / "lost").mkdir()
        with Gateway(tmp_path / "lost", text) as gateway:
            call(gateway, 4)
            gateway.cli("ledger", "backup", str(tmp_path / "copy.db"))
        with Gateway(tmp_path, text) as gateway:
            call(gateway)
            gateway.cli("ledger", "restore", str(tmp_path / "copy.db"))
            until(lambda: used(gateway) == 0.005)
            with pytest.raises(openai.RateLimitError):
                call(gateway)
            assert gateway.post("/api/quotas/verify")["differences"] == []
            assert gateway.cli("ledger", "verify").returncode == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_calls_from_before_the_clock_was_set_back_count_when_their_window_comes(tmp_path: Path, workers: int) -> None:
    then = time.time_ns() + 5 * 10**9
    made = [
        book.record(number, request_id=first_id_at(then) + f"{number:016d}", started_ns=then, ended_ns=then, team="ads")
        for number in range(5)
    ]
    (tmp_path / "data").mkdir()
    book.ledger(tmp_path / "data" / "ledger.db", made)
    with Upstream(World().script) as upstream:
        text = CONFIG.format(url=upstream.url, usd=1) + f"\n[server]\nworkers = {workers}\n"
        text += '[[quotas]]\nname = "few"\nrequests = 5\nwindow = "rolling 1m"\n'
        with Gateway(tmp_path, text) as gateway:
            until(lambda: time.time_ns() > then + 10**9)
            with pytest.raises(openai.RateLimitError, match="few"):
                call(gateway)
            assert gateway.post("/api/quotas/verify")["differences"] == []


def used(gateway: Gateway) -> float:
    rows = gateway.get("/api/quotas?quota=month")["quotas"]
    return next(float(row["used"]) for row in rows if row["unit"] == "usd")


def test_a_raise_holds_at_once_and_ends_and_is_kept_with_who_and_why(tmp_path: Path) -> None:
    world = World()
    with Upstream(world.script) as upstream:
        text = CONFIG.format(url=upstream.url, usd=0.002)
        with Gateway(tmp_path, text) as gateway:
            with pytest.raises(openai.RateLimitError):
                call(gateway, 5)
            said = {"usd": 0.5, "until": "2999-01-01", "who": "ann", "why": "launch"}
            made = gateway.post("/api/quotas/month/grants", said)
            call(gateway, 5)
            [row] = [row for row in gateway.get("/api/quotas?quota=month")["quotas"] if row["unit"] == "usd"]
            assert (row["limit"], row["raised_by"]) == (0.502, 0.5)
            shown = json.loads(gateway.cli("quotas", "grants", "--format", "json").stdout)
            assert [(grant["id"], grant["who"], grant["why"]) for grant in shown] == [(made["id"], "ann", "launch")]
            gateway.cli("quotas", "end", str(made["id"]))
            until(lambda: not gateway.get("/api/quotas/grants")["grants"])
            with pytest.raises(openai.RateLimitError):
                call(gateway)
            for wrong in ({}, {"usd": 1}, {"usd": -1, "until": "2999-01-01"}, {"usd": 1, "until": "2001-01-01"},
                          {"tokens": 5, "until": "2999-01-01"}, {"usd": 1, "until": "2999-01-01", "x": 1}):  # fmt: skip
                with pytest.raises(urllib.error.HTTPError) as refused:
                    gateway.post("/api/quotas/month/grants", wrong)
                assert refused.value.code == 400
                assert json.load(refused.value)["detail"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_refusal_after_a_reload_tells_the_limit_with_what_was_granted(tmp_path: Path, workers: int) -> None:
    with Upstream(World().script) as upstream:
        text = CONFIG.format(url=upstream.url, usd=0.002) + f"\n[server]\nworkers = {workers}\n"
        with Gateway(tmp_path, text) as gateway:
            gateway.post("/api/quotas/month/grants", {"usd": 0.002, "until": "2999-01-01"})
            gateway.write(text.replace("0.5, 0.8", "0.6"))
            assert gateway.post("/api/reload")["changed"]
            with pytest.raises(openai.RateLimitError, match=re.escape("limit $0.004000, used ")):
                call(gateway, 5)


def test_a_decision_is_explained_rule_by_rule(tmp_path: Path) -> None:
    with Gateway(tmp_path, CONFIG.format(url="http://127.0.0.1:9", usd=0.01)) as gateway:
        ask = ("quotas", "explain", "--team", "search", "--model", "gpt-4o")
        said = gateway.cli(*ask, "--usd", "0.02", "--all").stdout
        assert "month: no" in said
        assert 'others: does not match: team "search" is not ads' in said
        assert 'would be refused by "month"' in said
        assert "would be allowed" in gateway.cli(*ask, "--usd", "0.01").stdout
        running = json.loads(gateway.cli(*ask, "--usd", "0.02", "--format", "json").stdout)
        listed = gateway.cli("quotas").stdout
        gateway.stop()
        assert json.loads(gateway.cli(*ask, "--usd", "0.02", "--format", "json").stdout) == running
        assert gateway.cli("quotas").stdout == listed
        assert (
            gateway.cli("quotas", "grant", "mnth", "--usd", "1", "--until", "2999-01-01", check=False).returncode == 1
        )


def test_the_counters_are_proved_while_calls_go_on(tmp_path: Path) -> None:
    world = World()
    with Upstream(world.script) as upstream:
        with Gateway(tmp_path, CONFIG.format(url=upstream.url, usd=100.0)) as gateway:
            for _ in range(5):
                call(gateway, 20)
                said = gateway.cli("quotas", "verify").stdout
                assert said.strip() == "3 counters, 0 differences".replace("3", said.split()[0])
            # a ledger that says something else is noticed
            gateway.kill()
        with Gateway(tmp_path, CONFIG.format(url=upstream.url, usd=100.0)) as gateway:
            import sqlite3

            with sqlite3.connect(tmp_path / "data" / "ledger.db") as connection:
                connection.execute("UPDATE hours SET held_nanousd = held_nanousd + 1")
                connection.execute("UPDATE records SET cost_nanousd = cost_nanousd + 1 WHERE request_id = "
                                   "(SELECT min(request_id) FROM records)")  # fmt: skip
            found = gateway.cli("quotas", "verify", check=False)
            assert found.returncode == 1
            assert "month" in found.stdout

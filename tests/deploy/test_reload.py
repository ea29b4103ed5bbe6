"""Reload: all or nothing, told and audited, and no call notices."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.admin import Caller
from support.gateway import Gateway

KEY, SECOND = "sk-reload-first-key", "sk-reload-second-key"
OPERATOR, READER = "operator-token-1234", "reader-token-12345678"


def config(price: float, second: bool = False, rest: str = "") -> str:
    """Two prices that no bill can mix: what a call costs tells which configuration it was under."""
    other = f'[[keys]]\nid = "second"\nsecret = "{SECOND}"\nteam = "search"\nworkflow = "new"\n' if second else ""
    return f"""
[server]
admin_token = "{OPERATOR}"
[[server.admin_tokens]]
name = "watcher"
secret = "{READER}"
role = "read"
[logging]
format = "json"
level = "error"
[providers.simulated]
kind = "simulated"
first_token_seconds = 0.005
token_seconds = 0.0
[[prices]]
provider = "simulated"
model = "*"
input_per_mtok = {price}
output_per_mtok = {price}
[[keys]]
id = "first"
secret = "{KEY}"
team = "search"
workflow = "ranking"
{other}{rest}
"""


class Operated(Gateway):
    """Asked with the operator's token."""

    def ask(self, path: str, token: str = OPERATOR, body: bytes | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.admin + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def renew(self, text: str) -> tuple[int, Any]:
        self.write(text)
        return self.ask("/api/reload", body=b"")

    def audited(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("audit")]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Operated]:
    with Operated(tmp_path, config(1.0)) as running:
        yield running


async def calls(gateway: Gateway, key: str, count: int, rate: float) -> list[tuple[int, str]]:
    """Calls at a steady rate; status and request id of each."""
    url = f"{gateway.url}/simulated/v1/chat/completions"
    body = {"model": "gpt-4o", "max_tokens": 3, "messages": [{"role": "user", "content": "hello"}]}
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:

        async def one() -> tuple[int, str]:
            async with session.post(url, json=body) as answer:
                await answer.read()
                return answer.status, answer.headers.get("x-spendgate-request-id", "")

        tasks = []
        began = loop.time()
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
            tasks.append(asyncio.create_task(one()))
        return await asyncio.gather(*tasks)


def test_a_reload_says_what_changed_and_is_audited(gateway: Operated) -> None:
    assert asyncio.run(calls(gateway, SECOND, 1, 1.0))[0][0] == 401
    status, answer = gateway.renew(config(2.0, second=True))
    assert status == 200
    assert {"+keys.second", "prices.0.input_per_mtok"} <= set(answer["changed"])
    assert asyncio.run(calls(gateway, SECOND, 1, 1.0))[0][0] == 200
    assert gateway.stop() == 0
    (line,) = gateway.audited()
    assert (line["message"], line["by"], line["changed"]) == ("reloaded", "admin", answer["changed"])
    assert line["at"].endswith("Z")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [("[[keys]]\nid = 7\n", "keys"), ("[providrs.x]\n", "providers"), ("this is no TOML", "not valid TOML")],
)
def test_a_wrong_file_changes_nothing_and_says_why(gateway: Operated, wrong: str, named: str) -> None:
    status, answer = gateway.renew(config(5.0, second=True) + wrong)
    assert status == 422
    assert named in answer["detail"]
    assert asyncio.run(calls(gateway, SECOND, 1, 1.0))[0][0] == 401
    assert asyncio.run(calls(gateway, KEY, 1, 1.0))[0][0] == 200
    assert "spendgate_config_reload_failures_total 1.0" in gateway.metrics()
    assert gateway.stop() == 0
    assert [(line["message"], line["by"]) for line in gateway.audited()] == [("reload refused", "admin")]
    assert "not reloaded" in gateway.log()


def test_who_may_only_read_may_not_reload(gateway: Operated) -> None:
    assert gateway.ask("/api/reload", READER, b"")[0] == 403
    assert gateway.ask("/api/reload", "nobody", b"")[0] == 401
    assert gateway.ask("/api/reload")[0] == 405


def test_admin_tokens_and_limits_hold_from_the_reload_on(gateway: Operated) -> None:
    cookie = _session(gateway)
    assert _page(gateway, cookie) == 200
    other = "another-operator-token"
    limits = "[server.limits]\nheaders = 12\n"
    status, answer = gateway.renew(config(1.0, rest=limits).replace(OPERATOR, other).replace(READER, "gone" * 5))
    assert status == 200
    assert {"server.admin_token", "server.limits.headers"} <= set(answer["changed"])
    assert [gateway.ask("/api/me", token)[0] for token in (OPERATOR, READER, other)] == [401, 401, 200]
    assert _page(gateway, cookie) == 401, "a session ends with its token"
    headers = {f"x-{number}": "y" for number in range(10)} | {"Authorization": f"Bearer {KEY}"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(
            urllib.request.Request(gateway.url + "/simulated/v1/models", headers=headers), timeout=10
        )
    assert refused.value.code == 431
    assert gateway.stop() == 0
    assert [line["needs_restart"] for line in gateway.audited() if line["message"] == "reloaded"] == [False]


def _session(gateway: Operated) -> str:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    request = urllib.request.Request(gateway.admin + "/ui/login", f"token={OPERATOR}".encode())
    with pytest.raises(urllib.error.HTTPError) as sent:
        urllib.request.build_opener(Stay).open(request, timeout=10)
    return str(sent.value.headers["Set-Cookie"]).split(";")[0]


def _page(gateway: Operated, cookie: str) -> int:
    request = urllib.request.Request(gateway.admin + "/api/me", headers={"Cookie": cookie})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_many_reloads_leave_no_descriptor_and_no_memory_behind(gateway: Operated) -> None:
    assert gateway.process is not None
    proc = Path(f"/proc/{gateway.process.pid}")

    def held() -> tuple[int, int]:
        return len(list((proc / "fd").iterdir())), int((proc / "statm").read_text().split()[1])

    def reload(turn: int) -> None:
        assert gateway.renew(config(1.0 + turn % 2, second=bool(turn % 2)))[0] == 200
        assert asyncio.run(calls(gateway, KEY, 1, 1.0))[0][0] == 200

    for turn in range(20):
        reload(turn)
    descriptors, pages = held()
    for turn in range(40):
        reload(turn)
    after = held()
    assert after[0] <= descriptors + 3
    assert after[1] - pages < 1000, "four megabytes"


def test_changes_through_the_api_are_audited_by_name(gateway: Operated) -> None:
    status, made = gateway.ask("/api/keys", body=json.dumps({"team": "search", "workflow": "x"}).encode())
    assert status == 201
    status, next_one = gateway.ask(f"/api/keys/{made['id']}/rotate", body=b"{}")
    assert status == 201
    assert gateway.ask("/api/keys", body=b"{}")[0] == 400
    assert gateway.stop() == 0
    assert [(line["by"], line["path"], line["status"], line.get("made")) for line in gateway.audited()] == [
        ("admin", "/api/keys", 201, made["id"]),
        ("admin", f"/api/keys/{made['id']}/rotate", 201, next_one["id"]),
    ]
    assert made["secret"] not in gateway.log()


def test_who_logs_in_to_the_page_is_audited(gateway: Operated) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert Caller(gateway)("POST", "/ui/login", f"token={OPERATOR}".encode(), **form).status == 303
    assert gateway.stop() == 0
    assert [(line["message"], line["by"], line["role"]) for line in gateway.audited()] == [
        ("signed in", "admin", "operate")
    ]
    assert OPERATOR not in gateway.log()


@pytest.mark.prove
def test_reloads_under_load_fail_no_call_and_no_call_mixes_old_and_new(gateway: Operated, prove: bool) -> None:
    rate, seconds = (500.0, 20) if prove else (250.0, 4)

    async def both() -> list[tuple[int, str]]:
        stop = asyncio.Event()

        async def reload() -> None:
            turn = 0
            while not stop.is_set():
                turn += 1
                status, _ = await asyncio.to_thread(gateway.renew, config(1.0 + turn % 2, second=bool(turn % 2)))
                assert status == 200
                await asyncio.sleep(0.2)

        reloading = asyncio.create_task(reload())
        done = await calls(gateway, KEY, int(rate * seconds), rate)
        stop.set()
        await reloading
        return done

    done = asyncio.run(both())
    assert {status for status, _ in done} == {200}
    records: dict[str, dict[str, Any]] = {}
    cursor = ""
    while True:
        page = gateway.ask(f"/api/requests?limit=1000{cursor}")[1]
        records |= {record["request_id"]: record for record in page["requests"]}
        if not page["cursor"]:
            break
        cursor = f"&cursor={page['cursor']}"
    assert set(records) == {request_id for _, request_id in done}
    prices = set()
    for record in records.values():
        rates = {line["nanousd"] / line["quantity"] for line in record["cost_lines"]}
        assert len(rates) == 1, record["cost_lines"]
        prices |= rates
    assert prices == {1000.0, 2000.0}


def test_a_stand_in_without_a_price_is_refused_as_at_the_start(tmp_path: Path) -> None:
    stand_in = 'kind = "simulated"\nunpriced_models = { price_as = "gpt-forty" }'
    with Operated(tmp_path, config(1.0)) as gateway:
        gateway.write(config(2.0).replace('kind = "simulated"', stand_in).replace('model = "*"', 'model = "m"'))
        status, told = gateway.ask("/api/reload", body=b"{}")
        assert status == 422
        assert 'unpriced_models.price_as: "gpt-forty" has no price itself' in json.dumps(told).replace('\\"', '"')


def test_a_hangup_while_the_gateway_starts_is_a_reload_as_soon_as_it_can(tmp_path: Path) -> None:
    gateway = Operated(tmp_path, config(1.0).replace('level = "error"', 'level = "info"'), fresh=True)
    text = gateway.path.read_bytes()
    gateway.path.unlink()
    os.mkfifo(gateway.path)
    starting = threading.Thread(target=gateway.start)
    starting.start()
    # it is there, and reads: whoever opens a pipe to write waits for who reads
    with gateway.path.open("wb") as pipe:
        assert gateway.process is not None
        gateway.reload()
        pipe.write(text)
    starting.join(40)
    assert gateway.process.poll() is None, gateway.log()
    with gateway.path.open("wb") as pipe:
        pipe.write(text.replace(b"input_per_mtok = 1.0", b"input_per_mtok = 2.0"))
    deadline = time.monotonic() + 20
    while "prices.0.input_per_mtok" not in gateway.log() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert '"by":"SIGHUP","changed":["prices.0.input_per_mtok"]' in gateway.log().replace(" ", "")
    assert gateway.stop() == 0

"""Hours of everything at once leave nothing behind: memory, descriptors, tasks and threads stay where they were.

``make prove`` soaks for an hour (``SOAK_SECONDS`` for another time), ``make test`` for a few seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import aiohttp
import pytest
import trustme
from support.gateway import Gateway
from support.upstream import RESET, Seen, Upstream, answer, chunk, chunked_head

KEY, POOR, ADMIN = "sk-soak-test-key", "sk-soak-poor-key", "an-admin-token-for-the-soak"
CONFIG = """
[server]
admin_token = "an-admin-token-for-the-soak"
[server.limits]
head_seconds = 2
body_seconds = 2
[server.tls]
cert = "server.pem"
key = "server.pem"
[server.admin_tls]
cert = "server.pem"
key = "server.pem"
[on_disconnect]
policy = "cancel"
[ledger]
[providers.simulated]
kind = "simulated"
first_token_seconds = 0.01
token_seconds = 0.002
[providers.far]
kind = "openai"
base_url = "{upstream}"
api_key = "sk-real-soak"
head_seconds = 2
[[prices]]
provider = "*"
model = "*"
input_per_mtok = {price}
output_per_mtok = 10.0
[[keys]]
id = "k"
secret = "sk-soak-test-key"
team = "search"
workflow = "ranking"
[[keys]]
id = "poor"
secret = "sk-soak-poor-key"
team = "poor"
workflow = "none"
[[quotas]]
name = "poor-none"
match = {{ team = "poor" }}
usd = 0.0
window = "total"
[[quotas]]
name = "all"
per = ["workflow"]
usd = 1000000.0
window = "hour"
"""
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
WHOLE = answer(json.dumps({"model": "m", "choices": [], "usage": USAGE}).encode())
PAUSE_SECONDS = 0.3
"""At most so long a client rests between two of its acts: the machine is busy, not overrun."""
Act = Callable[[aiohttp.ClientSession, Gateway, random.Random], Awaitable[str]]


def far(seen: Seen) -> list[bytes | float | str]:
    """Answers whole, in chunks, broken off, refused or never; as the call asks."""
    said = json.loads(seen.body or b"{}").get("user", "")
    if said == "reset":
        return [RESET]
    if said == "half":
        return [chunked_head("text/event-stream"), chunk(b'data: {"choices": []}\n\n'), RESET]
    if said == "refused":
        return [answer(b'{"error": {"message": "no"}}', status=429)]
    return [WHOLE]


async def post(session: aiohttp.ClientSession, gateway: Gateway, provider: str, key: str = KEY, **body: object) -> str:
    said = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "soak " * 20}], **body}
    headers = {"Authorization": f"Bearer {key}", "x-spendgate-workflow": f"w{random.randrange(40)}"}
    url = f"{gateway.url}/{provider}/v1/chat/completions"
    try:
        async with session.post(url, json=said, headers=headers) as got:
            await got.read()
            return str(got.status)
    except aiohttp.ClientError as error:
        return type(error).__name__


async def whole(session: aiohttp.ClientSession, gateway: Gateway, dice: random.Random) -> str:
    return await post(session, gateway, dice.choice(["simulated", "far"]))


async def stream(session: aiohttp.ClientSession, gateway: Gateway, dice: random.Random) -> str:
    return "stream " + await post(session, gateway, "simulated", stream=True, max_tokens=40)


async def left(session: aiohttp.ClientSession, gateway: Gateway, dice: random.Random) -> str:
    """A client that hangs up in the middle."""
    try:
        await asyncio.wait_for(post(session, gateway, "simulated", stream=True, max_tokens=400), dice.random() * 0.3)
    except TimeoutError:
        return "left"
    return "ended"


async def broken(session: aiohttp.ClientSession, gateway: Gateway, dice: random.Random) -> str:
    how = dice.choice(["reset", "half", "refused"])
    return f"{how} " + await post(session, gateway, "far", user=how, stream=how == "half")


async def refused(session: aiohttp.ClientSession, gateway: Gateway, dice: random.Random) -> str:
    return await post(session, gateway, "far", dice.choice([POOR, f"sk-unknown-{dice.random()}"]))


async def rubbish(session: aiohttp.ClientSession, gateway: Gateway, dice: random.Random) -> str:
    """Bytes that are no request, a head that never ends, a handshake that is none."""
    kind = dice.choice(["malformed", "slow", "no handshake"])
    secure = None if kind == "no handshake" else gateway.trust
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=secure)
        writer.write(b"POST /far/x HTTP/1.1\r\n" + (b"X : y\r\n\r\n" if kind == "malformed" else b"X: y\r\n"))
        await asyncio.wait_for(reader.read(), 10)
        writer.close()
    except OSError:
        pass
    return kind


async def operated(session: aiohttp.ClientSession, gateway: Gateway, dice: random.Random) -> str:
    path = dice.choice(["/metrics", "/api/spend?by=team", "/api/requests?limit=20", "/api/quotas", "/ui/"])
    async with session.get(gateway.admin + path, headers={"Authorization": f"Bearer {ADMIN}"}) as got:
        await got.read()
        return f"admin {got.status}"


ACTS: list[tuple[Act, int]] = [
    (whole, 40), (stream, 20), (left, 12), (broken, 12), (refused, 8), (rubbish, 3), (operated, 3)
]  # fmt: skip


class Vitals:
    """What a process holds, over time."""

    def __init__(self, gateway: Gateway) -> None:
        assert gateway.process is not None
        self.proc = Path(f"/proc/{gateway.process.pid}")
        self.gateway = gateway
        self.samples: list[tuple[int, int, int, int]] = []

    def take(self) -> tuple[int, int, int, int]:
        """Bytes of memory, descriptors that are no connection, threads, tasks."""
        told = self.gateway.metrics()
        # the process's own: pages of the ledger's file that are mapped are the kernel's to keep or drop
        own = re.search(r"^RssAnon:\s+(\d+) kB$", (self.proc / "status").read_text(), re.MULTILINE)
        assert own is not None
        connections = _value(told, "client_connections") + _value(told, "upstream_connections")
        sample = (
            int(own[1]) * 1024,
            len(list((self.proc / "fd").iterdir())) - connections,
            len(list((self.proc / "task").iterdir())),
            _value(told, "event_loop_tasks"),
        )
        self.samples.append(sample)
        return sample

    def growth(self) -> int:
        """Bytes between the median of the samples' second fifth and that of their last."""
        memory = [sample[0] for sample in self.samples]
        fifth = max(1, len(memory) // 5)
        return int(median(memory[-fifth:]) - median(memory[fifth : 2 * fifth]))


def _value(told: str, name: str) -> int:
    found = re.search(rf"^spendgate_{name} (\S+)$", told, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


async def soak(gateway: Gateway, vitals: Vitals, seconds: float, renew: Callable[[int], None]) -> Counter[str]:
    """Do everything at random for so long; reload now and then."""
    seen: Counter[str] = Counter()
    until = time.monotonic() + seconds
    acts, weights = zip(*ACTS, strict=True)

    async def worker(number: int) -> None:
        dice = random.Random(number)
        while time.monotonic() < until:
            connector = aiohttp.TCPConnector(ssl=gateway.trust or True)
            async with aiohttp.ClientSession(connector=connector) as session:
                for act in dice.choices(acts, weights, k=30):
                    seen[await act(session, gateway, dice)] += 1
                    await asyncio.sleep(dice.random() * PAUSE_SECONDS)
                    if time.monotonic() >= until:
                        break

    async def watch() -> None:
        turn = 0
        while time.monotonic() < until:
            await asyncio.sleep(min(20.0, seconds / 15))
            await asyncio.to_thread(vitals.take)
            turn += 1
            await asyncio.to_thread(renew, turn)

    await asyncio.gather(watch(), *(worker(number) for number in range(24)))
    return seen


@pytest.mark.prove
def test_a_soak_leaves_memory_descriptors_tasks_and_threads_where_they_were(tmp_path: Path, prove: bool) -> None:
    seconds = float(os.environ.get("SOAK_SECONDS", "3600" if prove else "12"))
    authority, trust = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trust)

    with Upstream(far) as upstream:

        def renew(turn: int) -> None:
            """Another price and another certificate."""
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
            gateway.write(CONFIG.format(upstream=upstream.url, price=1.0 + turn % 2))
            gateway.reload()

        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
        text = CONFIG.format(upstream=upstream.url, price=1.0)
        with Gateway(tmp_path, text, trust=trust, fresh=True) as gateway:
            vitals = Vitals(gateway)
            asyncio.run(soak(gateway, vitals, min(seconds / 4, 60.0), renew))
            before = _settled(vitals)
            vitals.samples.clear()
            seen = asyncio.run(soak(gateway, vitals, seconds, renew))
            after = _settled(vitals)
            upstream.seen.clear()
            memory = [sample[0] >> 20 for sample in vitals.samples]
            print(f"\n{sum(seen.values())} acts, memory {memory} MB, {before} {after}, {dict(seen)}")
            assert vitals.growth() < (12_000_000 if prove else 40_000_000), memory
            # of a short run, connections that are about to close are a larger part
            assert after[1] <= before[1] + (4 if prove else 12)
            assert after[2] <= before[2] + 2
            assert after[3] <= before[3] + 2
            assert {"200", "stream 200", "left", "malformed", "slow", "no handshake", "401", "429", "admin 200"} <= set(
                seen
            )
            assert gateway.stop() == 0
        assert "Traceback" not in gateway.log()


def _settled(vitals: Vitals) -> tuple[int, int, int, int]:
    """Once nothing is on its way any more: two samples that agree, or the last of many."""
    sample = vitals.take()
    for _ in range(40):
        time.sleep(0.5)
        now = vitals.take()
        if now[1:] == sample[1:]:
            break
        sample = now
    return now

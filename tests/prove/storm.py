"""Calls without a pause, of which both ends take notes; and what a ledger must say of them afterwards."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import msgspec
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head

from gateway.ledger.connections import connect_reader
from gateway.ledger.verify import verify

CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-storm"
team = "t"
workflow = "w"

[[quotas]]
name = "all"
usd = 1000.0
window = "month"
"""
IN_PRICE, OUT_PRICE = 150, 600
"""gpt-4o-mini, nanousd a token."""
ENDS = {"completed", "client_disconnected", "upstream_error", "recovered"}


def usage_of(number: int) -> tuple[int, int]:
    """Input and output tokens of a call."""
    return 10 + number % 97, 5 + number % 89


def number_in(seen: Seen) -> int:
    return int(json.loads(seen.body)["messages"][0]["content"])


def event(document: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def play(seen: Seen) -> Iterable[Step]:
    """The provider: a few tenths of a second a call, longer for streams; every answer has a usage of its own."""
    number = number_in(seen)
    tokens_in, tokens_out = usage_of(number)
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    if not json.loads(seen.body)["stream"]:
        yield number % 7 * 0.02
        yield answer(json.dumps({"model": "gpt-4o-mini", "choices": [], "usage": usage}).encode())
        return
    yield chunked_head("text/event-stream")
    for word in range(number % 12):
        yield chunk(event({"model": "gpt-4o-mini", "choices": [{"delta": {"content": f"{word} "}}], "usage": None}))
        yield 0.02
    yield chunk(event({"model": "gpt-4o-mini", "choices": [], "usage": usage}) + b"data: [DONE]\n\n") + LAST_CHUNK


class Storm:
    """``clients`` call one after the other until told to stop. ``complete``: numbers of calls seen to their end."""

    def __init__(self, gateway: Gateway, upstream: Upstream, seed: int, clients: int = 40) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.random = random.Random(seed)
        self.clients = clients
        self.numbers = itertools.count(1)
        self.sent: set[int] = set()
        self.complete: dict[int, str] = {}
        self.refused = 0
        self._stop = False

    async def blow(self, disturb: asyncio.Future[None] | asyncio.Task[None]) -> None:
        """Call until ``disturb`` is done, then let what is in flight end."""
        self._stop = False
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            clients = [asyncio.create_task(self._client(session)) for _ in range(self.clients)]
            await disturb
            self._stop = True
            await asyncio.gather(*clients)

    async def once(self) -> None:
        """One call more, by a client of its own."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            try:
                await self._call(session, next(self.numbers))
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                return

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._stop:
            number = next(self.numbers)
            try:
                await self._call(session, number)
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                await asyncio.sleep(0.01)

    async def _call(self, session: aiohttp.ClientSession, number: int) -> None:
        self.sent.add(number)
        document = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": str(number)}], "max_tokens": 100}
        body = json.dumps({**document, "stream": number % 3 != 0})
        headers = {"Authorization": "Bearer sk-test-storm", "Content-Type": "application/json"}
        # so that the record tells which call it is of
        headers["x-spendgate-tag-n"] = str(number)
        url = self.gateway.url + "/openai/v1/chat/completions"
        async with session.post(url, data=body, headers=headers) as response:
            text = await response.read()
            if response.status == 200:
                assert b"prompt_tokens" in text or number % 3 != 0
                self.complete[number] = response.headers["x-spendgate-request-id"]
            else:
                assert response.status == 503, text
                assert "x-spendgate-error" in response.headers
                self.refused += 1
                await asyncio.sleep(0.05)

    def received(self) -> set[int]:
        """Numbers of the calls that the provider received; each at most once."""
        numbers = [number_in(seen) for seen in list(self.upstream.seen)]
        assert len(numbers) == len(set(numbers))
        return set(numbers)


class Outcome(msgspec.Struct):
    """Figures of a comparison."""

    records: int
    received: int
    complete: int
    recovered: int


def compare(storm: Storm) -> Outcome:
    """What the ledger says against what both ends saw. Nothing may run meanwhile, or all be settled."""
    path = storm.gateway.directory / "data" / "ledger.db"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = connection.execute(
        "SELECT CAST(tags ->> 'n' AS INTEGER), request_id, outcome, usage, usage_source, cost_nanousd FROM requests "
        "WHERE outcome <> 'rejected'"
    ).fetchall()
    assert connection.execute("SELECT count(*) FROM open_requests").fetchone() == (0,)
    connection.close()
    by_number = {row[0]: row[1:] for row in rows}
    assert len(by_number) == len(rows), "a call is in the ledger twice"
    received = storm.received()
    assert received <= by_number.keys(), f"lost: {sorted(received - by_number.keys())[:10]}"
    assert by_number.keys() <= storm.sent
    assert {row[2] for row in rows} <= ENDS
    for number, request_id in storm.complete.items():
        exact(by_number[number], number, request_id)
    for number, row in by_number.items():
        if row[3] == "response":
            exact(row, number, row[0])
    agree(path)
    recovered = sum(row[2] == "recovered" for row in rows)
    return Outcome(len(rows), len(received), len(storm.complete), recovered)


def exact(row: tuple[str, str, str, str, int], number: int, request_id: str) -> None:
    """Usage and cost of a call are what the provider reported."""
    tokens_in, tokens_out = usage_of(number)
    found, outcome, usage, source, cost = row
    assert found == request_id
    assert outcome in ("completed", "client_disconnected")
    assert source == "response"
    assert json.loads(usage) == {"input_tokens_total": tokens_in, "output_tokens_total": tokens_out}
    assert cost == tokens_in * IN_PRICE + tokens_out * OUT_PRICE


def agree(path: Path) -> None:
    """Records, lines, rollups and the file's structure agree."""
    reader = connect_reader(path)
    reader.row_factory = None
    try:
        assert verify(reader) == []
    finally:
        reader.close()

"""A new gateway takes over from an old one on the same sockets and ledger: no call fails, no record is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import trustme

KEY = "sk-takeover-test-key"
LAUNCH = """
import os, sys
first, second = (os.dup(int(fd)) for fd in sys.argv[1:3])
for fd, place in ((os.dup(first), 3), (os.dup(second), 4)):
    os.dup2(fd, place)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "data:admin"}
os.execv(sys.executable, [sys.executable, "-m", "gateway.cli.main", "serve", "--config", sys.argv[3]])
"""
"""Hands two listening sockets to a gateway, as systemd does."""


class Supervisor:
    """Holds the sockets; starts and ends gateways on them."""

    def __init__(self, folder: Path, secure: bool) -> None:
        self.trust: ssl.SSLContext | None = None
        if secure:
            authority, self.trust = trustme.CA(), ssl.create_default_context()
            authority.configure_trust(self.trust)
            issued = authority.issue_cert("127.0.0.1")
            issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        self.sockets = []
        for _ in range(2):
            one = socket.socket()
            one.bind(("127.0.0.1", 0))
            one.listen(4096)
            self.sockets.append(one)
        scheme = "https" if secure else "http"
        self.url, self.admin = (f"{scheme}://127.0.0.1:{one.getsockname()[1]}" for one in self.sockets)
        files = '{ cert = "server.pem", key = "server.pem" }'
        self.log = folder / "log"
        self.config = folder / "config.toml"
        self.config.write_text(
            f"""
[server]
listen = "127.0.0.1:{self.sockets[0].getsockname()[1]}"
admin_listen = "127.0.0.1:{self.sockets[1].getsockname()[1]}"
data_dir = "{folder / "data"}"
{f"tls = {files}" if secure else ""}
{f"admin_tls = {files}" if secure else ""}
[providers.simulated]
kind = "simulated"
first_token_seconds = 0.05
token_seconds = 0.0
[[prices]]
provider = "simulated"
model = "*"
input_per_mtok = 1.0
output_per_mtok = 1.0
[[keys]]
id = "k"
secret = "{KEY}"
team = "search"
workflow = "ranking"
[[quotas]]
name = "all"
requests = 1000000
window = "total"
"""
        )
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        fds = [one.fileno() for one in self.sockets]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, *map(str, fds), str(self.config)], pass_fds=fds, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def get(self, path: str) -> dict[str, object]:
        with urllib.request.urlopen(self.admin + path, timeout=30, context=self.trust) as answer:
            told: dict[str, object] = json.load(answer)
            return told


@pytest.fixture
def supervisor(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path, secure=getattr(request, "param", False))
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
            process.wait(10)
    for one in made.sockets:
        one.close()


@pytest.mark.prove
@pytest.mark.parametrize(
    ("supervisor", "keep"),
    [(False, True), (False, False), (True, False)],
    ids=["kept connections", "a connection each", "a handshake each"],
    indirect=["supervisor"],
)
def test_takeovers_under_load_fail_no_call_and_lose_no_record(supervisor: Supervisor, prove: bool, keep: bool) -> None:
    rate, seconds, turns = (500.0, 12.0, 4) if prove else (100.0, 4.0, 1)
    if supervisor.trust is not None:
        rate /= 5  # a handshake costs both sides a hundred times what a call does
    current = supervisor.start()
    assert supervisor.get("/readyz") == {"status": "ready"}

    async def load() -> list[tuple[int, str]]:
        url = f"{supervisor.url}/simulated/v1/chat/completions"
        body = {"model": "gpt-4o", "max_tokens": 3, "messages": [{"role": "user", "content": "hello"}]}
        loop = asyncio.get_running_loop()
        # one that was idle for nearly as long as a gateway that drains keeps it may close under a request
        reuse = {"keepalive_timeout": 0.2} if keep else {"force_close": True}
        connector = aiohttp.TCPConnector(limit=0, ssl=supervisor.trust or True, **reuse)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def one() -> tuple[int, str]:
                try:
                    async with session.post(url, json=body) as answer:
                        await answer.read()
                        return answer.status, answer.headers["x-spendgate-request-id"]
                except aiohttp.ClientConnectionError as error:
                    # the client found it closed before it wrote a byte, as may be: it takes another connection
                    if "Cannot write to closing transport" not in f"{error} {error.__cause__}":
                        raise
                    return await one()

            tasks, began = [], loop.time()
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
                tasks.append(asyncio.create_task(one()))
            return await asyncio.gather(*tasks)

    async def both() -> list[tuple[int, str]]:
        nonlocal current
        running = asyncio.create_task(load())
        for _ in range(turns):
            await asyncio.sleep(seconds / (turns + 1))
            successor = supervisor.start()
            await asyncio.sleep(0.5)
            current.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(current.wait, 60) == 0
            current = successor
        return await running

    done = asyncio.run(both())
    assert {status for status, _ in done} == {200}
    recorded: set[str] = set()
    cursor = ""
    while True:
        page = supervisor.get(f"/api/requests?limit=1000{cursor}")
        rows = page["requests"]
        assert isinstance(rows, list)
        assert {row["outcome"] for row in rows} <= {"completed"}
        recorded |= {row["request_id"] for row in rows}
        if not page["cursor"]:
            break
        cursor = f"&cursor={page['cursor']}"
    assert recorded == {request_id for _, request_id in done}
    (quota,) = supervisor.get("/api/quotas")["quotas"]  # type: ignore[misc]
    assert quota["used"] == len(done)


def test_without_sockets_a_second_gateway_is_refused_at_once(supervisor: Supervisor) -> None:
    supervisor.start()
    assert supervisor.get("/readyz") == {"status": "ready"}
    command = [sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(supervisor.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "another gateway" in done.stderr

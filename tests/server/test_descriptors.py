"""Where descriptors are few, clients never take those that calls, the ledger and the admin port need."""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts what lies in /proc")
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"
breaker_failures = 2
breaker_seconds = 60

[[keys]]
id = "k"
secret = "sk-test-descriptors"
team = "t"
workflow = "w"
"""
BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}'
CALL = (
    b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer sk-test-descriptors\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
SOFT, HARD = 64, 200
CLIENTS = (HARD - 50 - 25 - 12) // 2
"""What is left once files, the admin port and those who are told have theirs: one for each, one for its provider."""


def play(_: Seen) -> Iterable[Step]:
    """Slowly, so that all calls are in flight at once, each on a connection of its own."""
    yield 0.5
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    yield answer(json.dumps({"model": "gpt-4o-mini", "choices": [], "usage": usage}).encode())


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(play) as running:
        yield running


def connected(gateway: Gateway) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", gateway.port), 20)
    one.settimeout(20)
    return one


def head(one: socket.socket) -> str:
    """The status of an answer and the gateway's own error; empty where there is none."""
    seen = b""
    try:
        while b"\r\n\r\n" not in seen and (more := one.recv(4096)):
            seen += more
    except ConnectionError:
        return ""
    fields = dict(line.lower().split(": ", 1) for line in seen.decode().split("\r\n")[1:] if ": " in line)
    return f"{seen[9:12].decode()} {fields.get('x-spendgate-error', '')}".strip()


def called(one: socket.socket) -> str:
    try:
        one.sendall(CALL)
    except ConnectionError:
        return ""
    return head(one)


def lowest_free(pid: int) -> int:
    """Where the process has no descriptor and gets none if it may go no further: there are gaps below its highest, and
    what it opens for a moment (a folder, a file of random bytes) leaves another."""
    lowest = []
    for _ in range(20):
        taken = set(map(int, os.listdir(f"/proc/{pid}/fd")))
        lowest.append(next(number for number in count() if number not in taken))
        time.sleep(0.05)
    return min(lowest)


def test_a_crowd_of_clients_leaves_descriptors_to_calls_and_to_the_admin_port(
    tmp_path: Path, upstream: Upstream
) -> None:
    limits = ("sh", "-c", f'ulimit -Sn {SOFT}; ulimit -Hn {HARD}; exec "$@"', "sh")
    with Gateway(tmp_path, CONFIG.format(url=upstream.url), within=limits) as gateway:
        assert gateway.value("process_max_fds") == HARD
        crowd = [connected(gateway) for _ in range(2 * HARD)]
        assert gateway.get("/readyz") == {"status": "ready"}
        for one in crowd:
            try:
                one.sendall(CALL)
            except ConnectionError:
                continue
        heads = Counter(head(one) for one in crowd)
        assert heads.pop("200") == CLIENTS
        assert heads.keys() == {"", "503 too_many_connections"}
        assert gateway.value("spendgate_refused_connections_total") == 2 * HARD - CLIENTS
        assert gateway.value("spendgate_upstream_endpoints_unreachable") == 0
        for one in crowd:
            one.close()
        assert any(called(connected(gateway)) == "200" for _ in range(100))


def test_a_provider_is_not_called_unreachable_for_want_of_descriptors(tmp_path: Path, upstream: Upstream) -> None:
    with Gateway(tmp_path, CONFIG.format(url=upstream.url), fresh=True) as gateway:
        assert gateway.process is not None
        pid = gateway.process.pid
        one = connected(gateway)
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
        assert head(one) == "200"
        room = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free(pid), room[1]))
        assert [called(one) for _ in range(3)] == ["502 upstream_connect"] * 3
        resource.prlimit(pid, resource.RLIMIT_NOFILE, room)
        assert called(one) == "200"

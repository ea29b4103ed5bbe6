"""Answers of a broken or hostile provider: whole, a gateway error, or seen to be cut.

Nothing of one reaches the next call.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator

import pytest
from attacks import AUTH, HOST, KEY
from hostile_answers import Answer, hostile_answers
from hostile_config import CONFIG
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

ANSWERS = hostile_answers()


def script(seen: Seen) -> Iterable[Step]:
    case = seen.header("x-case")
    return [answer(b"fine", "text/plain")] if case is None else ANSWERS[int(case)].steps


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    config = CONFIG.format(port=upstream.port, key=KEY.decode())
    with Gateway(tmp_path_factory.mktemp("hostile"), config) as running:
        yield running


class Client:
    """One connection that reads answers by their framing; ``complete`` is False where an answer is seen to be cut."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.buffer = b""

    def more(self) -> bool:
        try:
            piece = self.socket.recv(65_536)
        except ConnectionResetError:
            return False
        self.buffer += piece
        return bool(piece)

    def take(self, size: int) -> bytes | None:
        while len(self.buffer) < size:
            if not self.more():
                return None
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def until(self, mark: bytes) -> bytes | None:
        while mark not in self.buffer:
            if not self.more():
                return None
        return self.take(self.buffer.index(mark) + len(mark))

    def call(self, extra: bytes = b"") -> tuple[int, bytes, bytes, bool]:
        """Status, head, body, and whether the answer is complete."""
        self.socket.sendall(b"GET /p/v1/files HTTP/1.1\r\n" + HOST + AUTH + extra + b"\r\n")
        status, head = 100, b""
        while status < 200:
            found = self.until(b"\r\n\r\n")
            if found is None:
                return 0, b"", b"", False
            head = found
            status = int(head[9:12])
        fields = dict(line.lower().split(b": ", 1) for line in head[:-4].split(b"\r\n")[1:])
        if status in (204, 304):
            return status, head, b"", True
        if b"content-length" in fields:
            body = self.take(int(fields[b"content-length"]))
            return status, head, body or b"", body is not None
        return status, head, *self.chunks()

    def chunks(self) -> tuple[bytes, bool]:
        body = b""
        while line := self.until(b"\r\n"):
            size = int(line, 16)
            if not size:
                return body, self.until(b"\r\n") is not None
            piece = self.take(size + 2)
            if piece is None:
                break
            body += piece[:-2]
        return body, False


@pytest.mark.parametrize("number", range(len(ANSWERS)), ids=[case.name for case in ANSWERS])
def test_a_hostile_answer_harms_only_its_own_call(hostile: Gateway, number: int) -> None:
    case: Answer = ANSWERS[number]
    client = Client(hostile.port)
    status, head, body, complete = client.call(b"X-Case: %d\r\n" % number)
    if case.client == "whole":
        assert (status < 500, body, complete) == (True, case.body, True)
        assert b"X-Split" not in head
    elif case.client == "gateway":
        assert (status, complete) == (502, True)
        assert b"x-spendgate-error: upstream_" in head
    else:
        assert (status, complete) == (200, False)
        client = Client(hostile.port)
    for port_client in (client, Client(hostile.port)):
        status, _, body, complete = port_client.call()
        assert (status, body, complete) == (200, b"fine", True)
        port_client.socket.close()

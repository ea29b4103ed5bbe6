"""Whoever speaks no HTTP to the admin port is told so, and the log says it in one line."""

from __future__ import annotations

import socket
from pathlib import Path

from support.gateway import Gateway

CONFIG = """
[providers.p]
kind = "simulated"
"""
MALFORMED = (
    b"GET /healthz HTTP/1.1\r\n\r\n",
    "GET /metrics?a=é HTTP/1.1\r\nHost: g\r\n\r\n".encode(),
    b"POST /api/reload HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /metrics?a=" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: g\r\n\r\n",
)


def answer_to(gateway: Gateway, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", gateway.admin_port), 10) as client:
        client.sendall(request)
        return client.recv(65536)


def test_a_malformed_request_is_one_line_of_the_log(tmp_path: Path) -> None:
    with Gateway(tmp_path, CONFIG) as gateway:
        for request in MALFORMED:
            assert answer_to(gateway, request).split(b" ")[1] == b"400"
        assert gateway.stop() == 0
        lines = gateway.log().splitlines()
    told = [line for line in lines if "a request on the admin port was malformed" in line]
    assert len(told) == len(MALFORMED)
    assert not [line for line in lines if "Traceback" in line or "aiohttp" in line]

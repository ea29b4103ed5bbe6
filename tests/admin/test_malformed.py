"""Whoever speaks no HTTP to the admin port is told so, and the log says it in one line."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
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


TOKEN = "admin-token-of-16-letters"
GUARDED = CONFIG + f'[server]\nadmin_token = "{TOKEN}"\n'
OWN = f"Authorization: bearer {TOKEN}\r\n".encode()
JSON = OWN + b"Content-Type: application/json\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded"


def request(line: bytes, fields: bytes = b"", body: bytes = b"", host: bytes = b"127.0.0.1") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n%b%b\r\n%b" % (line, host, fields, length, body)


ODD = {
    "a token that is no UTF-8": (request(b"GET /api/me", b"Authorization: Bearer \xff\xfe\r\n"), 401),
    "a cookie that is no UTF-8": (request(b"GET /api/me", b"Cookie: spendgate_session=\xff|1|\xff\r\n"), 401),
    "a scheme in small letters": (request(b"GET /api/me", OWN), 200),
    "an origin that is no address": (request(b"POST /api/quotas/verify", OWN + b"Origin: http://[::1\r\n"), 403),
    "a form in no charset": (request(b"POST /ui/login", FORM + b"; charset=x\r\n", b"token=a"), 400),
    "a form without its boundary": (request(b"POST /ui/login", b"Content-Type: multipart/form-data\r\n", b"a"), 400),
    "JSON that is no UTF-8": (request(b"POST /api/keys", JSON, b'{"team": "\xff"}'), 400),
    "JSON too deep": (request(b"POST /api/keys", JSON, b"[" * 100_000), 400),
    "a coding that it does not have": (request(b"POST /api/keys", JSON + b"Content-Encoding: gzip\r\n", b"{}"), 400),
    "a version that is none": (
        request(b"GET /metrics", b"Accept: application/openmetrics-text;version=x\r\n"),
        200,
    ),
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("guarded"), GUARDED) as gateway:
        yield gateway
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.log()


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_in_a_request_is_its_senders_mistake(guarded: Gateway, name: str) -> None:
    sent, status = ODD[name]
    assert answer_to(guarded, sent).split(b" ")[1] == str(status).encode()


def test_a_host_that_is_no_address_opens_nothing(tmp_path: Path) -> None:
    with Gateway(tmp_path, CONFIG) as gateway:
        assert answer_to(gateway, request(b"GET /api/me", host=b"[::1")).split(b" ")[1] == b"403"
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.log()

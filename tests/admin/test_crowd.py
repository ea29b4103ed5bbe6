"""Connections that say nothing can't take the admin port, nor the descriptors that calls need."""

from __future__ import annotations

import http.client
import re
import socket
import time

from support.admin import Caller


def health(caller: Caller, source: str) -> int:
    port = caller.gateway.admin_port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(source, 0))
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def test_half_requests_of_one_address_are_bounded_and_others_are_served(open_caller: Caller) -> None:
    silent = [socket.create_connection(("127.0.0.1", open_caller.gateway.admin_port), 10) for _ in range(300)]
    for connection in silent:
        try:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        except OSError:
            pass
    assert health(open_caller, "127.0.0.1") == 0
    assert health(open_caller, "127.0.0.2") == 200
    for connection in silent:
        connection.close()
    deadline = time.monotonic() + 10
    while health(open_caller, "127.0.0.1") != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    refused = re.search(r"^spendgate_refused_connections_total (\S+)$", open_caller.gateway.metrics(), re.MULTILINE)
    assert refused is not None
    assert float(refused[1]) >= 44

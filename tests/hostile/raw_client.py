"""Raw bytes out, raw bytes in, and answers cut out of them by their own framing."""

from __future__ import annotations

import socket


def exchange(port: int, raw: bytes, timeout: float = 10) -> bytes:
    """Send all of it; everything that comes until the gateway closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        try:
            connection.sendall(raw)
        except ConnectionError:
            pass
        try:
            while piece := connection.recv(65_536):
                received += piece
        except ConnectionError:
            pass
    return received


def answers(raw: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each final answer; raises where something else stands between them."""
    out = []
    while raw:
        head, found, rest = raw.partition(b"\r\n\r\n")
        assert found, raw[:200]
        assert head.startswith(b"HTTP/1.1 "), raw[:200]
        status = int(head[9:12])
        if status < 200:
            raw = rest
            continue
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"0"))
        out.append((status, rest[:length]))
        raw = rest[length:]
    return out

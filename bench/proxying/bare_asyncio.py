"""A proxy that does nothing but forward: asyncio protocols and httptools on uvloop, connections kept alive both ways.

python bench/proxying/bare_asyncio.py PORT PROVIDER_PORT [PROCESSES: 1 or 2]
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import cast

import httptools
import uvloop

NOT_FORWARDED = {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "authorization"}
NOT_RETURNED = {b"connection", b"keep-alive", b"transfer-encoding", b"content-length"}
Headers = list[tuple[bytes, bytes]]


class Upstream(asyncio.Protocol):
    """A connection to the provider; one call at a time."""

    def __init__(self, pool: list[Upstream]) -> None:
        self._pool = pool
        self.lost = False
        self._pieces: list[bytes] = []
        self._wake: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._rouse()

    def send(self, head: bytes, body: bytes) -> asyncio.Future[tuple[int, Headers, bool]]:
        """The answer's status, its headers, and whether it is a stream; else it is whole by then."""
        self._parser = httptools.HttpResponseParser(self)
        self._headers: Headers = []
        self._pieces = []
        self._stream = self._whole = False
        self._answer: asyncio.Future[tuple[int, Headers, bool]] = asyncio.get_running_loop().create_future()
        if len(body) < 16_384:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self._stream:
            self._rouse()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))
        if name.lower() == b"content-type" and value.startswith(b"text/event-stream"):
            self._stream = True

    def on_headers_complete(self) -> None:
        if self._stream:
            self._answer.set_result((self._parser.get_status_code(), self._headers, True))

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self._whole = True
        if not self._stream:
            self._answer.set_result((self._parser.get_status_code(), self._headers, False))

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        if self.lost and hasattr(self, "_answer") and not self._answer.done():
            self._answer.set_exception(ConnectionError("the provider closed"))

    def body(self) -> bytes:
        """All pieces that are here."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        return data

    async def more(self) -> bytes:
        """The stream's next bytes; none at its end."""
        while not self._pieces and not self._whole:
            if self.lost:
                raise ConnectionError("the provider closed")
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self.body()

    def free(self) -> None:
        self._pool.append(self)


class Proxy(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, pool: list[Upstream], port: int) -> None:
        self._pool, self._port = pool, port
        self._headers: Headers = []
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._headers, self._body = [], []

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, piece: bytes) -> None:
        self._body.append(piece)

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._task = asyncio.get_running_loop().create_task(self._forward(self._url, self._headers, body))

    async def _forward(self, url: bytes, headers: Headers, body: bytes) -> None:
        upstream = await self._connection()
        sent = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        head = [f"POST {url.decode()} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Length: {len(body)}\r\n"]
        head += [f"{name}: {value}\r\n" for name, value in sent if name.lower() not in NOT_FORWARDED]
        head.append("Authorization: Bearer sk-upstream\r\n\r\n")
        status, answered, stream = await upstream.send("".join(head).encode("latin-1"), body)
        lines = [b"HTTP/1.1 %d OK\r\n" % status]
        lines += [b"%b: %b\r\n" % pair for pair in answered if pair[0].lower() not in NOT_RETURNED]
        if not stream:
            whole = upstream.body()
            lines += (b"Content-Length: %d\r\n\r\n" % len(whole), whole)
            self._transport.write(b"".join(lines))
        else:
            lines.append(b"Transfer-Encoding: chunked\r\n\r\n")
            self._transport.write(b"".join(lines))
            while data := await upstream.more():
                self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            self._transport.write(b"0\r\n\r\n")
        upstream.free()

    async def _connection(self) -> Upstream:
        while self._pool:
            found = self._pool.pop()
            if not found.lost:
                return found
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: Upstream(self._pool), "127.0.0.1", self._port)
        return made


async def serve(port: int, upstream: int) -> None:
    pool: list[Upstream] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: Proxy(pool, upstream), "127.0.0.1", port, backlog=1024, reuse_port=True
    )
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[3:] == ["2"]:
        os.fork()
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))

"""A real upstream server on loopback that plays scripts of raw bytes, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from support.thread import InThread

RESET = "reset"
"""Script step: break the connection with a TCP reset."""
CLOSE = "close"
"""Script step: close the connection."""
Step = bytes | float | str
"""Bytes to send, seconds to wait, or how to end the connection."""


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    done: bool = False
    """The whole script was played to a client that still listened."""
    closed_early: bool = False
    """The client closed before the script was over."""
    closed_at: float = 0.0
    """When that was noticed, by the monotonic clock."""

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)


Script = Callable[[Seen], Iterable[Step]]


@dataclass
class Upstream(InThread):
    """``with Upstream(script) as upstream``: ``upstream.url``, ``upstream.seen``."""

    script: Script
    seen: list[Seen] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> list[asyncio.Server]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        return [server]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        raw = await reader.readuntil(b"\r\n\r\n")
        lines = raw.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = [(k, v.strip()) for k, _, v in (line.partition(":") for line in lines[1:] if line)]
        fields = {k.lower(): v for k, v in headers}
        body = await self._body(reader, fields)
        seen = Seen(method, target, headers, body)
        self.seen.append(seen)
        for step in self.script(seen):
            if isinstance(step, bytes):
                try:
                    writer.write(step)
                    await writer.drain()
                except ConnectionError:
                    seen.closed_early = True
                    raise
            elif isinstance(step, float | int):
                if await self._gone_within(reader, step):
                    seen.closed_early, seen.closed_at = True, time.monotonic()
                    return False
            else:
                if step == RESET:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                return False
        seen.done = True
        return fields.get("connection", "").lower() != "close"

    async def _gone_within(self, reader: asyncio.StreamReader, seconds: float) -> bool:
        """Wait; true when the client closed meanwhile."""
        deadline = self._loop.time() + seconds
        while (left := deadline - self._loop.time()) > 0:
            if reader.at_eof() or reader.exception() is not None:
                return True
            await asyncio.sleep(min(left, 0.01))
        return False

    async def _body(self, reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
        if "content-length" in fields:
            return await reader.readexactly(int(fields["content-length"]))
        if "chunked" not in fields.get("transfer-encoding", ""):
            return b""
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return body


def answer(
    body: bytes, content_type: str = "application/json", status: int = 200, headers: dict[str, str] | None = None
) -> bytes:
    """A whole response with a content length."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked_head(content_type: str, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """The head of a chunked response."""
    lines = [f"HTTP/1.1 {status} OK", f"Content-Type: {content_type}", "Transfer-Encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"

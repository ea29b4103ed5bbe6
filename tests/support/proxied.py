"""A provider that only a proxy can find."""

from __future__ import annotations

import asyncio
import ssl

import trustme

from support.thread import InThread


class Proxied(InThread):
    """A provider over TLS that only the proxy can find, and the proxy. All its answers are ``said``."""

    def __init__(self, authority: trustme.CA, said: bytes, host: str = "provider.test") -> None:
        self.host, self.said = host, said
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(self.context)
        self.heads: list[bytes] = []

    async def start(self) -> list[asyncio.Server]:
        provider = await asyncio.start_server(self._provide, "127.0.0.1", 0, ssl=self.context)
        proxy = await asyncio.start_server(self._proxy, "127.0.0.1", 0)
        self.provider, self.port = (one.sockets[0].getsockname()[1] for one in (provider, proxy))
        return [provider, proxy]

    async def _provide(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nHost: %b" % self.host.encode() in head
        writer.write(self.said)
        await writer.drain()
        writer.close()

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        there, back = await asyncio.open_connection("127.0.0.1", self.provider)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pump(reader, back), _pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()

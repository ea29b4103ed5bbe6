"""The transport alone, on real sockets: a pass-through exchange in the middle, a scripted provider behind it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any

import msgspec
import pytest
import uvloop

from gateway.ports import ClientPort, Endpoint, Failure, Header, RequestHead, UpstreamPort, Upstreams
from gateway.server.limits import Limits
from gateway.server.plane import DataPlane
from gateway.server.pool import Pool
from gateway.server.wheel import Wheel
from gateway.wire.http_heads import Fields, request_head_bytes

Script = Callable[["Provider", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on asyncio's own loop and on uvloop."""

    @functools.wraps(test)
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        async def bounded() -> None:
            await asyncio.wait_for(test(**arguments), 60)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(bounded())

    signature = inspect.signature(test)
    extra = inspect.Parameter("loop_factory", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = signature.replace(parameters=[extra, *signature.parameters.values()])  # type: ignore[attr-defined]
    factories = [asyncio.new_event_loop, uvloop.new_event_loop]
    return pytest.mark.parametrize("loop_factory", factories, ids=["asyncio", "uvloop"])(run)


class PassThrough:
    """Forwards a call as it is and notes what happened."""

    def __init__(self, play: Play, client: ClientPort) -> None:
        self.play = play
        self.client = client
        self.events: list[str] = []
        self.wants_body = True
        self.head: RequestHead | None = None
        self.upstream: UpstreamPort | None = None
        self.started = False
        self.gone = False
        self.detail = ""
        self.over = asyncio.Event()
        play.calls.append(self)

    def note(self, event: str) -> None:
        self.events.append(event)
        self.play.happened.set()

    def request_head(self, head: RequestHead) -> None:
        self.note("head")
        self.head = head
        if head.upgrade:
            self.wants_body = False
            self.client.reply(501, b"", [], b"no upgrade")
        elif self.play.refuse:
            self.wants_body = False
            refuse = functools.partial(self.client.reply, 401, b"", [], b"who are you")
            if self.play.refuse == "later":
                asyncio.get_running_loop().call_later(0.05, refuse)
            else:
                refuse()

    def request_body(self, body: bytes) -> None:
        self.note("body")
        head, play = self.head, self.play
        assert head is not None
        out = request_head_bytes(head.method, head.target, head.headers, play.endpoint.host_header, len(body))
        self.upstream = play.upstreams.send(play.endpoint, out, body, head.method, self)

    def request_too_large(self) -> None:
        self.note("too_large")
        self.wants_body = False
        self.client.reply(413, b"", [], b"too large")

    def client_data(self, data: bytes) -> None:
        raise AssertionError("nothing was switched")

    def upstream_switched(self, status: int, reason: bytes, headers: list[Header]) -> None:
        raise AssertionError("nothing was switched")

    def upstream_paused(self) -> None:
        raise AssertionError("nothing was switched")

    def upstream_resumed(self) -> None:
        raise AssertionError("nothing was switched")

    def going_away(self) -> None:
        self.note("going away")

    def client_paused(self) -> None:
        self.note("paused")
        if self.upstream is not None:
            self.upstream.pause()

    def client_resumed(self) -> None:
        self.note("resumed")
        if self.upstream is not None:
            self.upstream.resume()

    def client_gone(self) -> None:
        self.note("gone")
        self.gone = True
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.abort()
        self.over.set()

    def upstream_interim(self, status: int, reason: bytes, headers: list[Header]) -> None:
        self.client.interim(status, reason, headers)

    def upstream_head(self, status: int, reason: bytes, headers: list[Header]) -> None:
        self.note("upstream_head")
        self.started = True
        fields = Fields(headers)
        self.client.start(status, reason, fields.onward, fields.content_length)

    def upstream_data(self, data: bytes) -> None:
        self.client.write(data)

    def upstream_end(self, trailers: list[Header]) -> None:
        self.note("end")
        self.upstream = None
        self.client.finish(trailers)
        self.over.set()

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        self.note(f"failed:{failure}")
        self.detail = detail
        self.upstream = None
        if self.started:
            self.client.abort()
        else:
            self.client.reply(504 if failure.endswith("timeout") else 502, b"", [], failure.encode())
        self.over.set()


class Provider:
    """A raw-socket provider: reads whole requests, plays a script for each."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[bytes] = []
        """Every request, head and body, as it came."""
        self.connections = 0
        self.open = 0
        self.lost = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                self.requests.append(await read_message(reader))
                await self.script(self, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            self.lost.set()
            writer.close()


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """One message with a declared length; raises at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head


def answering(raw: bytes) -> Script:
    """The same answer to every request."""

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return script


class Play:
    """Provider, gateway and clients of one test."""

    def __init__(
        self,
        script: Script | bytes,
        *,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        provider_tls: ssl.SSLContext | None = None,
        trusted: ssl.SSLContext | None = None,
        **endpoint: Any,
    ) -> None:
        self.provider = Provider(answering(script) if isinstance(script, bytes) else script)
        self.limits = limits or Limits()
        self.tls = tls
        self.provider_tls = provider_tls
        self.endpoint_settings = {"tls": trusted, **endpoint}
        self.calls: list[PassThrough] = []
        self.happened = asyncio.Event()
        self.refuse = ""
        self.errors: list[dict[str, Any]] = []

    async def __aenter__(self) -> Play:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.server = await asyncio.start_server(self.provider.serve, "127.0.0.1", 0, ssl=self.provider_tls)
        port = self.server.sockets[0].getsockname()[1]
        settings = {"host": "127.0.0.1", "port": port, "host_header": b"provider.test", **self.endpoint_settings}
        self.endpoint = Endpoint(**settings)
        self.clock = Wheel(loop)
        self.upstreams: Upstreams = Pool(self.clock, loop)
        self.plane = DataPlane(lambda client: PassThrough(self, client), self.clock, loop, self.limits)  # type: ignore[arg-type,return-value]
        self.port = await self.plane.start("127.0.0.1", 0, tls=self.tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.plane.drain(0.01)
        self.upstreams.close()  # type: ignore[attr-defined]
        self.server.close()
        await asyncio.sleep(0)
        if error is None:
            assert self.errors == []
            assert self.plane.in_flight == 0 or await self.settled()

    async def settled(self) -> bool:
        for _ in range(200):
            if self.plane.in_flight == 0 and not self.plane.connections:
                return True
            await asyncio.sleep(0.01)
        return False

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))

    async def exchange(self, raw: bytes) -> bytes:
        """Send raw bytes, half of nothing held back; everything that comes until the gateway closes."""
        client = await self.connect()
        client.writer.write(raw)
        answer = await asyncio.wait_for(client.rest(), 10)
        client.writer.close()
        return answer

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for events until they make the condition true."""
        async with asyncio.timeout(20):
            while not condition():
                self.happened.clear()
                try:
                    await asyncio.wait_for(self.happened.wait(), 0.05)
                except TimeoutError:
                    continue


class Answer(msgspec.Struct):
    line: bytes
    headers: list[Header]
    body: bytes
    raw: bytes

    @property
    def status(self) -> int:
        return int(self.line.split(b" ")[1])

    def get(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class Client:
    """A raw client that reads answers by their framing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def head(self) -> tuple[bytes, list[Header]]:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        lines = raw[:-4].split(b"\r\n")
        return lines[0], [(name, value.removeprefix(b" ")) for name, _, value in (x.partition(b":") for x in lines[1:])]

    async def answer(self, method: str = "POST") -> Answer:
        line, headers = await self.head()
        answer = Answer(line, headers, b"", b"")
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return answer
        if answer.get(b"transfer-encoding") == b"chunked":
            while True:
                piece = await self.chunk()
                if piece is None:
                    return answer
                answer.body += piece
        length = answer.get(b"content-length")
        answer.body = await (self.reader.read() if length is None else self.reader.readexactly(int(length)))
        return answer

    async def chunk(self) -> bytes | None:
        """One chunk; None at the last one, whose trailers stay unread but for an empty line."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        if not size:
            await self.reader.readuntil(b"\r\n")
            return None
        return (await self.reader.readexactly(size + 2))[:-2]

    async def rest(self) -> bytes:
        """All that comes until the connection ends, cleanly or not."""
        data = b""
        try:
            while piece := await self.reader.read(65_536):
                data += piece
        except ConnectionError:
            pass
        return data


def post(body: bytes = b"{}", target: bytes = b"/v1/x", extra: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: g\r\n%bContent-Length: %d\r\n\r\n%b" % (target, extra, len(body), body)


def get(target: bytes = b"/v1/x", extra: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: g\r\n%b\r\n" % (target, extra)

"""Connections to providers: reused, bounded, dropped when dead, verified, tunnelled."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from transport_play import OK, Play, Provider, both_loops, post

from gateway.server import tls
from gateway.server.connect import Connector


@both_loops
async def test_one_connection_serves_call_after_call() -> None:
    async with Play(OK) as play:
        client = await play.connect()
        for _ in range(20):
            client.send(post())
            assert (await client.answer()).body == b"ok"
        assert play.provider.connections == 1


@both_loops
async def test_a_connection_that_closed_while_idle_is_not_used() -> None:
    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        asyncio.get_running_loop().call_later(0.02, writer.close)

    async with Play(script) as play:
        client = await play.connect()
        for _ in range(3):
            client.send(post())
            assert (await client.answer()).body == b"ok"
            await play.provider.lost.wait()
            play.provider.lost.clear()
            await asyncio.sleep(0.05)
            assert play.upstreams.counts() == (0, 0)  # type: ignore[attr-defined]
        assert play.provider.connections == 3


@pytest.mark.parametrize("field", [b"Connection: close\r\n", b"Keep-Alive: timeout=1\r\n"])
@both_loops
async def test_a_provider_that_will_close_is_not_asked_again_on_that_connection(field: bytes) -> None:
    async with Play(b"HTTP/1.1 200 OK\r\n" + field + b"Content-Length: 2\r\n\r\nok") as play:
        client = await play.connect()
        for _ in range(2):
            client.send(post())
            assert (await client.answer()).body == b"ok"
        assert play.provider.connections == 2


@both_loops
async def test_an_idle_connection_on_which_the_provider_speaks_is_dropped() -> None:
    speak = asyncio.Event()

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        if provider.connections == 1:
            await speak.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    async with Play(script) as play:
        client = await play.connect()
        client.send(post())
        assert (await client.answer()).body == b"ok"
        speak.set()
        await play.provider.lost.wait()
        client.send(post())
        assert (await client.answer()).body == b"ok"
        assert play.provider.connections == 2


@both_loops
async def test_calls_beyond_the_bound_wait_in_line() -> None:
    most = 0

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        most = max(most, provider.open)
        await asyncio.sleep(0.01)
        writer.write(OK)

    async with Play(script, max_connections=2) as play:
        clients = [await play.connect() for _ in range(12)]
        for client in clients:
            client.send(post())
        assert [(await client.answer()).body for client in clients] == [b"ok"] * 12
        assert most <= 2
        assert play.provider.connections <= 2


@both_loops
async def test_who_waits_in_line_for_too_long_is_told() -> None:
    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with Play(script, max_connections=1, connect_seconds=0.2) as play:
        first, second = await play.connect(), await play.connect()
        first.send(post())
        await play.until(lambda: play.provider.requests != [])
        second.send(post())
        answer = await second.answer()
        assert (answer.status, answer.body) == (504, b"connect_timeout")
        first.writer.close()


@both_loops
async def test_an_abandoned_call_leaves_no_connection_behind() -> None:
    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with Play(script) as play:
        for sent in range(1, 21):
            client = await play.connect()
            client.send(post())
            await play.until(lambda sent=sent: len(play.provider.requests) == sent)  # type: ignore[misc]
            client.writer.close()
        await play.until(lambda: play.upstreams.counts() == (0, 0))  # type: ignore[attr-defined]
        await play.until(lambda: play.provider.open == 0)


@both_loops
async def test_a_call_abandoned_before_it_is_sent_is_never_sent_and_its_connection_serves_the_next() -> None:
    async with Play(OK) as play:
        client = await play.connect()
        client.send(post())
        await play.until(lambda: bool(play.calls) and "body" in play.calls[0].events)
        play.calls[0].client_gone()
        await play.until(lambda: play.upstreams.counts() == (1, 1))  # type: ignore[attr-defined]
        assert play.provider.requests == []
        second = await play.connect()
        second.send(post(target=b"/second"))
        assert (await second.answer()).body == b"ok"
        assert len(play.provider.requests) == play.provider.connections == 1
        client.writer.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    ca = trustme.CA()
    directory = tmp_path_factory.mktemp("tls")
    ca.cert_pem.write_to_path(directory / "ca.pem")
    for name in ("localhost", "renewed.test", "other.test"):
        cert = ca.issue_cert(name)
        cert.private_key_and_cert_chain_pem.write_to_path(directory / f"{name}.pem")
    return ca, directory


def provider_context(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


@both_loops
async def test_a_provider_with_the_right_certificate_is_reached(authority: tuple[trustme.CA, Path]) -> None:
    ca, directory = authority
    trusted = tls.upstream_context(directory / "ca.pem")
    async with Play(OK, provider_tls=provider_context(ca, "localhost"), host="localhost", trusted=trusted) as play:
        client = await play.connect()
        for _ in range(3):
            client.send(post())
            assert (await client.answer()).body == b"ok"
        assert play.provider.connections == 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("name", "certificate is not valid for 'localhost'"),
        ("authority", "unable to get local issuer certificate"),
        ("end", "certificate has expired"),
    ],
)
@both_loops
async def test_a_provider_with_a_wrong_certificate_gets_no_request_and_the_log_says_what_is_wrong(
    authority: tuple[trustme.CA, Path], fault: str, why: str
) -> None:
    ca, directory = authority
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer = trustme.CA() if fault == "authority" else ca
    ended = datetime(2020, 1, 1, tzinfo=UTC) if fault == "end" else None
    issuer.issue_cert("other.test" if fault == "name" else "localhost", not_after=ended).configure_cert(served)
    trusted = tls.upstream_context(directory / "ca.pem")
    async with Play(OK, provider_tls=served, host="localhost", trusted=trusted) as play:
        client = await play.connect()
        client.send(post())
        assert (await client.answer()).body == b"connect"
        assert play.provider.requests == []
        assert why in play.calls[0].detail


class Proxy:
    """A forward proxy that knows CONNECT and absolute targets."""

    def __init__(self, refuse: bytes = b"") -> None:
        self.heads: list[bytes] = []
        self.refuse = refuse

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.refuse:
            writer.write(self.refuse)
            writer.close()
            return
        if head.startswith(b"CONNECT "):
            host, _, port = head.split(b" ")[1].partition(b":")
            there, back = await asyncio.open_connection(host.decode(), int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(reader, back), pump(there, writer))
        else:
            writer.write(OK)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()


@both_loops
async def test_a_tls_provider_is_reached_through_a_proxy_that_sees_no_request(
    authority: tuple[trustme.CA, Path],
) -> None:
    ca, directory = authority
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    address = f"http://me:se%20cret@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    trusted = tls.upstream_context(directory / "ca.pem")
    context = provider_context(ca, "localhost")
    async with Play(OK, provider_tls=context, host="localhost", proxy=address, trusted=trusted) as play:
        client = await play.connect()
        for _ in range(3):
            client.send(post(b"secret body"))
            assert (await client.answer()).body == b"ok"
        assert play.provider.connections == 1
        target = b"localhost:%d" % play.endpoint.port
        credential = b"Proxy-Authorization: Basic bWU6c2UgY3JldA=="
        assert proxy.heads == [b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n\r\n" % (target, target, credential)]
    server.close()


@both_loops
async def test_a_plain_provider_is_asked_for_by_its_whole_address_through_a_proxy() -> None:
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with Play(OK, proxy=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as play:
        client = await play.connect()
        client.send(post(target=b"/a//b?c"))
        assert (await client.answer()).body == b"ok"
        line = b"POST http://127.0.0.1:%d/a//b?c HTTP/1.1\r\nHost: provider.test\r\n" % play.endpoint.port
        assert proxy.heads[0].startswith(line)
    server.close()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 Who\r\n\r\n", b"rubbish\r\n\r\n", b"x" * 100_000, b"HTTP/1.1 200 OK\r\n\r\nextra"]
)
@both_loops
async def test_a_proxy_that_refuses_is_a_failure_to_connect(authority: tuple[trustme.CA, Path], answer: bytes) -> None:
    proxy = Proxy(refuse=answer)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    trusted = tls.upstream_context(authority[1] / "ca.pem")
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Play(OK, host="localhost", proxy=address, trusted=trusted) as play:
        client = await play.connect()
        client.send(post())
        reply = await client.answer()
        assert (reply.status, reply.body) == (502, b"connect")
    server.close()


@both_loops
async def test_clients_are_served_over_tls_and_a_renewed_certificate_is_shown_to_the_next(
    authority: tuple[trustme.CA, Path],
) -> None:
    _, directory = authority
    first, renewed = directory / "localhost.pem", directory / "renewed.test.pem"
    context = tls.server_context(first, first)
    trusted = tls.upstream_context(directory / "ca.pem")
    async with Play(OK, tls=context) as play:
        for name in ("localhost", "renewed.test"):
            reader, writer = await asyncio.open_connection("127.0.0.1", play.port, ssl=trusted, server_hostname=name)
            writer.write(post(extra=b"Connection: close\r\n"))
            assert (await reader.read()).endswith(b"\r\n\r\nok")
            writer.close()
            tls.reload(context, renewed, renewed)


@both_loops
async def test_with_a_client_authority_only_its_certificates_are_served(authority: tuple[trustme.CA, Path]) -> None:
    _, directory = authority
    pem = directory / "localhost.pem"
    async with Play(OK, tls=tls.server_context(pem, pem, directory / "ca.pem")) as play:
        bare = tls.upstream_context(directory / "ca.pem")
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await first_answer(play, bare)
        known = tls.upstream_context(directory / "ca.pem")
        known.load_cert_chain(directory / "other.test.pem")
        assert await first_answer(play, known)
        play.errors.clear()
        assert len(play.calls) == 1


async def first_answer(play: Play, context: ssl.SSLContext) -> bytes:
    """The head of the first answer over TLS."""
    reader, writer = await asyncio.open_connection("127.0.0.1", play.port, ssl=context, server_hostname="localhost")
    writer.write(post())
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head


@both_loops
async def test_while_a_provider_is_down_calls_fail_at_once_and_one_tries_again() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with Play(OK, port=port, breaker_failures=3, breaker_seconds=0.5) as play:
            client = await play.connect()
            failures = []
            for _ in range(6):
                client.send(post())
                failures.append((await client.answer()).body)
            assert failures == [b"connect"] * 3 + [b"unavailable"] * 3
            await asyncio.sleep(0.6)
            for expected in (b"connect", b"unavailable"):
                client.send(post())
                assert (await client.answer()).body == expected
            taken.close()
            server = await asyncio.start_server(play.provider.serve, "127.0.0.1", port)
            await asyncio.sleep(0.6)
            for _ in range(3):
                client.send(post())
                assert (await client.answer()).body == b"ok"
            server.close()


@both_loops
async def test_answers_that_break_off_do_not_keep_other_calls_from_their_provider() -> None:
    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with Play(script, breaker_failures=2) as play:
        client = await play.connect()
        for _ in range(5):
            client.send(post())
            assert (await client.answer()).body == b"reset"


@both_loops
async def test_a_name_is_looked_up_once_for_all_who_wait_and_old_addresses_serve_while_it_fails() -> None:
    lookups = 0
    broken = False
    async with Play(OK, host="provider.test") as play:
        loop = asyncio.get_running_loop()

        class Resolving:
            """The loop, with names of its own."""

            def __getattr__(self, name: str) -> object:
                return getattr(loop, name)

            async def getaddrinfo(self, host: str, port: int, **options: object) -> list[object]:
                nonlocal lookups
                lookups += 1
                await asyncio.sleep(0.05)
                if broken:
                    raise socket.gaierror("no answer")
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        now = 0.0
        connector = Connector(Resolving(), lambda: now)  # type: ignore[arg-type]
        found = await asyncio.gather(*(connector.connect(play.endpoint, asyncio.Protocol) for _ in range(20)))
        assert (len(found), lookups) == (20, 1)
        now, broken = 31.0, True
        await connector.connect(play.endpoint, asyncio.Protocol)
        assert lookups == 2
        now = 31.0 + 600.0
        with pytest.raises(OSError):
            await connector.connect(play.endpoint, asyncio.Protocol)

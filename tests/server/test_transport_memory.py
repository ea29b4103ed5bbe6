"""What is over leaves nothing in memory that only a collection of circles would find."""

from __future__ import annotations

import asyncio
import gc
import ssl

import trustme
import uvloop
from transport_play import OK, Play, post

from gateway.server.client_side import ClientConnection


def alive() -> int:
    return sum(isinstance(one, ClientConnection) for one in gc.get_objects())


def test_neither_calls_nor_handshakes_that_fail_leave_a_connection_behind() -> None:
    async def play_it() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        async with Play(OK) as play:
            for _ in range(20):
                client = await play.connect()
                client.send(post())
                assert (await client.answer()).body == b"ok"
                client.writer.close()
            await play.plane.renew(context)
            for _ in range(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", play.port)
                writer.write(b"POST / HTTP/1.1\r\n\r\n")
                await reader.read()
                writer.close()
            while play.plane.connections or play.plane.listener.handshakes:
                await asyncio.sleep(0.01)
            del client
            play.calls.clear()
            assert play.plane.listener.failed_handshakes == 20
            assert alive() == 0

    gc.collect()
    gc.disable()
    try:
        uvloop.run(play_it())
    finally:
        gc.enable()

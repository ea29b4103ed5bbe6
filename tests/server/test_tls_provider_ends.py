"""The end of a provider's connection over TLS: what it sent before it closed reaches the client, however slow."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from transport_play import OK, Play, both_loops, post

from gateway.server import tls

PIECE = os.urandom(16_384)
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


class Sender:
    """A provider that sends until the gateway stops reading, then a little more, and closes at once: it says TLS's end,
    or not, and waits for nobody's."""

    def __init__(self, authority: trustme.CA, enough: Callable[[], bool], *, says_end: bool) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self._says_end = says_end
        self._enough = enough
        self.closed = threading.Event()
        self.sent = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        plain, _ = self._listening.accept()
        with self._listening, plain, self._context.wrap_socket(plain, server_side=True) as secure:
            secure.recv(65_536)
            secure.sendall(HEAD)
            last = False
            while not last:
                time.sleep(0.001)  # so that hardly anything is on its way when the gateway stops reading
                last = self._enough()
                secure.sendall(PIECE)
                self.sent += len(PIECE)
            if self._says_end:
                secure.setblocking(False)
                with contextlib.suppress(ssl.SSLWantReadError):
                    secure.unwrap()
            secure.shutdown(socket.SHUT_RDWR)
        self.closed.set()


@pytest.mark.parametrize("says_end", [True, False])
@both_loops
async def test_what_a_provider_sent_before_it_closed_reaches_a_slow_client(tmp_path: Path, says_end: bool) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    sender = Sender(authority, lambda: "paused" in play.calls[0].events, says_end=says_end)
    trusted = tls.upstream_context(tmp_path / "ca.pem")
    async with Play(OK, port=sender.port, trusted=trusted) as play:
        client = await play.connect()
        client.send(post())
        await asyncio.to_thread(sender.closed.wait, 10)
        await asyncio.sleep(0.1)  # the gateway may read the end now, if it does
        body = (await client.answer()).body
        assert len(body) == sender.sent
        assert body == PIECE * (sender.sent // len(PIECE))

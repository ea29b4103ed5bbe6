"""A relay before a server that can be cut."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Relay:
    """``up`` lets connections through to ``server`` (host:port), ``cut`` breaks all of them and takes no more."""

    def __init__(self, port: int, server: str) -> None:
        self.port = port
        self._server = server
        self._listener: socket.socket | None = None
        self._pairs: list[socket.socket] = []

    def up(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        assert self._listener is not None
        for one in (self._listener, *self._pairs):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._pairs = []

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                host, port = self._server.split(":")
                far = socket.create_connection((host, int(port)))
                self._pairs += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

"""A provider that reads requests with h11, which shares no code with the gateway's parser: what the two understand
differently shows as a request that was not expected, or as none."""

from __future__ import annotations

import asyncio

import h11
from support.thread import InThread

ANSWER = b'{"object":"list","data":[]}'


class StrictProvider(InThread):
    """``with StrictProvider() as provider``: ``provider.take()`` answers what came since the last time."""

    def __init__(self) -> None:
        self.port = 0
        self._seen: list[tuple[bytes, bytes, bytes]] = []
        self.faults: list[str] = []
        """What h11 found wrong with the gateway's bytes."""

    def take(self) -> list[tuple[bytes, bytes, bytes]]:
        """Method, target and body of each request."""
        seen, self._seen = self._seen, []
        return seen

    async def start(self) -> list[asyncio.Server]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        return [server]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2_000_000)
        try:
            while await self._one(connection, reader, writer):
                connection.start_next_cycle()
        except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            self.faults.append(repr(error))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        request, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65_536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert request is not None
        self._seen.append((request.method, request.target, body))
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(ANSWER)))]
        writer.write(connection.send(h11.Response(status_code=200, headers=fields)) or b"")
        if request.method != b"HEAD":
            writer.write(connection.send(h11.Data(data=ANSWER)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

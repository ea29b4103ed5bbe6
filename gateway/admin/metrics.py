"""``GET /metrics``: Prometheus text, or OpenMetrics with exemplars where the scraper asks for it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterator

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from gateway.admin.services import SERVICES
from gateway.metrics.exposition import Encoder, exposition
from gateway.metrics.lines import Piece

OPENMETRICS = "application/openmetrics-text"
PIECE_BYTES = 65_536
"""So much is handed to a connection in one turn of the loop: TLS takes its time for it."""


class Scrapes:
    """Writes one scrape at a time, so that many leave calls no less of the loop. Whoever comes while another like his
    still waits for its turn is given that one: nobody waits long for a crowd."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting: dict[tuple[str, bool], asyncio.Task[bytes]] = {}

    async def body(self, samples: Callable[[], Iterator[Piece]], accept: str, *, packed: bool) -> bytes:
        """What is sent to whoever accepts this; ``packed``: by gzip."""
        encoder, kind = choose_encoder(accept)
        task = self._waiting.get((kind, packed))
        if task is None:
            task = asyncio.create_task(self._written(samples, encoder, (kind, packed)))
            self._waiting[kind, packed] = task
        # one who leaves takes nothing from the others
        return await asyncio.shield(task)

    async def _written(self, samples: Callable[[], Iterator[Piece]], encoder: Encoder, key: tuple[str, bool]) -> bytes:
        kind, packed = key
        async with self._turn:
            del self._waiting[key]
            parts = await exposition(samples(), encoder, exemplars=kind.startswith(OPENMETRICS))
        if packed:
            return await asyncio.to_thread(lambda: gzip.compress(b"".join(parts), 1))
        return b"".join(parts)


def add(app: web.Application) -> None:
    """Add the route."""
    scrapes = Scrapes()

    async def metrics(request: web.Request) -> web.Response:
        accept = _readable(request.headers.get("Accept", ""))
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        body = await scrapes.body(request.app[SERVICES].samples, accept, packed=packed)
        headers = {"Content-Type": choose_encoder(accept)[1]}
        if packed:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body if len(body) <= PIECE_BYTES else _pieces(body), headers=headers)

    app.router.add_get("/metrics", metrics)


def _readable(accept: str) -> str:
    """What is accepted; anything where it names a version that is none, over which the encoders' choice stumbles."""
    try:
        choose_encoder(accept)
    except (TypeError, ValueError):
        return ""
    return accept


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]
        await asyncio.sleep(0)

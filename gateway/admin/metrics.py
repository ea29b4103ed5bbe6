"""``GET /metrics``: Prometheus text, or OpenMetrics with exemplars where the scraper asks for it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from gateway.admin.services import SERVICES
from gateway.metrics.exposition import exposition

OPENMETRICS = "application/openmetrics-text"
PIECE_BYTES = 65_536
"""So much is handed to a connection in one turn of the loop: TLS takes its time for it."""


def add(app: web.Application) -> None:
    """Add the route. Scrapes that come at once are written one after another, so that they leave calls no less."""
    turn = asyncio.Lock()

    async def metrics(request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        async with turn:
            if request.transport is None:
                # whoever asked has left meanwhile
                return web.Response()
            samples = request.app[SERVICES].samples()
            parts = await exposition(samples, encoder, exemplars=content_type.startswith(OPENMETRICS))
        headers = {"Content-Type": content_type}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = await asyncio.to_thread(lambda: gzip.compress(b"".join(parts), 1))
        else:
            body = b"".join(parts)
        return web.Response(body=body if len(body) <= PIECE_BYTES else _pieces(body), headers=headers)

    app.router.add_get("/metrics", metrics)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]
        await asyncio.sleep(0)

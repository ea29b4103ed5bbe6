"""``GET /metrics``: Prometheus text, or OpenMetrics with exemplars where the scraper asks for it."""

from __future__ import annotations

import asyncio
import gzip

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from gateway.admin.services import SERVICES
from gateway.metrics.exposition import exposition


async def metrics(request: web.Request) -> web.Response:
    """One scrape. Samples are taken and written on the loop in small slices; only compression is a thread's."""
    services = request.app[SERVICES]
    encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
    parts = await exposition(services.samples(), encoder)
    body = b"".join(parts)
    headers = {"Content-Type": content_type}
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        body = await asyncio.to_thread(gzip.compress, body, 1)
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, headers=headers)

"""A proxy that does nothing but forward: aiohttp's server and client on uvloop.

python bench/proxying/bare_aiohttp.py PORT PROVIDER_PORT
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web

NOT_FORWARDED = {
    "host", "connection", "keep-alive", "transfer-encoding", "content-length", "accept-encoding", "authorization",
}  # fmt: skip
NOT_RETURNED = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class Proxy:
    """One handler for all paths."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session, self._base = session, f"http://127.0.0.1:{port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = [pair for pair in request.headers.items() if pair[0].lower() not in NOT_FORWARDED]
        headers.append(("Authorization", "Bearer sk-upstream"))
        url = self._base + request.rel_url.raw_path
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            returned = [pair for pair in answer.headers.items() if pair[0].lower() not in NOT_RETURNED]
            if answer.content_type != "text/event-stream":
                return web.Response(status=answer.status, headers=returned, body=await answer.read())
            stream = web.StreamResponse(status=answer.status, headers=returned)
            await stream.prepare(request)
            async for piece in answer.content.iter_any():
                await stream.write(piece)
            await stream.write_eof()
            return stream


async def serve(port: int, upstream: int) -> None:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_read=600),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    )
    application = web.Application(client_max_size=1 << 26)
    application.router.add_route("*", "/{path:.*}", Proxy(session, upstream).handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))

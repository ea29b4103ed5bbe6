"""A provider that answers at once: a JSON answer with usage, or server-sent events some milliseconds apart.

    python bench/proxying/provider.py PORT [MILLISECONDS_BETWEEN_CHUNKS]

As little as an asyncio protocol can do, so that what is measured is the proxy before it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
from typing import cast

import uvloop

TEXT_CHUNKS = 60
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
SEEN = 256
"""The bytes of a body that say whether it asks for a stream."""

TEXT = "Keep-alive connections, a bounded queue and one commit for many calls give a gateway most of its speed. " * 5
IDENTITY = '"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT"'
USAGE = (
    '"usage":{"prompt_tokens":219,"completion_tokens":110,"total_tokens":329,"prompt_tokens_details":'
    '{"cached_tokens":128,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":12,"audio_tokens":0}}'
)
BODY = (
    f'{{{IDENTITY},"object":"chat.completion","created":1741569952,"model":"gpt-4o-mini-2024-07-18","choices":'
    f'[{{"index":0,"message":{{"role":"assistant","content":{json.dumps(TEXT)},"refusal":null,"annotations":[]}},'
    f'"logprobs":null,"finish_reason":"stop"}}],{USAGE},"service_tier":"default","system_fingerprint":"fp_560af6e559"}}\n'
).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: req_bench\r\nopenai-processing-ms: 12\r\n"
    b"x-ratelimit-remaining-requests: 9999\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
FIELDS = (
    "Date: Thu, 26 Nov 2026 20:11:09 GMT", "Content-Type: application/json", "Connection: keep-alive",
    "access-control-expose-headers: X-Request-ID", "openai-organization: acme-inc", "openai-processing-ms: 425",
    "openai-project: proj_4nV1zq0A7mT2bXw9", "openai-version: 2020-10-01", "x-envoy-upstream-service-time: 431",
    "x-ratelimit-limit-requests: 10000", "x-ratelimit-limit-tokens: 2000000", "x-ratelimit-remaining-requests: 9999",
    "x-ratelimit-remaining-tokens: 1999982", "x-ratelimit-reset-requests: 6ms", "x-ratelimit-reset-tokens: 0s",
    "x-request-id: req_0b5e9f8e4a1c4d7d9b1f6a2c3e4d5f60", "x-openai-proxy-wasm: v0.1", "cf-cache-status: DYNAMIC",
    f"set-cookie: __cf_bm={'A1b2C3d4' * 12}; path=/; HttpOnly; Secure; SameSite=None",
    f"set-cookie: _cfuvid={'e5F6g7H8' * 8}; path=/; HttpOnly; Secure; SameSite=None",
    "strict-transport-security: max-age=31536000; includeSubDomains; preload", "x-content-type-options: nosniff",
    "Server: cloudflare", "CF-RAY: 9a3f04c7d8e21b5f-FRA", 'alt-svc: h3=":443"; ma=86400',
)  # fmt: skip
"""What a provider behind a CDN says of an answer, beside its length."""
WHOLE_ANSWER = b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: %d\r\n\r\n%b" % (
    "\r\n".join(FIELDS).encode(), len(BODY), BODY,
)  # fmt: skip
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"x-request-id: req_bench\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(rest: str) -> bytes:
    """One event in one HTTP chunk."""
    event = (
        f'data: {{{IDENTITY},"object":"chat.completion.chunk","created":1741569952,'
        f'"model":"gpt-4o-mini-2024-07-18",{rest}}}\n\n'
    )
    return b"%x\r\n%b\r\n" % (len(event), event.encode())


def events() -> list[bytes]:
    """What is written at one time: the text, its end, then the usage and the stream's end together."""
    text = [
        chunk(f'"choices":[{{"index":0,"delta":{{"content":" tok{number:03d}"}},"finish_reason":null}}]')
        for number in range(TEXT_CHUNKS)
    ]
    end = chunk('"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]')
    return [*text, end, chunk(f'"choices":[],{USAGE}') + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"]


class Provider(asyncio.Protocol):
    """One connection; a request that equals the last one byte for byte is not parsed again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pieces: list[bytes], gap: float) -> None:
        self._loop, self._pieces, self._gap = loop, pieces, gap
        self._last = self._buffer = b""
        self._left = self._next = 0
        self._stream = self._fields = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        elif data != self._last:
            self._buffer += data
            if not self._begun():
                return
        if not self._left:
            self._answer()

    def _begun(self) -> bool:
        """Whether head and the body's beginning are here; then what is left of the body is known."""
        end = self._buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            return False
        found = LENGTH.search(self._buffer, 0, end)
        length = int(found[1]) if found else 0
        if len(self._buffer) < end + min(length, SEEN):
            return False
        self._stream = b'"stream":true' in self._buffer[end : end + SEEN]
        self._fields = b'"user":"sdk"' in self._buffer[end : end + SEEN]
        self._left = length - (len(self._buffer) - end)
        self._last = b"" if self._left else self._buffer
        self._buffer = b""
        return True

    def _answer(self) -> None:
        if not self._stream:
            self._transport.write(WHOLE_ANSWER if self._fields else ANSWER)
            return
        self._transport.write(STREAM_HEAD + self._pieces[0])
        self._next = 1
        self._loop.call_later(self._gap, self._more)

    def _more(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(self._pieces[self._next])
        self._next += 1
        if self._next < len(self._pieces):
            self._loop.call_later(self._gap, self._more)


async def serve(port: int, gap: float) -> None:
    loop, pieces = asyncio.get_running_loop(), events()
    server = await loop.create_server(lambda: Provider(loop, pieces, gap), "127.0.0.1", port, backlog=1024)
    gc.collect()
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2] if len(sys.argv) > 2 else 10) / 1e3))

"""CPU time of the meter for each SSE chunk of 200 bytes, beside a plain copy of the same bytes.

    .venv/bin/python bench/meter.py

Each figure is the best of several rounds of process time, so that other work on the machine counts as little as it can.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.wire import dialects
from gateway.wire.dialect import Header
from gateway.wire.facts import Facts

CHUNKS = 20_000
ROUNDS = 7
SSE: list[Header] = [(b"content-type", b"text/event-stream")]


def padded(head: bytes, tail: bytes, size: int = 200) -> bytes:
    return head + b"x" * (size - len(head) - len(tail)) + tail


CHAT = b'data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,'
OPENAI = padded(CHAT + b'"delta":{"content":"', b'"},"finish_reason":null}]}\n\n')
NULL_REPORT = padded(CHAT + b'"delta":{"content":"', b'"},"finish_reason":null}],"usage":null}\n\n')
RESPONSES = padded(
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","item_id":"msg_1",'
    b'"output_index":0,"content_index":0,"delta":"',
    b'"}\n\n',
)
ANTHROPIC = padded(
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"',
    b'"}}\n\n',
)
GEMINI = padded(
    b'data: {"candidates":[{"content":{"parts":[{"text":"',
    b'"}],"role":"model"}}],"usageMetadata":{"promptTokenCount":5,"totalTokenCount":9}}\r\n\r\n',
)
XAI = padded(
    b'data: {"id":"c","model":"grok-4","choices":[{"index":0,"delta":{"content":"',
    b'"}}],"usage":{"prompt_tokens":9,"completion_tokens":7,"total_tokens":16}}\n\n',
)
CASES: tuple[tuple[str, str, str, bytes, bool], ...] = (
    ("openai chat, the client asked for usage", "openai", "chat", OPENAI, True),
    ("openai chat, the null report stays", "openai", "chat", NULL_REPORT, True),
    ("openai chat, the null report is taken out", "openai", "chat", NULL_REPORT, False),
    ("openai responses", "openai", "responses", RESPONSES, True),
    ("anthropic messages", "anthropic", "messages", ANTHROPIC, True),
    ("gemini, usage in every chunk", "gemini", "generate_content", GEMINI, True),
    ("xai, usage in every chunk", "xai", "chat", XAI, True),
)


def best(run: Callable[[], None]) -> float:
    """Microseconds of CPU for each chunk."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found) / CHUNKS * 1e6


def metered(kind: str, api: str, chunk: bytes, asked: bool, split: int) -> Callable[[], None]:
    """A stream of these chunks through a meter, each cut into ``split`` pieces."""
    facts = Facts(api=api, model="m", stream=True, billable=True, asks_usage=asked)
    dialect = dialects.get(kind)
    size = -(-len(chunk) // split)
    pieces = [chunk[at : at + size] for at in range(0, len(chunk), size)] * CHUNKS

    def run() -> None:
        feed = dialect.meter(facts, 200, SSE).feed
        out = bytearray()
        for piece in pieces:
            out += feed(piece)
            if len(out) > 65_536:
                out.clear()

    return run


def copied() -> None:
    """The same loop without a meter."""
    out = bytearray()
    for piece in [OPENAI] * CHUNKS:
        out += piece
        if len(out) > 65_536:
            out.clear()


def main() -> None:
    print(f"{'CPU for each chunk of 200 bytes':45} {'µs':>6}")
    print(f"{'a plain copy':45} {best(copied):6.2f}")
    for name, kind, api, chunk, asked in CASES:
        assert len(chunk) == 200, name
        print(f"{name:45} {best(metered(kind, api, chunk, asked, 1)):6.2f}")
    name, kind, api, chunk, asked = CASES[0]
    print(f"{'  the same, each chunk in two pieces':45} {best(metered(kind, api, chunk, asked, 2)):6.2f}")


if __name__ == "__main__":
    main()

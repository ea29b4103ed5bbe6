"""CPU time of reading one request, by its size and by what it holds, beside a copy of the same bytes.

    python -P bench/bodies.py                                   # the sources: run where they are installed
    PYTHONPATH=build/compiled SPENDGATE_PLAIN=1 python -P bench/bodies.py   # the compiled build

What is read are the facts that bound a call's cost; what must be put into the body before it goes on is part of it.
Each figure is the best of several rounds of process time, so that other work on the machine counts as little as it can.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gateway.wire import dialects

ROUNDS = 7
LEAST_SECONDS = 0.005
SIZES = {"1 kB": 1_000, "10 kB": 10_000, "100 kB": 100_000, "1 MB": 1_000_000, "32 MB": 32_000_000}
PROSE = 'He said: "Summarise the note, then list the two main risks."\n\n'
MODEL = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
TARGET = {
    "openai": b"/v1/chat/completions",
    "anthropic": b"/v1/messages",
    "gemini": b"/v1beta/models/gemini-2.5-flash:streamGenerateContent",
}


def prose(size: int) -> str:
    return (PROSE * (size // len(PROSE) + 1))[:size]


def request(kind: str, text: str) -> dict[str, Any]:
    """One question in a provider's shape."""
    if kind == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return {"model": MODEL[kind], "stream": True, "max_tokens": 256, "messages": [{"role": "user", "content": text}]}


def picture(kind: str, size: int) -> dict[str, Any]:
    """A question about a picture."""
    url = "data:image/png;base64," + "iVBORw0KGgo" * (size // 11)
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": MODEL[kind], "stream": True, "messages": [{"role": "user", "content": parts}]}


def agent(kind: str, size: int) -> dict[str, Any]:
    """Turns of an agent: tools, calls of them and what they said, 2 kB each."""
    schema = {"type": "object", "properties": {"path": {"type": "string", "description": "where it lies"}}}
    tools = [{"name": f"tool_{n}", "description": prose(300), "input_schema": schema} for n in range(8)]
    turns: list[dict[str, Any]] = []
    for number in range(max(1, size // 2_300)):
        called = {"type": "tool_use", "id": f"toolu_{number}", "name": "tool_1", "input": {"path": "/src/main.py"}}
        said = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": prose(2_000)}
        turns += [{"role": "assistant", "content": [called]}, {"role": "user", "content": [said]}]
    return {"model": MODEL[kind], "stream": True, "max_tokens": 256, "tools": tools, "messages": turns}


CASES: tuple[tuple[str, str, Callable[[int], dict[str, Any]]], ...] = (
    ("openai, one text", "openai", lambda size: request("openai", prose(size))),
    ("openai, a picture", "openai", lambda size: picture("openai", size)),
    ("anthropic, one text", "anthropic", lambda size: request("anthropic", prose(size))),
    ("anthropic, an agent's turns", "anthropic", lambda size: agent("anthropic", size)),
    ("gemini, one text", "gemini", lambda size: request("gemini", prose(size))),
)


def best(run: Callable[[], object]) -> float:
    """Microseconds of CPU."""
    times, took = 1, 0.0
    found = []
    while len(found) < ROUNDS:
        start = time.process_time()
        for _ in range(times):
            run()
        took = time.process_time() - start
        if took < LEAST_SECONDS:
            times *= 2
        else:
            found.append(took / times)
    return min(found) * 1e6


def reading(kind: str, body: bytes) -> Callable[[], object]:
    dialect, target = dialects.get(kind), TARGET[kind]

    def run() -> object:
        facts = dialect.read(b"POST", target, b"application/json", body)
        return body if facts.asks_usage else dialect.prepare(facts, target, body)

    return run


def main() -> None:
    print(f"{'CPU µs to read a request of':30}" + "".join(f"{name:>10}" for name in SIZES))
    copies = [best(partial(bytes, bytearray(size))) for size in SIZES.values()]
    print(f"{'a copy of as many bytes':30}" + "".join(f"{figure:10.1f}" for figure in copies))
    for name, kind, make in CASES:
        found = [best(reading(kind, json.dumps(make(size)).encode())) for size in SIZES.values()]
        print(f"{name:30}" + "".join(f"{figure:10.1f}" for figure in found))


if __name__ == "__main__":
    main()

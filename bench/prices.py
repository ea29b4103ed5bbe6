"""How long finding a price and billing a call take: ``python bench/prices.py``. Prints microseconds."""

from __future__ import annotations

import sys
import timeit
from collections.abc import Callable
from time import perf_counter

from gateway.wire.usage import Usage
from pricing.book import PriceBook
from pricing.catalogue import load
from pricing.models import load_models

NOW = 1_795_500_000_000_000_000
CALLS = [
    ("chat", "openai", "gpt-4o", "default", Usage(input_tokens_total=1000, output_tokens_total=300)),
    (
        "chat, cached",
        "openai",
        "gpt-5-mini",
        "default",
        Usage(input_tokens_total=5000, output_tokens_total=300, cache_read_tokens=4096, reasoning_tokens=128),
    ),
    (
        "agent, cache written",
        "anthropic",
        "claude-sonnet-4-6",
        "standard",
        Usage(
            input_tokens_total=50_000,
            output_tokens_total=900,
            cache_read_tokens=40_000,
            cache_write_tokens=2000,
            cache_write_1h_tokens=500,
            web_search_requests=1,
        ),
    ),
    (
        "long context",
        "openai",
        "gpt-5.5",
        "priority",
        Usage(input_tokens_total=300_000, output_tokens_total=2000, cache_read_tokens=250_000),
    ),
]


def microseconds(work: Callable[[], object], number: int = 50_000) -> float:
    """The best of five rounds."""
    return min(timeit.repeat(work, number=number, repeat=5)) / number * 1e6


def main() -> int:
    """Measures and prints."""
    began = perf_counter()
    catalogue = load()
    loaded = perf_counter()
    book = PriceBook((), catalogue)
    models = load_models(catalogue=catalogue)
    out = [
        f"load catalogue       {(loaded - began) * 1e3:8.2f} ms",
        f"load model table     {(perf_counter() - loaded) * 1e3:8.2f} ms",
    ]
    began = perf_counter()
    book.find("openrouter", "openai/gpt-4o", NOW)
    out.append(f"first find in a list {(perf_counter() - began) * 1e3:8.2f} ms (923 match rules compiled)")
    out.append(f"facts of a model     {microseconds(lambda: models.facts('openai', 'gpt-4o')):8.2f} us")
    out.append(f"{'':21}{'find':>8} {'bill':>8} {'both':>8} {'ceiling':>8} {'afford':>8}  us")
    for name, provider, model, tier, usage in CALLS:
        price = book.find(provider, model, NOW)
        if price is None:
            raise SystemExit(f"no price for {model}")

        def both(provider: str = provider, model: str = model, tier: str = tier, usage: Usage = usage) -> None:
            found = book.find(provider, model, NOW)
            if found is not None:
                found.bill(usage, at_ns=NOW, service_tier=tier)

        figures = [
            microseconds(lambda p=provider, m=model: book.find(p, m, NOW)),  # type: ignore[misc]
            microseconds(lambda p=price, u=usage, t=tier: p.bill(u, at_ns=NOW, service_tier=t)),  # type: ignore[misc]
            microseconds(both),
            microseconds(lambda p=price: p.ceiling(100_000, 4096, {})),  # type: ignore[misc]
            microseconds(lambda p=price: p.affordable_output(10**9, 10_000, {})),  # type: ignore[misc]
        ]
        out.append(f"{name:<21}" + " ".join(f"{figure:8.2f}" for figure in figures))
    sys.stdout.write("\n".join(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

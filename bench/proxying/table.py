"""The figures as two tables: as measured, and as ratios beside what they may be at most."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from functools import partial

from proxying.rounds import Rounds

ABSENT = "-"


def shown(value: float | None) -> str:
    """Three digits or so."""
    if value is None:
        return ABSENT
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: list[float]) -> str:
    """The median, and from where to where the rounds went."""
    if not values:
        return ABSENT
    middle = shown(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({shown(min(values))} to {shown(max(values))})"


def drawn(rows: Iterable[list[str]]) -> str:
    """A Markdown table, aligned; the first row is its head."""
    lines = list(rows)
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    aligned = [
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)


def measured(rounds: Rounds, names: list[str]) -> str:
    """Medians, a column for each contender."""
    what = dict.fromkeys(what for what, _ in rounds.figures)
    return drawn([["measured", *names], *([one, *(shown(rounds.middle(one, name)) for name in names)] for one in what)])


def bounded(rounds: Rounds, builds: list[str], fsync: float) -> str:
    """Ratios, a column for each build of the gateway, beside their bounds."""
    rows = [["ratio within the run", *builds, "at most"]]

    def row(title: str, found: Callable[[str], list[float]], most: str = ABSENT) -> None:
        rows.append([title, *(spread(found(name)) for name in builds), most])

    def ratio(title: str, what: str, peer: str, most: str = ABSENT) -> None:
        row(title, lambda name: rounds.ratios(what, name, peer), most)

    for in_flight, most in ((32, "2.2"), (256, "1.7")):
        what = f"CPU µs a call, {in_flight} in flight"
        ratio(f"CPU a call ÷ bare asyncio, {in_flight} in flight", what, "asyncio", most)
        ratio(f"CPU a call ÷ bare aiohttp, {in_flight} in flight", what, "aiohttp", "0.5")
    ratio("CPU an SDK's call ÷ bare asyncio, 32 in flight", "CPU µs an SDK's call, 32 in flight", "asyncio")
    ratio("CPU an SSE chunk ÷ bare asyncio", "CPU µs an SSE chunk", "asyncio", "1.2")
    for size, most in (("100 kB", "2"), ("1 MB", ABSENT)):
        ratio(f"CPU of a {size} body ÷ nginx", f"CPU µs a body of {size}", "nginx", most)
        ratio(f"CPU of a {size} body ÷ bare asyncio", f"CPU µs a body of {size}", "asyncio")
    row("added p50 at 30 % load, ms", lambda name: rounds.added("p50 at 30 % load, ms", name), shown(1 + fsync))
    row("added p99 at 30 % load, ms", lambda name: rounds.added("p99 at 30 % load, ms", name))
    row("added to a stream's first byte, p50, ms", lambda name: rounds.added("first byte p50, ms", name))
    few, many = rounds.size.memory_calls
    title = f"memory after {many:,} calls ÷ after {few:,}"
    row(title, lambda name: rounds.own("MiB after many calls", "MiB after few calls", name), "1.05")
    for one, where in (("1 worker", "the same cores"), ("1 worker on a core", "a core of its own")):
        single = f"CPU µs a call, {one}"
        title = f"CPU a call, 2 workers ÷ 1 on {where}"
        ratios = partial(rounds.own, "CPU µs a call, 2 workers", single)
        row(title, ratios, "1.15")
        row(
            f"{title}, beside bare asyncio's",
            lambda name, of=ratios: [mine / its for mine, its in zip(of(name), of("asyncio"), strict=False)],
        )
    return drawn(rows)

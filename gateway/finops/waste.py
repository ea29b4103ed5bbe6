"""Money that bought little: answers nobody received, failures, reasoning, dear models on small tasks, input that is not
cached. Each with dollars a month and some of the requests behind it.

The ledger holds no text, so what is found are patterns in what calls used; each finding says what it rests on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from fractions import Fraction

import msgspec

from gateway.ledger.ids import first_id_at
from gateway.ledger.rows import HOUR_NS
from gateway.wire.usage import Usage
from pricing.book import PriceBook
from pricing.money import half_even

DAY_NS = 24 * HOUR_NS
MONTH_DAYS = 30
SMALL_INPUT, SMALL_OUTPUT = 1000, 200
"""A call with no more tokens than this is a small task."""
CACHEABLE = 1024
"""Shorter inputs are cached by no provider."""
MIN_CALLS = 20
WIDE = 4
"""An output limit this many times above what was used is far above it."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of waste of one team's workflow on one model."""

    kind: str
    """``unreceived``, ``failed``, ``reasoning``, ``small_tasks``, ``uncached``; ``limits``: money that quotas held for
    output limits far above use, and gave back."""
    team: str
    workflow: str
    provider: str
    model: str
    calls: int
    nanousd: int
    """What it cost, or what it would save, in the period."""
    nanousd_a_month: int
    at_most: bool
    """True: the most that could be saved; how much of it can be, the ledger can't know."""
    because: str
    examples: tuple[str, ...]
    """Ids of some of the requests: the newest and the dearest."""


_SMALL = (
    f"outcome = 'completed' AND cost > 0 AND tokens_in <= {SMALL_INPUT} AND coalesce(tokens_out, 0) <= {SMALL_OUTPUT}"
)
_KINDS = (
    ("unreceived", "outcome = 'client_disconnected'"),
    ("failed", "outcome IN ('upstream_error', 'upstream_timeout')"),
    ("small_tasks", _SMALL),
    ("uncached", f"outcome = 'completed' AND tokens_in >= {CACHEABLE} AND cached IS NULL"),
    ("reasoning", "reasoned > 0"),
    ("limits", f"outcome = 'completed' AND tokens_out > 0 AND room >= {WIDE} * tokens_out AND held > cost"),
)
KINDS = tuple(name for name, _ in _KINDS)
_FACTS = """request_id, team, workflow, provider, model, outcome, cost_nanousd AS cost, reserved_nanousd AS held,
    reserved_output_tokens AS room, json_extract(usage, '$.input_tokens_total') AS tokens_in,
    json_extract(usage, '$.output_tokens_total') AS tokens_out, json_extract(usage, '$.cache_read_tokens') AS cached,
    json_extract(usage, '$.reasoning_tokens') AS reasoned"""


class _Sums(msgspec.Struct):
    calls: int
    nanousd: int
    held: int
    room: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    newest: str
    dearest: str


def waste(
    connection: sqlite3.Connection,
    book: PriceBook,
    price_list: Callable[[str], str],
    since_ns: int,
    until_ns: int,
) -> list[Finding]:
    """What was found in calls started in ``[since_ns, until_ns)``, the most dollars first; ``limits``, which cost
    nothing, last. Reads every record once."""
    groups = _groups(connection, since_ns, until_ns)
    models = {(group[2], group[3]) for group in groups}
    days = max(Fraction(until_ns - since_ns, DAY_NS), Fraction(1))
    found: list[Finding] = []
    for group, kinds in groups.items():
        provider, model = group[2], group[3]
        price = book.find(price_list(provider), model, until_ns - 1)
        for kind, sums in kinds.items():
            saved, at_most, because = sums.nanousd, False, ""
            if kind == "unreceived":
                because = "The client had gone before the answer ended."
            elif kind == "failed":
                because = "The provider failed, and what it had produced was charged."
            elif kind == "limits":
                saved, at_most = sums.held - sums.nanousd, True
                times = sums.room // max(1, sums.output_tokens)
                because = f"Output limits are {times} times what is used: quotas hold this much, and give it back."
            elif price is None:
                continue
            elif kind == "reasoning":
                usage = Usage(output_tokens_total=sums.reasoning_tokens, reasoning_tokens=sums.reasoning_tokens)
                saved, at_most = price.bill(usage, at_ns=until_ns - 1).nanousd, True
                share = 100 * sums.reasoning_tokens // max(1, sums.output_tokens)
                because = f"{share} % of the output was reasoning; a lower effort may do."
            elif kind == "uncached":
                fresh = Usage(input_tokens_total=sums.input_tokens)
                read = Usage(input_tokens_total=sums.input_tokens, cache_read_tokens=sums.input_tokens)
                at = until_ns - 1
                saved, at_most = price.bill(fresh, at_ns=at).nanousd - price.bill(read, at_ns=at).nanousd, True
                because = f"No input of {CACHEABLE} tokens and more was read from a cache."
            else:
                saved, because = _cheaper(sums, provider, model, models, book, price_list, until_ns - 1)
            if saved > 0 and (sums.calls >= MIN_CALLS or kind in ("unreceived", "failed")):
                at_most = at_most or kind == "small_tasks"
                found.append(_finding(kind, group, sums, saved, at_most, because, days))
    return sorted(
        found, key=lambda one: (one.kind == "limits", -one.nanousd, one.kind, one.team, one.workflow, one.model)
    )


def _order(one: Finding) -> tuple[bool, int, str, str, str, str]:
    return one.kind == "limits", -one.nanousd, one.kind, one.team, one.workflow, one.model


def _groups(
    connection: sqlite3.Connection, since_ns: int, until_ns: int
) -> dict[tuple[str, str, str, str], dict[str, _Sums]]:
    sums = ", ".join(
        f"sum({test}), sum(iif({test}, cost, 0)), sum(iif({test}, held, 0)), sum(iif({test}, room, 0)), "
        f"sum(iif({test}, coalesce(tokens_in, 0), 0)), sum(iif({test}, coalesce(tokens_out, 0), 0)), "
        f"sum(iif({test}, coalesce(reasoned, 0), 0)), max(iif({test}, request_id, '')), "
        f"substr(max(iif({test}, printf('%020d', cost) || request_id, '')), 21)"
        for _, test in _KINDS
    )
    rows = connection.execute(
        f"WITH facts AS MATERIALIZED (SELECT {_FACTS} FROM requests "  # noqa: S608 - our own text
        "WHERE request_id >= ? AND started_ns >= ? AND started_ns < ? AND usage_source <> 'none') "
        f"SELECT team, workflow, provider, model, {sums} FROM facts GROUP BY 1, 2, 3, 4",
        (first_id_at(since_ns - HOUR_NS), since_ns, until_ns),
    )
    groups: dict[tuple[str, str, str, str], dict[str, _Sums]] = {}
    for row in rows:
        kinds = {}
        for place, (kind, _) in enumerate(_KINDS):
            values = row[4 + 9 * place : 13 + 9 * place]
            if values[0]:
                kinds[kind] = _Sums(*values)
        groups[row[0], row[1], row[2], row[3]] = kinds
    return groups


def _cheaper(
    sums: _Sums,
    provider: str,
    model: str,
    models: set[tuple[str, str]],
    book: PriceBook,
    price_list: Callable[[str], str],
    at_ns: int,
) -> tuple[int, str]:
    """What the cheapest other model of the same provider that is in use would have charged less."""
    usage = Usage(input_tokens_total=sums.input_tokens, output_tokens_total=sums.output_tokens)
    best, name = sums.nanousd, ""
    for other_provider, other in models:
        price = book.find(price_list(other_provider), other, at_ns) if other_provider == provider else None
        if price is None or other == model:
            continue
        cost = price.bill(usage, at_ns=at_ns).nanousd
        if 0 < cost < best:
            best, name = cost, other
    return sums.nanousd - best, f"{name} does tasks of this size for less."


def _finding(
    kind: str,
    group: tuple[str, str, str, str],
    sums: _Sums,
    saved: int,
    at_most: bool,
    because: str,
    days: Fraction,
) -> Finding:
    team, workflow, provider, model = group
    month = saved * MONTH_DAYS / days
    return Finding(
        kind=kind,
        team=team,
        workflow=workflow,
        provider=provider,
        model=model,
        calls=sums.calls,
        nanousd=saved,
        nanousd_a_month=half_even(month.numerator, month.denominator),
        at_most=at_most,
        because=because,
        examples=tuple(dict.fromkeys((sums.newest, sums.dearest))),
    )

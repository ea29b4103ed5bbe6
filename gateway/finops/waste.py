"""Money that bought little: answers nobody received, failures, prompts that were sent again, reasoning, dear models on
small tasks, input that is not cached. Each with dollars a month and some of the requests behind it.

The ledger holds no text, so what is found are patterns in what calls used; each finding says what it rests on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from fractions import Fraction

import msgspec

from gateway.finops.wasted import AGAIN_NS, CACHEABLE, RETRIES, TESTS, Key, Sums, wasted
from gateway.ledger.rows import GROUP_BITS, GROUP_MASK, HOUR_NS
from gateway.wire.usage import Usage
from pricing.book import PriceBook
from pricing.money import half_even

DAY_NS = 24 * HOUR_NS
MONTH_DAYS = 30
MIN_CALLS = 20
ANY_NUMBER = ("unreceived", "failed", RETRIES)
"""Kinds that tell of single calls; a habit takes ``MIN_CALLS`` of them."""
KINDS = tuple(TESTS)
FEE = "request"
"""A bill's line for the call itself."""
_COST_DIGITS = 20


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of waste of one team's workflow on one model."""

    kind: str
    """``unreceived``, ``failed``, ``retries``, ``reasoning``, ``small_tasks``, ``uncached``; ``limits``: money that
    quotas held for output limits far above use, and gave back."""
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
    """Ids of some of the requests: the newest and the dearest; of ``retries`` the dearest and the one that came after
    it with the same prompt."""


class _Prices:
    """What models in use charge at one time."""

    def __init__(
        self, book: PriceBook, price_list: Callable[[str], str], models: set[tuple[str, str]], at_ns: int
    ) -> None:
        self._book = book
        self._list = price_list
        self._models = models
        self._at_ns = at_ns

    def cost(self, provider: str, model: str, usage: Usage, calls: int = 0) -> int | None:
        """Of many calls together, in nanousd, at the rates of small ones; None where no price is known. ``calls``: of
        how many the fee for each call is counted too."""
        price = self._book.find(self._list(provider), model, self._at_ns)
        if price is None:
            return None
        bill = price.bill(usage, at_ns=self._at_ns, summed=True)
        fee = sum(line.nanousd for line in bill.lines if line.item == FEE)
        return bill.nanousd + (calls - 1) * fee

    def cheapest(self, provider: str, model: str, usage: Usage, calls: int, below: int) -> tuple[int, str]:
        """What the cheapest other model of the provider would charge, and its name; ``below`` and none where no other
        is cheaper."""
        best, name = below, ""
        for other_provider, other in sorted(self._models):
            if other_provider == provider and other != model:
                cost = self.cost(provider, other, usage, calls)
                if cost is not None and 0 < cost < best:
                    best, name = cost, other
        return best, name


def waste(
    connection: sqlite3.Connection,
    book: PriceBook,
    price_list: Callable[[str], str],
    since_ns: int,
    until_ns: int,
) -> list[Finding]:
    """What was found in calls started in ``[since_ns, until_ns)``, the most dollars first; ``limits``, which cost
    nothing, last."""
    prices = _Prices(book, price_list, _models(connection, since_ns, until_ns), until_ns - 1)
    days = max(Fraction(until_ns - since_ns, DAY_NS), Fraction(1))
    found = []
    for key, sums in wasted(connection, since_ns, until_ns).items():
        kind = key[-1]
        judged = _judge(key, sums, prices) if kind in ANY_NUMBER or sums.calls >= MIN_CALLS else None
        if judged is not None and judged[0] > 0:
            found.append(_finding(key, sums, *judged, days))
    return sorted(found, key=_order)


def _judge(key: Key, sums: Sums, prices: _Prices) -> tuple[int, bool, str] | None:
    """Nanousd, whether that is the most, and why; None where no price tells."""
    provider, model, kind = key[2:]
    if kind == "unreceived":
        return sums.nanousd, False, "The client had gone before the answer ended."
    if kind == "failed":
        return sums.nanousd, False, "The provider failed, and what it had produced was charged."
    if kind == RETRIES:
        return sums.nanousd, True, f"The same prompt was sent again within {_minutes(AGAIN_NS)} minutes."
    if kind == "limits":
        times = sums.room // max(1, sums.output_tokens)
        why = f"Output limits are {times} times what is used: quotas hold this much, and give it back."
        return sums.held - sums.nanousd, True, why
    if kind == "reasoning":
        usage = Usage(output_tokens_total=sums.reasoning_tokens, reasoning_tokens=sums.reasoning_tokens)
        cost = prices.cost(provider, model, usage)
        share = 100 * sums.reasoning_tokens // max(1, sums.output_tokens)
        why = f"{share} % of the output was reasoning; a lower effort may do."
        return None if cost is None else (cost, True, why)
    if kind == "uncached":
        fresh = prices.cost(provider, model, Usage(input_tokens_total=sums.input_tokens))
        cached = Usage(input_tokens_total=sums.input_tokens, cache_read_tokens=sums.input_tokens)
        read = prices.cost(provider, model, cached)
        why = f"No input of {CACHEABLE} tokens and more was read from a cache."
        return None if fresh is None or read is None else (fresh - read, True, why)
    usage = Usage(input_tokens_total=sums.input_tokens, output_tokens_total=sums.output_tokens)
    if prices.cost(provider, model, usage) is None:
        return None
    best, name = prices.cheapest(provider, model, usage, sums.calls, sums.nanousd)
    return sums.nanousd - best, True, f"{name} does tasks of this size for less."


def _minutes(nanoseconds: int) -> int:
    return nanoseconds // (60 * 10**9)


def _order(one: Finding) -> tuple[bool, int, str, str, str, str, str]:
    return one.kind == "limits", -one.nanousd, one.kind, one.team, one.workflow, one.provider, one.model


def _models(connection: sqlite3.Connection, since_ns: int, until_ns: int) -> set[tuple[str, str]]:
    """Providers and models that were used."""
    rows = connection.execute(
        "SELECT DISTINCT provider, model FROM groups WHERE id IN "  # noqa: S608 - our names
        f"(SELECT id & {GROUP_MASK} FROM hours WHERE id >= ? AND id < ? AND cost_nanousd > 0)",
        (since_ns // HOUR_NS << GROUP_BITS, -(-until_ns // HOUR_NS) << GROUP_BITS),
    )
    return {(provider, model) for provider, model in rows}


def _finding(key: Key, sums: Sums, saved: int, at_most: bool, because: str, days: Fraction) -> Finding:
    team, workflow, provider, model, kind = key
    month = saved * MONTH_DAYS / days
    dearest = sums.dearest[_COST_DIGITS:]
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
        examples=tuple(dearest.split(" ")) if kind == RETRIES else tuple(dict.fromkeys((sums.newest, dearest))),
    )

"""``/api/models``: what each model costs, how fast it is, how much it is used. ``/api/prices``: the price book."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from gateway.admin import query
from gateway.admin.access import team_of
from gateway.admin.problem import problem
from gateway.admin.query import BadQueryError, answer, when
from gateway.admin.services import SERVICES
from gateway.admin.spend import measures, scoped
from gateway.finops.lists import list_book, price_lists
from gateway.ledger.rows import rfc3339
from gateway.reports.spend import spend
from gateway.wire.usage import Usage
from pricing.book import PriceBook
from pricing.explain import RateLine, explain


def add(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/api/models", used)
    app.router.add_get("/api/prices", prices)


async def used(request: web.Request) -> web.Response:
    """The models of a period, the dearest first, with the rates that hold now and those of the list."""
    services = request.app[SERVICES]
    now_ns = services.now_ns()
    period = query.period(request, now_ns)
    filters = scoped(request)
    rows = await services.read(
        lambda connection: spend(connection, ["provider", "model"], period.since_ns, period.until_ns, filters)
    )
    lists = price_lists(services.config())
    book = services.book()
    listed = list_book(book)
    models = []
    for row in rows:
        provider, model = row.group
        name = lists.get(provider, provider)
        models.append(
            {
                "provider": provider,
                "model": model,
                "price": rates(book, name, model, now_ns),
                "list_price": rates(listed, name, model, now_ns),
                **measures(row),
            }
        )
    return answer({"since": rfc3339(period.since_ns), "until": rfc3339(period.until_ns), "models": models})


async def prices(request: web.Request) -> web.Response:
    """With ``provider`` and ``model``: that price and all its rates. Else the configuration's entries and the lists."""
    services = request.app[SERVICES]
    team_of(request)
    book, asked = services.book(), request.query
    lists = price_lists(services.config())
    at_ns = when(asked["at"]) if "at" in asked else services.now_ns()
    if "model" not in asked:
        entries = [
            {name: _text(value) for name, value in msgspec.structs.asdict(entry).items() if value not in (None, "", ())}
            for entry in book.entries
        ]
        return answer(
            {
                "catalogue": msgspec.structs.asdict(book.catalogue.source),
                "entries": entries,
                "lists": {name: len(one.models) for name, one in book.catalogue.lists.items()},
                "providers": lists,
            }
        )
    if "provider" not in asked:
        raise BadQueryError("name the provider of the model")
    name = lists.get(asked["provider"], asked["provider"])
    found = book.find(name, asked["model"], at_ns)
    if found is None:
        return problem(404, "No price", "No price is known for this model: add a [[prices]] entry.")
    tier, region = asked.get("service_tier", ""), asked.get("region", "")
    told = explain(found, Usage(), at_ns=at_ns, service_tier=tier, region=region)
    return answer(
        {
            "provider": asked["provider"],
            "model": asked["model"],
            "price": told.source,
            "since": told.since or None,
            "until": told.until or None,
            "rates": [_rate(rate) for rate in told.rates],
        }
    )


def rates(book: PriceBook, price_list: str, model: str, now_ns: int) -> dict[str, Any] | None:
    """The rates of a model, in dollars; None where no price is known."""
    price = book.find(price_list, model, now_ns)
    if price is None:
        return None
    told = explain(price, Usage(), at_ns=now_ns)
    return {"source": told.source, "rates": [_rate(rate) for rate in told.rates]}


def _rate(rate: RateLine) -> dict[str, Any]:
    above = [{"input_tokens": start, "usd": usd} for start, usd in rate.above]
    return {"item": rate.item, "usd": rate.usd, "per": rate.per, "above": above}


def _text(value: object) -> object:
    return value if isinstance(value, int | str | tuple) else str(value)

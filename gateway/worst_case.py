"""The most that a call can cost: the bound of what it may use, at the price that is listed for its model.

Other models that a request names count too. Each is held to the policy before it is priced.
"""

from __future__ import annotations

import msgspec

from gateway.identity.principal import Principal
from gateway.parts import Parts
from gateway.policy import forbidden
from gateway.quota.engine import Amounts
from gateway.routing import Provider
from gateway.tokens.bounds import Bound, ModelLimits, beside, bound, widest
from gateway.wire.dialect import Refusal
from gateway.wire.facts import Facts
from pricing.book import Price

NOTHING_BOUND = Bound(input_tokens=0, output_tokens=0, units={})
ONE_REQUEST = Amounts(nanousd=0, input_tokens=0, output_tokens=0)
A_FETCH = Amounts(nanousd=0, input_tokens=0, output_tokens=0, requests=2)
"""Its own record, and one of what it tells of, where others began that."""
MILLION = 1_000_000
MAX_ANSWERED = 4096
"""Names without a price of which the model that answered is remembered."""


class Others(msgspec.Struct, frozen=True):
    """What other models that a request names may cost."""

    nanousd: int = 0
    """Beside the call's own model."""
    input_tokens: int = 0
    output_tokens: int = 0
    instead: tuple[Price, ...] = ()
    """Prices of models of which one may answer in the place of the call's own."""
    each: tuple[tuple[str, Amounts], ...] = ()
    """What each of them may cost beside the call's own, by its name."""


ALONE = Others()
WorstCase = tuple["Price | None", Bound, Amounts, Others]
FREE: WorstCase = (None, NOTHING_BOUND, ONE_REQUEST, ALONE)
FETCHED: WorstCase = (None, NOTHING_BOUND, A_FETCH, ALONE)
"""What was spent before needs no price to be fetched, and nothing can be held for it."""


def worst_case(
    parts: Parts, provider: Provider, principal: Principal, facts: Facts, limits: ModelLimits, now_ns: int
) -> WorstCase | Refusal:
    """Price, bound and amounts of a call, and what is in them of other models; the refusal of a model that may not be
    used, or has no price where it must have one. ``limits``: those of the call's own model."""
    price = listed_price(parts, provider, facts.model, now_ns)
    if type(price) is Refusal:
        return price
    if price is None and not facts.model and (answered := parts.answered.get((provider.name, unnamed(facts.api)))):
        price = parts.book.find(provider.price_as, answered, now_ns)
    others = ALONE
    if not facts.others:
        limit = bound(facts, limits)
    else:
        limit = bound(facts, limits_of(parts, provider, facts))
        found = others_of(parts, provider, principal, facts, limit, now_ns)
        if isinstance(found, Refusal):
            return found
        others = found
    return price, limit, amounts_of(price, limit, facts, others), others


def listed_price(parts: Parts, provider: Provider, model: str, now_ns: int) -> Price | Refusal | None:
    """The price of a model, else what ``unpriced_models`` says: another model's, a refusal, or that of the model which
    answered to the name before; None where there is none."""
    price = parts.book.find(provider.price_as, model, now_ns)
    if price is None and provider.unpriced_as:
        return parts.book.find(provider.price_as, provider.unpriced_as, now_ns)
    if price is None and provider.unpriced == "block":
        return _unpriced(provider, model)
    if price is None and (answered := parts.answered.get((provider.name, model))):
        return parts.book.find(provider.price_as, answered, now_ns)
    return price


def unnamed(api: str) -> str:
    """What stands for the model of requests that name none (a stored prompt does), by their operation."""
    return "\0" + api


def learn(parts: Parts, provider: Provider, model: str, answered: str, now_ns: int) -> None:
    """Remember which model answered to a name that has no price: the next call holds what that one costs. To requests
    that name none many may answer: of those the dearest counts."""
    name = (provider.name, model)
    known = parts.answered.get(name)
    if answered in (model, known):
        return
    if known and model[:1] == "\0" and not _is_dearer(parts, provider, answered, known, now_ns):
        return
    if parts.book.find(provider.price_as, model, now_ns) is None:
        if len(parts.answered) >= MAX_ANSWERED:
            parts.answered.clear()
        parts.answered[name] = answered


def _is_dearer(parts: Parts, provider: Provider, one: str, other: str, now_ns: int) -> bool:
    """Whether a million tokens in and out may cost more."""
    prices = (parts.book.find(provider.price_as, model, now_ns) for model in (one, other))
    first, second = (0 if price is None else price.ceiling(MILLION, MILLION, {}) for price in prices)
    return first > second


def amounts_of(price: Price | None, limit: Bound, facts: Facts, others: Others = ALONE) -> Amounts:
    """What a call with this bound may cost at most. Without a price only tokens can be held."""
    cost = 0
    if price is not None:
        cost = price.ceiling(limit.input_tokens, limit.output_tokens, limit.units, facts.service_tier, facts.region)
    if others is ALONE:
        return Amounts(cost, limit.input_tokens, limit.output_tokens)
    for one in others.instead:
        most = one.ceiling(limit.input_tokens, limit.output_tokens, limit.units, facts.service_tier, facts.region)
        cost = max(cost, most)
    return Amounts(
        cost + others.nanousd,
        limit.input_tokens + others.input_tokens,
        limit.output_tokens + others.output_tokens,
    )


def limits_of(parts: Parts, provider: Provider, facts: Facts) -> ModelLimits:
    """The limits of the call's model, or of those that may answer in its place, whichever are wider."""
    limits: ModelLimits = parts.models.facts(provider.price_as, facts.model)
    for other in facts.others:
        if other.instead:
            limits = widest(limits, parts.models.facts(provider.price_as, other.model))
    return limits


def others_of(
    parts: Parts, provider: Provider, principal: Principal, facts: Facts, limit: Bound, now_ns: int
) -> Others | Refusal:
    """What the other models that a request names may cost; the refusal of one that may not be used."""
    cost = tokens_in = tokens_out = 0
    instead = []
    each = []
    for other in facts.others:
        # what a provider chooses itself is taken for another call of the same model
        model = other.model or facts.model
        price = forbidden(provider, principal, other.model) or listed_price(parts, provider, model, now_ns)
        if isinstance(price, Refusal):
            return price
        if other.instead:
            if price is not None:
                instead.append(price)
            continue
        most = beside(other, limit, parts.models.facts(provider.price_as, model))
        tokens_in += most.input_tokens
        tokens_out += most.output_tokens
        own = 0
        if price is not None:
            tier = facts.service_tier if other.service_tier is None else other.service_tier
            own = price.ceiling(most.input_tokens, most.output_tokens, most.units, tier, facts.region)
            cost += own
        if model != facts.model:
            each.append((model, Amounts(own, most.input_tokens, most.output_tokens)))
    return Others(cost, tokens_in, tokens_out, tuple(instead), tuple(each))


def _unpriced(provider: Provider, model: str) -> Refusal:
    return Refusal(
        status=403,
        code="model_unpriced",
        message=f'No price is known for model "{model[:100]}" of provider "{provider.name}", and unpriced models are '
        "blocked here. Ask your platform team to add a [[prices]] entry.",
        model=model,
    )

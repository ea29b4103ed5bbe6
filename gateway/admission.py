"""Whether a call may go ahead, and at what reservation: facts, policy, bound, quotas.

Decides only; sends nothing and waits for nothing. What needs time (an exact count, a place in a queue) is named in
``Near`` and carried out by the exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gateway.caller import Caller, usual_of
from gateway.coded import unreadable
from gateway.identity.principal import Principal
from gateway.ledger.record import OpenEntry
from gateway.parts import Parts
from gateway.ports import Header
from gateway.quota.engine import Amounts, Beside, Reservation, Shortage, Subject
from gateway.routing import Provider, allowed
from gateway.tokens.bounds import Bound, ModelLimits, beside, bound, widest
from gateway.wire import dialects
from gateway.wire.dialect import Refusal
from gateway.wire.facts import Facts
from gateway.wire.http_heads import body_length, request_fields
from gateway.wire.pointing import address_of
from pricing.book import Price, PriceBook

NOTHING_BOUND = Bound(input_tokens=0, output_tokens=0, units={})
ONE_REQUEST = Amounts(nanousd=0, input_tokens=0, output_tokens=0)
A_FETCH = Amounts(nanousd=0, input_tokens=0, output_tokens=0, requests=2)
"""Its own record, and one of what it tells of, where others began that."""


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
MAX_ANSWERED = 4096
"""Names without a price of which the model that answered is remembered."""


class Admitted(msgspec.Struct):
    """A call that may be sent, with what it has reserved."""

    caller: Caller
    provider: Provider
    facts: Facts
    target: bytes
    body: bytes
    book: PriceBook
    price: Price | None
    subject: Subject
    bound: Bound
    amounts: Amounts
    entry: OpenEntry
    reservation: Reservation | None = None
    clamped: int | None = None
    extends: int = 0
    """Output tokens to which a small reservation may grow with the answer; 0: it is whole."""
    entered: Amounts | None = None
    """What the entry says is reserved, where it says so already."""
    others: Others = ALONE
    undone: bool = False
    """The body's content coding was undone."""
    limited: bytes = b""
    """The limit on tools that was put into the request, as ``name=number``."""

    def price_of(self, model: str) -> Price | None:
        """The price of the model that answered, else of the one that was asked for."""
        if not model or model == self.facts.model:
            return self.price
        found = self.book.find(self.provider.price_as, model, self.entry.started_ns)
        return found if found is not None else self.price


def upstream_head(call: Admitted, own: Sequence[Header]) -> bytes:
    """The head to send for a call. ``own``: the gateway's own credential; empty where the caller's passes through."""
    caller, provider = call.caller, call.provider
    plain = not call.facts.asks_usage or call.extends > 0
    key = (provider.name, call.target, plain, own, call.undone)
    if caller.sent_as != key:
        headers: Sequence[Header] = caller.headers
        if call.undone:
            headers = [header for header in headers if header[0].lower() != b"content-encoding"]
        if provider.credential is not None:
            replaced = provider.credential.replaces
            if replaced:
                headers = [header for header in headers if header[0].lower() not in replaced]
            headers = [*headers, *own]
        elif caller.passthrough:
            headers = [*headers, *caller.passthrough]
        host = provider.endpoint.host_header
        caller.sent = request_fields(caller.method, provider.base_path + call.target, headers, host, plain=plain)
        caller.sent_as = key
    return caller.sent + body_length(caller.method, len(call.body))


def admit(parts: Parts, caller: Caller, coded: bytes, plain: bytes | None) -> Admitted | Refusal:
    """Read the body's facts, apply policy, bound the cost. Reserves nothing yet. ``coded``: the body as it came;
    ``plain``: without its content coding, None where that could not be undone."""
    body = coded if plain is None else plain
    provider, target, received = caller.provider, caller.target, body
    if provider is None:
        routed = _route_by_model(parts, caller, body)
        if isinstance(routed, Refusal):
            return routed
        provider, target, body = routed
    dialect = provider.dialect
    facts = dialect.read(caller.method, target, caller.content_type, body)
    model = facts.model
    principal = caller.principal
    if plain is None and (facts.malformed or facts.billable or principal.models or provider.models):
        return unreadable(caller.coding, parts.max_body_bytes)
    if facts.malformed:
        return Refusal(status=400, code="invalid_request", message=facts.malformed)
    if provider.region and not facts.region:
        facts.region = provider.region
    # of what was made before only its answer tells the model
    refusal = forbidden(provider, principal, model, facts.billable and not facts.fetches)
    if refusal is not None:
        return refusal
    if facts.others and not facts.billable:
        for other in facts.others:
            refusal = forbidden(provider, principal, other.model)
            if refusal is not None:
                return refusal
    usual = caller.usual.get(model)
    if usual is None or usual.provider is not provider or usual.target != target:
        usual = usual_of(parts, caller, provider, target, model)
    now_ns = parts.clock.now_ns()
    price = None
    limit = NOTHING_BOUND
    amounts, others = A_FETCH if facts.fetches else ONE_REQUEST, ALONE
    # what was spent before needs no price to be fetched, and nothing can be held for it
    if facts.billable and not facts.fetches:
        found = listed_price(parts, provider, model, now_ns)
        if type(found) is Refusal:
            return found
        price = found
        limit = bound(facts, usual.limits if not facts.others else limits_of(parts, provider, facts))
        if facts.others:
            more = others_of(parts, provider, principal, facts, limit, now_ns)
            if isinstance(more, Refusal):
                return more
            others = more
        amounts = amounts_of(price, limit, facts, others)
        if provider.usage_unasked:
            facts.asks_usage = True
        elif not facts.asks_usage:
            body = dialect.prepare(facts, target, body)
    else:
        if body is received:
            body = coded
        if facts.here is not None:
            facts.here = _addresses(parts, caller, provider)
    # by position, here and below: names cost several times as much
    entry = OpenEntry(
        parts.new_id(),
        now_ns,
        principal.team,
        caller.workflow,
        principal.key_id,
        usual.tags,
        provider.name,
        facts.api,
        usual.method,
        usual.path,
        model,
        facts.stream,
        (),
        amounts.nanousd,
        amounts.input_tokens,
        amounts.output_tokens,
        len(coded),
        caller.trace_id,
        caller.span,
        parts.prompt_hash(received) if facts.billable and parts.prompt_hash is not None else 0,
        facts.service_tier,
        facts.region,
    )
    return Admitted(
        caller,
        provider,
        facts,
        target,
        body,
        parts.book,
        price,
        usual.subject,
        limit,
        amounts,
        entry,
        entered=amounts,
        others=others,
        undone=body is not coded and bool(caller.coding),
    )


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


def learn(parts: Parts, call: Admitted, answered: str) -> None:
    """Remember which model answered to a name that has no price: the next call holds what that one costs."""
    name = (call.provider.name, call.facts.model)
    if answered in (name[1], parts.answered.get(name)):
        return
    if parts.book.find(call.provider.price_as, name[1], call.entry.started_ns) is None:
        if len(parts.answered) >= MAX_ANSWERED:
            parts.answered.clear()
        parts.answered[name] = answered


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


def for_others(call: Admitted) -> list[Beside]:
    """What other models may use for a call, for the quotas of their own."""
    if not call.others.each:
        return []
    return [(msgspec.structs.replace(call.subject, model=model), amounts) for model, amounts in call.others.each]


def reserve(parts: Parts, call: Admitted) -> Shortage | None:
    """Hold the call's amounts in every quota that matches, or in none; a shortage says which has no room."""
    held = parts.quotas.reserve(call.entry.request_id, call.subject, call.amounts, call.entry.started_ns)
    if type(held) is Shortage:
        return held
    for other in for_others(call):
        short = parts.quotas.reserve_beside(held, other, call.entry.started_ns)
        if short is not None:
            return short
    call.reservation = held
    if call.extends:
        parts.quotas.grows(held)
    entry, amounts = call.entry, call.amounts
    entry.quotas = held.quotas
    if amounts is not call.entered:
        call.entered = amounts
        entry.reserved_nanousd = amounts.nanousd
        entry.reserved_input_tokens = amounts.input_tokens
        entry.reserved_output_tokens = amounts.output_tokens
    return None


def reserve_lent(parts: Parts, call: Admitted, short: Shortage, then: Callable[[Shortage | None], None]) -> None:
    """After a shortage: where room is lent, ask for more and try again; then ``then`` with the shortage that is left.
    While it waits the call may end: ``then`` is called all the same, and must give back what is held."""
    tries = iter((True, True, False))
    quotas = parts.quotas

    def lent(all_of_it: bool) -> None:
        left = reserve(parts, call)
        if left is None or not all_of_it or not next(tries):
            then(left)
        elif not quotas.ask(
            call.subject, call.amounts, call.entry.started_ns, lent, beside=for_others(call), whole=True
        ):
            # another call of this process took some of it, or the window has ended
            then(left)

    if not quotas.ask(call.subject, call.amounts, call.entry.started_ns, lent, beside=for_others(call)):
        then(short)


def _addresses(parts: Parts, caller: Caller, provider: Provider) -> tuple[bytes, bytes]:
    """The provider's own address, and the one at which its client reaches it."""
    here, endpoint = address_of(caller.headers, parts.secure), provider.endpoint
    if not here:
        return b"", b""
    scheme = b"https" if endpoint.tls is not None else b"http"
    there = b"%b://%b%b" % (scheme, endpoint.host_header, provider.base_path)
    return there, b"%b/%b" % (here, provider.name.encode())


def _route_by_model(parts: Parts, caller: Caller, body: bytes) -> tuple[Provider, bytes, bytes] | Refusal:
    reader = dialects.get("openai")
    facts = reader.read(caller.method, caller.target, caller.content_type, body)
    provider, model = parts.router.by_model(facts.model)
    if provider is None:
        what = f'model "{facts.model}"' if facts.model else "a request without a model"
        return Refusal(
            status=404,
            code="model_not_found",
            message=f"No provider is configured for {what} on /v1: add a [[routes]] entry or an openai provider.",
        )
    if model == facts.model:
        return provider, caller.target, body
    target, body = reader.rename_model(facts, caller.target, body, model)
    return provider, target, body


def forbidden(provider: Provider, principal: Principal, model: str, named: bool = True) -> Refusal | None:
    """Why this caller may not use this provider or model; None: it may. ``named``: one without a name is none that is
    allowed by its name; False: there is no model, or it is named later."""
    if not (provider.models or principal.models or principal.providers):
        return None
    if not allowed(provider.name, principal.providers):
        what = f'provider "{provider.name}"'
    elif (model or named) and not (allowed(model, principal.models) and allowed(model, provider.models)):
        what = f'model "{model[:100]}"' if model else "a model that its request does not name"
    else:
        return None
    return Refusal(
        status=403,
        code="provider_not_allowed" if what.startswith("provider") else "model_not_allowed",
        message=f'The key "{principal.key_id}" of team "{principal.team}" may not use {what}. '
        "Ask your platform team to allow it for this key.",
        model=model,
    )


def _unpriced(provider: Provider, model: str) -> Refusal:
    return Refusal(
        status=403,
        code="model_unpriced",
        message=f'No price is known for model "{model[:100]}" of provider "{provider.name}", and unpriced models are '
        "blocked here. Ask your platform team to add a [[prices]] entry.",
        model=model,
    )

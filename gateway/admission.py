"""Whether a call may go ahead, and at what reservation: route, read, allow, bound, reserve.

Decides only; sends nothing and waits for nothing. What needs time (an exact count, a place in a queue) is named in
``Near`` and carried out by the exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gateway.caller import Caller, Usual, usual_of
from gateway.coded import unreadable
from gateway.ledger.record import OpenEntry
from gateway.parts import Parts
from gateway.policy import forbidden, others_forbidden, uncounted
from gateway.ports import Header
from gateway.quota.engine import Amounts, Beside, Reservation, Shortage, Subject
from gateway.routing import Provider
from gateway.tokens.bounds import Bound
from gateway.wire import dialects
from gateway.wire.dialect import Refusal
from gateway.wire.facts import Facts
from gateway.wire.http_heads import body_length, request_fields
from gateway.wire.pointing import address_of
from gateway.worst_case import ALONE, FETCHED, FREE, Others, WorstCase, worst_case
from pricing.book import Price, PriceBook


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
    """Route, read, allow, bound: the call as it may be sent, with what it may cost at most. Reserves nothing yet.
    ``coded``: the body as it came; ``plain``: without its content coding, None where that could not be undone."""
    received = coded if plain is None else plain
    provider, target, body = caller.provider, caller.target, received
    if provider is None:
        routed = _route_by_model(parts, caller, body)
        if isinstance(routed, Refusal):
            return routed
        provider, target, body = routed

    facts = provider.dialect.read(caller.method, target, caller.content_type, body)
    if caller.posts and not (facts.billable or facts.fetches):
        facts = provider.dialect.read(b"POST", target, caller.content_type, body)
    if caller.masked:
        facts.hidden = True
    if plain is None or facts.malformed:
        unread = _unread(parts, caller, provider, facts, plain)
        if unread is not None:
            return unread
    if provider.region and not facts.region:
        facts.region = provider.region

    model, principal = facts.model, caller.principal
    spends = facts.billable and not facts.fetches
    # of what was made before only its answer tells the model
    refusal = forbidden(provider, principal, model, spends)
    if refusal is None and facts.others and not facts.billable:
        refusal = others_forbidden(provider, principal, facts.others)
    if refusal is not None:
        return refusal

    usual = caller.usual.get(model)
    if usual is None or usual.provider is not provider or usual.target != target:
        usual = usual_of(parts, caller, provider, target, model)
    now_ns = parts.clock.now_ns()
    if spends:
        worst = worst_case(parts, provider, principal, facts, usual.limits, now_ns)
        if type(worst) is Refusal:
            return worst
        if provider.usage_unasked:
            facts.asks_usage = True
        elif not facts.asks_usage:
            body = provider.dialect.prepare(facts, target, body)
    else:
        refusal = uncounted(provider, facts, b"POST" if caller.posts else caller.method, target)
        if refusal is not None:
            return refusal
        worst = FETCHED if facts.fetches else FREE
        if body is received:
            body = coded
        if facts.here is not None:
            facts.here = _addresses(parts, caller, provider)
    return _admitted(parts, caller, usual, facts, body, worst, now_ns, coded, received)


def _unread(parts: Parts, caller: Caller, provider: Provider, facts: Facts, plain: bytes | None) -> Refusal | None:
    """The refusal of a body that could not be read as what it is, unless nothing in it matters."""
    if plain is None and (facts.malformed or facts.billable or caller.principal.models or provider.models):
        return unreadable(caller.coding, parts.max_body_bytes)
    if facts.malformed:
        return Refusal(status=400, code="invalid_request", message=facts.malformed)
    return None


def _admitted(
    parts: Parts,
    caller: Caller,
    usual: Usual,
    facts: Facts,
    body: bytes,
    worst: WorstCase,
    now_ns: int,
    coded: bytes,
    received: bytes,
) -> Admitted:
    """The call with its open entry. By position, here and below: names cost several times as much."""
    price, limit, amounts, others = worst
    provider, principal = usual.provider, caller.principal
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
        facts.model,
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
        usual.target,
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
        # its window may have ended meanwhile: for the ledger it begins in that which holds it
        call.entry.started_ns = parts.clock.now_ns()
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

"""How a session begins: the call that stands for it, and the handshake with its provider."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from gateway.admission import Admitted
from gateway.caller import Caller, recorded_path
from gateway.ledger.record import OpenEntry
from gateway.parts import Parts
from gateway.policy import forbidden
from gateway.ports import Header
from gateway.quota.engine import Subject
from gateway.tokens.bounds import Bound
from gateway.wire.dialect import Refusal
from gateway.wire.facts import Facts
from gateway.wire.http_heads import request_head_bytes
from gateway.wire.paths import with_query_value
from gateway.wire.sockets import handshake_headers, socket_model, socket_models
from gateway.worst_case import amounts_of, listed_price
from pricing.book import Price


def route(parts: Parts, caller: Caller) -> None:
    """Give a session on ``/v1/…`` its provider: that of the model which its query names, else the first of OpenAI's
    kind, as the models of its messages come too late."""
    model = socket_model(caller.target)
    if not model:
        caller.provider = parts.router.default
        return
    caller.provider, name = parts.router.by_model(model)
    if name != model:
        caller.target = with_query_value(caller.target, b"model", quote(name, safe="").encode())


def session_call(parts: Parts, caller: Caller, api: str, *, named_later: bool) -> Admitted | Refusal:
    """The session's own call, with room for one response as its bound. ``named_later``: the client's first message
    names the model, and nothing is bound before it does."""
    provider, principal = caller.provider, caller.principal
    assert provider is not None
    models = socket_models(caller.target)
    if len(models) > 1:
        return Refusal(status=400, code="invalid_request", message="The query names more than one model.")
    model = models[0] if models else ""
    now_ns = parts.clock.now_ns()
    price: Price | Refusal | None = forbidden(provider, principal, model, named=False)
    if price is None and model:
        price = listed_price(parts, provider, model, now_ns)
    if isinstance(price, Refusal):
        return price
    limits = parts.models.facts(provider.price_as, model)
    facts = Facts(api=api, model=model, stream=True, billable=True, input_open=True, region=provider.region)
    most = Bound(0, 0, {}) if named_later else Bound(limits.context_window, limits.max_output, {})
    entry = OpenEntry(
        request_id=parts.new_id(),
        started_ns=now_ns,
        team=principal.team,
        workflow=caller.workflow,
        key_id=principal.key_id,
        tags=dict(caller.tags),
        provider=provider.name,
        api=api + "_session",
        method="GET",
        path=recorded_path(caller.target),
        model_requested=model,
        stream=True,
        trace_id=caller.trace_id,
        span=caller.span,
        region=provider.region,
    )
    return Admitted(
        caller=caller,
        provider=provider,
        facts=facts,
        target=caller.target,
        body=b"",
        book=parts.book,
        price=price,
        subject=Subject(principal.team, caller.workflow, principal.key_id, provider.name, model, caller.tags),
        bound=most,
        amounts=amounts_of(price, most, facts),
        entry=entry,
    )


def handshake(call: Admitted) -> bytes:
    """The head that asks the provider for the upgrade that the client has asked for. Raises
    ``CredentialUnavailable``."""
    provider, caller = call.provider, call.caller
    target, host = provider.base_path + caller.target, provider.endpoint.host_header
    headers: Sequence[Header] = [*caller.headers, *caller.passthrough]
    if provider.credential is not None:
        headers = [*caller.headers, *provider.credential.headers(b"GET", host, target, headers, b"")]
    kept = [header for header in headers if not header[0].lower().startswith(b"sec-websocket-")]
    plain = request_head_bytes(b"GET", target, kept, host, 0)
    return plain[:-2] + b"".join(b"%b: %b\r\n" % header for header in handshake_headers(headers)) + b"\r\n"

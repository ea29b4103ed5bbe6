"""Who calls what, as the head of a request alone tells: its key, its provider, whom it is charged to."""

from __future__ import annotations

import msgspec

from gateway.identity.attribution import refine
from gateway.identity.found import FoundKey, find_key
from gateway.identity.guard import Guard
from gateway.identity.principal import Principal
from gateway.parts import Parts
from gateway.ports import Header, RequestHead
from gateway.quota.engine import Subject
from gateway.routing import Provider
from gateway.tracing import trace_id_of
from gateway.wire.dialect import Refusal

UNATTRIBUTED = Principal(key_id="", team="unattributed", workflow="unattributed", tags=())
MAX_USUAL = 64


class Usual:
    """What follows from a caller and a model alone: found once for many calls."""

    __slots__ = ("limits", "method", "path", "provider", "subject", "tags", "target")

    def __init__(self, parts: Parts, caller: Caller, provider: Provider, target: bytes, model: str) -> None:
        principal = caller.principal
        self.provider = provider
        self.target = target
        self.subject = Subject(principal.team, caller.workflow, principal.key_id, provider.name, model, caller.tags)
        self.limits = parts.models.facts(provider.price_as, model)
        self.method = caller.method.decode("latin-1")
        self.path = recorded_path(target)
        self.tags = dict(caller.tags)


class Caller(msgspec.Struct, kw_only=True):
    """Who calls what, as the head alone tells."""

    provider: Provider | None
    """None: to be routed by model."""
    target: bytes
    """Below the provider's base URL, without the virtual key."""
    method: bytes
    headers: list[Header]
    """Without any credential and without ``x-spendgate-*``."""
    passthrough: list[Header]
    """The caller's own provider credential, for a provider that has none of the gateway's."""
    content_type: bytes
    coding: bytes
    """The body's content coding; empty: none."""
    principal: Principal
    workflow: str
    tags: tuple[tuple[str, str], ...]
    trace_id: str
    span: str
    rejected: Refusal | None = None
    posts: bool = False
    """The head says that it means POST, whatever its method (``X-HTTP-Method-Override``): Google's APIs take it so."""
    masked: bool = False
    """The head says which parts of the answer are wanted (``X-Goog-FieldMask``)."""
    sent: bytes = b""
    """The newest call's head to its provider, up to the body's length: that of the next is most often the same."""
    sent_as: object = None
    """What that head was made of, beside this caller."""
    usual: dict[str, Usual] = msgspec.field(default_factory=dict)
    """By model; at most ``MAX_USUAL``."""


def identify(parts: Parts, head: RequestHead) -> Caller:
    """Route and caller of a request. ``rejected`` is set where it may go no further."""
    found = find_key(head.headers, head.target)
    provider, target = parts.router.split(found.target)
    content_type = coding = traceparent = b""
    posts = masked = False
    for name, value in head.headers:
        size = len(name)
        if size == 12 and name.lower() == b"content-type":
            content_type = value
        elif size == 11 and name.lower() == b"traceparent":
            traceparent = value
        elif size == 16:
            lower = name.lower()
            if lower == b"content-encoding":
                coding = b"%b,%b" % (coding, value) if coding else value
            masked = masked or lower == b"x-goog-fieldmask"
        elif size == 22 and name.lower() == b"x-http-method-override":
            posts = posts or value.strip().upper() == b"POST"
    principal = parts.keys.identify(found.secret) if found.secret is not None else None
    rejected = None
    passthrough: list[Header] = []
    if principal is None:
        principal = UNATTRIBUTED
        if parts.attribution.require_key:
            rejected = _unknown_key(found)
    if rejected is not None or parts.guard.active:
        rejected = _guarded(parts.guard, head.peer, found.secret, principal, rejected)
    if found.named or principal is UNATTRIBUTED:
        # what else came as a credential is the provider's own
        passthrough = found.credential
        if found.own_target is not found.target and provider is not None and provider.credential is None:
            target = parts.router.split(found.own_target)[1]
    workflow, tags = principal.workflow, principal.tags
    if found.attribution and parts.attribution.trusted_headers:
        workflow, tags = refine(principal, found.attribution)
    if provider is None and rejected is None and not parts.router.is_routed(target):
        rejected = _unknown_provider(target, parts.router.names())
    trace_id, span, headers = "", "", found.headers
    if parts.trace is not None:
        context = parts.trace(traceparent)
        trace_id, span, headers = context.trace_id, context.span, context.onward(headers)
    elif traceparent:
        trace_id = trace_id_of(traceparent)
    return Caller(
        provider=provider,
        target=target,
        method=head.method,
        headers=headers,
        passthrough=passthrough,
        content_type=content_type,
        coding=coding,
        principal=principal,
        workflow=workflow,
        tags=tags,
        trace_id=trace_id,
        span=span,
        rejected=rejected,
        posts=posts,
        masked=masked,
    )


def usual_of(parts: Parts, caller: Caller, provider: Provider, target: bytes, model: str) -> Usual:
    """The same for all calls of a caller to one model."""
    known = caller.usual
    if len(known) >= MAX_USUAL:
        known.clear()
    found = known[model] = Usual(parts, caller, provider, target, model)
    return found


def _guarded(
    guard: Guard, peer: str, secret: str | None, principal: Principal, rejected: Refusal | None
) -> Refusal | None:
    """Whether the address calls too often, or tried too many unknown keys; else ``rejected`` as it is."""
    wait, code = 0.0, "too_many_calls"
    if guard.limits.calls_per_second:
        wait = guard.called(peer)
    if not wait and secret is not None:
        code = "too_many_unknown_keys"
        if principal is not UNATTRIBUTED:
            wait = guard.known(peer, principal.key_id)
        elif rejected is not None:
            wait = guard.unknown(peer)
    if not wait:
        return rejected
    what = "calls a second" if code == "too_many_calls" else "unknown keys"
    text = f"Too many {what} come from this address ({peer}). Try again in {wait:.1f} s."
    return Refusal(status=429, code=code, message=text, retry_after_ms=max(1, int(wait * 1000)))


def _unknown_key(found: FoundKey) -> Refusal:
    if found.too_long:
        text = "What was sent as API key is too long for a gateway key. Send yours in its place, or as x-spendgate-key."
    elif found.secret is None:
        text = "No API key was sent. Send your gateway key where your SDK sends its API key, or as x-spendgate-key."
    else:
        text = "This API key is unknown, expired or revoked. Ask your platform team for a gateway key."
    return Refusal(status=401, code="invalid_api_key", message=text)


def _unknown_provider(target: bytes, names: list[str]) -> Refusal:
    segment = target[1:].split(b"/", 1)[0].split(b"?", 1)[0][:60].decode("latin-1")
    known = ", ".join(f"/{name}" for name in names[:20])
    return Refusal(
        status=404,
        code="unknown_provider",
        message=f'No provider is called "{segment}". Paths start with a provider\'s name ({known}) or with /v1.',
    )


def recorded_path(target: bytes) -> str:
    """The path as recorded: without its query, which may hold credentials."""
    return target.partition(b"?")[0][:512].decode("latin-1")

"""Answers of the gateway's own: refusals in the provider's shape, failures in its own name, health."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.admission import Admitted
from gateway.caller import Caller
from gateway.ledger.record import REJECTED, Record
from gateway.parts import Parts
from gateway.ports import Header
from gateway.wire import dialects
from gateway.wire.cors import readable
from gateway.wire.dialect import Refusal, Reply
from gateway.wire.usage import Usage

__all__ = ["Reply"]

HEALTH_PATHS = frozenset((b"/healthz", b"/readyz"))
JSON = (b"content-type", b"application/json")

UPGRADE_REFUSED = Refusal(
    status=501,
    code="upgrade_not_supported",
    message="This gateway can't meter a connection of this kind, so it opens none. Of WebSockets it knows OpenAI's "
    "/realtime and /responses, and the BidiGenerateContent of Gemini.",
)
TOO_LARGE = Refusal(
    status=413,
    code="request_too_large",
    message="The request body is larger than this gateway takes (server.max_body_bytes).",
)

_FAILURES = {
    "connect": (502, "could not be reached"),
    "connect_timeout": (504, "could not be reached in time"),
    "unavailable": (503, "could not be reached a moment ago, again and again, so it was not tried"),
    "reset": (502, "closed the connection before it answered"),
    "head_timeout": (504, "did not answer in time"),
    "idle_timeout": (504, "fell silent before it answered"),
    "protocol": (502, "answered with something that is not valid HTTP"),
    "credential": (503, "can't be called: the gateway has no valid credential for it now"),
}


def failure(status: int, code: str, message: str, request_id: str | None, asked: Sequence[Header] = ()) -> Reply:
    """A failure of the gateway's own: never in the provider's name. ``asked``: the request's fields."""
    error: dict[str, str] = {"message": message, "type": "spendgate_error", "code": code}
    headers: list[Header] = [JSON, (b"x-spendgate-error", code.encode())]
    if request_id is not None:
        headers.append((b"x-spendgate-request-id", request_id.encode()))
    headers += readable(asked)
    return Reply(status, headers, msgspec.json.encode({"error": error}))


def upstream_failure(provider: str, kind: str, request_id: str | None, asked: Sequence[Header] = ()) -> Reply:
    """The provider never answered."""
    status, text = _FAILURES.get(kind, (502, "failed"))
    return failure(status, f"upstream_{kind}", f'The provider "{provider}" {text}.', request_id, asked)


def refusal(caller: Caller, call: Admitted | None, why: Refusal, request_id: str) -> Reply:
    """The refusal in the shape of the provider that was called, and of those of its APIs that the path names."""
    provider = call.provider if call is not None else caller.provider
    dialect = provider.dialect if provider is not None else dialects.get("openai")
    if call is not None:
        facts = call.facts
    else:
        # nobody has read the body, and what it says does not matter
        facts = dialect.read(caller.method, caller.target, caller.content_type, b"")
    reply = dialect.refuse(why, facts)
    own: Header = b"x-spendgate-request-id", request_id.encode()
    return Reply(reply.status, [*reply.headers, own, *readable(caller.headers)], reply.body)


def rejection(
    parts: Parts, caller: Caller, call: Admitted | None, why: Refusal, quota: str, received_at: float
) -> Record:
    """The record of a call that was refused: it cost nothing, and says which rule refused it."""
    now_ns = parts.clock.now_ns()
    elapsed = int((parts.clock.monotonic() - received_at) * 1e6)
    principal = caller.principal
    provider = call.provider.name if call is not None else caller.provider.name if caller.provider is not None else ""
    entry = call.entry if call is not None else None
    model = entry.model_requested if entry is not None else why.model
    return Record(
        request_id=entry.request_id if entry is not None else parts.new_id(),
        started_ns=entry.started_ns if entry is not None else now_ns,
        ended_ns=now_ns,
        team=principal.team,
        workflow=caller.workflow,
        key_id=principal.key_id,
        tags=dict(caller.tags),
        provider=provider,
        api=entry.api if entry is not None else "other",
        method=caller.method.decode("latin-1"),
        path=entry.path if entry is not None else caller.target.partition(b"?")[0][:512].decode("latin-1"),
        model_requested=model,
        model=model,
        stream=entry.stream if entry is not None else False,
        status=why.status,
        outcome=REJECTED,
        usage=Usage(),
        usage_source="none",
        quotas=entry.quotas if entry is not None else (),
        refused_by=quota or why.code,
        latency_us=elapsed,
        gateway_us=elapsed,
        request_bytes=entry.request_bytes if entry is not None else 0,
        trace_id=caller.trace_id,
        span=caller.span,
        opened=False,
    )


def health(target: bytes, not_ready: str) -> Reply:
    """``/healthz``: alive. ``/readyz``: 503 with the reason while calls can't be served."""
    if target == b"/healthz":
        return Reply(200, [JSON], b'{"status":"ok"}')
    if not_ready:
        return Reply(503, [JSON], msgspec.json.encode({"status": "not ready", "reason": not_ready}))
    return Reply(200, [JSON], b'{"status":"ready"}')

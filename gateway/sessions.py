"""Which session an upgrade opens."""

from __future__ import annotations

from gateway.caller import Caller
from gateway.parts import Parts
from gateway.ports import ClientPort, RequestHead
from gateway.session import Session
from gateway.session_aside import RealtimeSession
from gateway.session_asks import AskedSession
from gateway.session_live import LiveSession
from gateway.session_opening import route
from gateway.wire.sockets import LIVE, REALTIME, RESPONSES, socket_api

SESSIONS = {LIVE: LiveSession, RESPONSES: AskedSession, REALTIME: RealtimeSession}
"""Sessions that are more than bytes both ways, by their API."""


def session_of(parts: Parts, caller: Caller, client: ClientPort, head: RequestHead) -> Session | None:
    """The session of the API that stands at the caller's path; None where none does, or no provider."""
    if caller.provider is None:
        route(parts, caller)
    if caller.provider is None:
        return None
    api = socket_api(caller.provider.dialect, caller.target, head.headers)
    return SESSIONS.get(api, Session)(parts, caller, client, head, api) if api else None

"""A session whose client's messages are read, each before its end goes on: what one asks for is held first."""

from __future__ import annotations

from collections import deque

from gateway.caller import Caller
from gateway.ledger.record import CLIENT_DISCONNECTED, COMPLETED
from gateway.parts import Parts
from gateway.ports import ClientPort, RequestHead
from gateway.session import MAX_HELD_BYTES, POLICY_VIOLATION, Session
from gateway.wire.framing.websocket import MAX_MESSAGE_BYTES, Messages


class ReadSession(Session):
    """Subclasses say which messages ask for something (``_wanted``) and what is to be done for it (``_ask``), which
    ends with a call of ``_next``, or closes the session."""

    whole = True
    """Messages go on when they are whole. Else they do in the pieces in which they come, and what is no frame does too:
    a provider must fail the connection for it (RFC 6455, sections 5.1 and 5.2)."""
    masked: bool | None = True
    """None: frames that have no mask are read too."""

    def __init__(self, parts: Parts, caller: Caller, client: ClientPort, head: RequestHead, api: str) -> None:
        super().__init__(parts, caller, client, head, api)
        self._messages = Messages(masked=self.masked, binary=True)
        self._unread = bytearray()
        """What the client has sent and has not gone on."""
        self._found: deque[bytes] = deque()
        """What messages in it ask for, and nobody has looked at yet."""
        self._asking = False
        """One of them waits for room, or for the disk."""
        self._later = bytearray()
        """What came meanwhile."""

    def _wanted(self, message: bytes) -> bytes | None:
        """What a message asks for; None: nothing."""
        raise NotImplementedError

    def _ask(self, wanted: bytes) -> None:
        """Hold what is asked for, and write it down."""
        raise NotImplementedError

    def _said(self, data: bytes) -> None:
        if self._over or self._why:
            return
        if self._asking:
            self._later += data
            if len(self._later) > MAX_HELD_BYTES:
                self._close(POLICY_VIOLATION, "too much arrived while the quotas were asked")
            return
        self._unread += data
        wanted = map(self._wanted, self._messages.feed(data))
        self._found.extend(one for one in wanted if one is not None)
        if (self._messages.broken and self.whole) or len(self._unread) > MAX_MESSAGE_BYTES + MAX_HELD_BYTES:
            self._close(POLICY_VIOLATION, "a message can't be read")
        elif self._messages.passed_over:
            self._close(POLICY_VIOLATION, "a message is too large")
        elif self._messages.at_boundary or not self.whole:
            self._next()

    def _next(self) -> None:
        """Ask for what the messages want, one after the other; then let them go on."""
        self._asking = True
        if self._found:
            self._ask(self._found.popleft())
            return
        self._asking = False
        raw, self._unread = bytes(self._unread), bytearray()
        later, self._later = bytes(self._later), bytearray()
        super()._said(raw)
        if later:
            self._said(later)

    def _broken(self, outcome: str) -> str:
        if outcome == COMPLETED and self._messages.closed:
            return CLIENT_DISCONNECTED
        return super()._broken(outcome)

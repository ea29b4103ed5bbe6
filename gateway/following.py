"""An answer that may end before its provider ends it: when a quota has no more room, or its client has gone.

What the client reads slowly matters too: a provider may wait for it only while all that it can say is held.
"""

from __future__ import annotations

from gateway.admission import Admitted
from gateway.call_state import ANSWERING, SENT
from gateway.extension import PLAIN, Extension, framing_of
from gateway.heard import Heard, ends_by_closing
from gateway.ledger.record import CLIENT_DISCONNECTED, COMPLETED, UPSTREAM_ERROR
from gateway.ports import Header, UpstreamPort
from gateway.settling import Settling
from gateway.wire.dialect import Meter


class Following(Settling):
    """Follows what a stream has said where a quota may end it, and ends answers early."""

    __slots__ = ("_extension", "_upstream")

    def _ready(self) -> None:
        Settling._ready(self)  # compiled there is no super() here
        self._upstream: UpstreamPort | None = None
        self._extension: Extension | Heard | None = None
        """Follows a stream that a quota may end: its reservation grows with it, or is whole."""

    def _follow(self, call: Admitted, meter: Meter, headers: list[Header]) -> None:
        """A good answer has begun: from now on it is followed, where a quota may end it."""
        if call.extends:
            framing = b"" if meter.undo_encoding else framing_of(headers)
            self._extension = Extension(self._parts, call, call.extends, framing)
        elif ends_by_closing(call):
            self._extension = Heard(call, self._parts.counter, framing_of(headers))

    def _extended(self, extension: Extension | Heard, data: bytes, meter: Meter) -> bytes:
        """Hold more for what the answer says; where there is no room it ends."""
        out = extension.feed(data)
        if not meter.terminal:
            short = extension.hold()
            if short is not None:
                self._cut_by = short.name
            self._note_growth(extension, meter)
        return out

    def _may_wait(self, extension: Extension | Heard, meter: Meter) -> bool:
        """The client does not keep up: whether the provider may wait for it."""
        if not extension.client_slow():
            return False
        self._note_growth(extension, meter)
        return True

    def _note_growth(self, extension: Extension | Heard, meter: Meter) -> None:
        """The ledger learns at once that more is held."""
        if extension.grew:
            extension.grew = False
            self._checkpoint(meter)

    def _cut(self, meter: Meter) -> None:
        """The budget has ended: so does the answer, in the provider's own way."""
        call, extension = self._call, self._extension
        assert call is not None
        assert extension is not None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()
        meter.flush()
        end = call.provider.dialect.cut(call.facts, extension.last) if extension.clean else None
        if end is not None and not self._gone:
            self._held.append(end)
            self._settle(COMPLETED)
        else:
            self._settle(CLIENT_DISCONNECTED if self._gone else UPSTREAM_ERROR)

    def _cancel(self) -> None:
        """Nobody listens any more: close upstream and settle with what is known."""
        if self._state not in (SENT, ANSWERING):
            return
        call = self._call
        assert call is not None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()
            if self._extension is not None:
                self._made = self._extension.made
            elif self._state == SENT and ends_by_closing(call):
                self._made = Heard(call, self._parts.counter, PLAIN).made
        if self._meter is not None:
            self._meter.flush()
        self._settle(CLIENT_DISCONNECTED)

"""What a stream has said, kept so that it can be counted should it break off under a rule with ``extend``.

Such a rule takes it that a provider whose connection is closed makes no more than ``MARGIN_TOKENS`` after what it sent.
So a stream that the gateway closes holds that much of its quotas, not all that it could have become.
"""

from __future__ import annotations

from gateway.admission import Admitted
from gateway.extension import MARGIN_TOKENS, MAX_FRAME_BYTES, end_of_frames, extendable, text_of
from gateway.quota.rule import UNITS
from gateway.tokens.counter import Counter

READ_BYTES = 16_384
"""So many bytes are turned into text at once."""
MAX_TEXT = 262_144
"""Characters that are kept of an answer; a longer one holds all."""
COUNTED = frozenset(UNITS.index(name) for name in ("usd", "output_tokens", "tokens"))


def ends_by_closing(call: Admitted) -> bool:
    """True where a limit on what this stream's answer uses is kept by closing it: what that rule takes for certain of
    its provider holds for the call, whatever other rules match."""
    if not call.facts.stream or call.reservation is None:
        return False
    if call.extends:
        return True
    for span in call.reservation.spans:
        rule = span.counter.rule
        if rule.extend and rule.blocking and not COUNTED.isdisjoint(rule.units):
            return extendable(call)
    return False


class Heard:
    """Follows one answer whose whole reservation is held. In place of an ``Extension``, it takes the same inputs."""

    clean = False
    last = b""

    def __init__(self, call: Admitted, counter: Counter, framing: bytes) -> None:
        self.grew = False
        self._call = call
        self._counter = counter
        self._framing = framing
        self._raw = bytearray()
        self._text: list[str] = []
        self._room = MAX_TEXT if framing else 0
        self._behind = False

    def feed(self, data: bytes) -> bytes:
        if self._room > 0:
            self._raw += data
            if len(self._raw) > READ_BYTES:
                self._read()
        return data

    def flush(self) -> bytes:
        return b""

    def hold(self) -> None:
        return None

    def client_slow(self) -> bool:
        self._behind = True
        return True

    def client_ready(self) -> None:
        return

    def made(self) -> int:
        """As ``Extension.made``. Reads and counts text: blocking."""
        most = self._call.bound.output_tokens
        if self._behind or self._room <= 0:
            return most
        self._read()
        # a frame that is not whole says no more tokens than it has bytes
        said = self._counter.text_tokens(self._call.facts.model, "".join(self._text)) + len(self._raw)
        return min(most, said + MARGIN_TOKENS * self._call.facts.choices)

    def _read(self) -> None:
        """Turn whole frames into text."""
        raw = self._raw
        end = end_of_frames(raw, self._framing)
        text = text_of(bytes(raw[:end]), self._framing)
        del raw[:end]
        self._text.append(text)
        self._room -= len(text)
        if len(raw) > MAX_FRAME_BYTES:
            self._room = 0
        if self._room <= 0:
            raw.clear()
            self._text.clear()

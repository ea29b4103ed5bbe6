"""What a stream has said, kept so that it can be counted should it break off under a rule with ``extend``.

Such a rule takes it that a provider whose connection is closed makes no more than ``MARGIN_TOKENS`` after what it sent.
So a stream that the gateway closes holds that much of its quotas, not all that it could have become.
"""

from __future__ import annotations

from zlib import compress, decompress

from gateway.admission import Admitted
from gateway.extension import MARGIN_TOKENS, end_of_frames, extendable, text_of
from gateway.quota.rule import UNITS
from gateway.tokens.counter import Counter

BLOCK_BYTES = 16_384
"""So many bytes are packed at once: a stream's frames are alike, and take a tenth."""
MAX_BYTES = 262_144
"""Packed bytes that are kept of an answer…"""
MAX_BLOCKS = 256
"""…and so many blocks; a longer one holds all."""
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
        self._packed: list[bytes] = []
        self._room = MAX_BYTES if framing else 0
        self._behind = False

    def feed(self, data: bytes) -> bytes:
        if self._room > 0:
            raw = self._raw
            raw += data
            if len(raw) > BLOCK_BYTES:
                packed = compress(raw, 1)
                raw.clear()
                self._packed.append(packed)
                self._room -= len(packed)
                if self._room <= 0 or len(self._packed) > MAX_BLOCKS:
                    self._room = 0
                    self._packed.clear()
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
        raw = bytearray().join([*map(decompress, self._packed), self._raw])
        end = end_of_frames(raw, self._framing)
        said = self._counter.text_tokens(self._call.facts.model, text_of(bytes(raw[:end]), self._framing))
        # a frame that is not whole says no more tokens than it has bytes
        return min(most, said + len(raw) - end + MARGIN_TOKENS * self._call.facts.choices)

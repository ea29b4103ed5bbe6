"""A stream whose reservation grows with it: always held ahead of what the answer has said, ended when nothing is left.

The client gets whole frames, so that the stream can end cleanly at any moment. What has been said is counted from
above: exactly where the model's vocabulary is known, else a token a byte of text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.admission import Admitted
from gateway.parts import Parts
from gateway.ports import Header
from gateway.quota.engine import Amounts
from gateway.quota.rule import Rule
from gateway.tokens.bounds import Bound
from gateway.tokens.text import answer_text
from gateway.worst_case import amounts_of

FIRST_TOKENS = 192
"""Output tokens of each choice that are held at first."""
STEP_TOKENS = 128
LEAST_TOKENS = 16
"""An answer shorter than this is of no use."""
MARGIN_TOKENS = 64
"""What a provider may have made and not yet sent, or may still make until it notices that the connection is closed."""
HEADROOM_TOKENS = 128
"""Room for each choice that is left to every answer that is growing, before another begins."""
MAX_UNREAD_BYTES = 1_048_576
"""What waits for a client that reads slowly, where the budget has no room for the whole answer."""
MAX_FRAME_BYTES = 65_536
"""A longer frame is passed on in pieces; until it ends the stream can't be ended cleanly."""
PROBES = (b"data: {}\n\n", b"{}\n")
AWS = b"application/vnd.amazon.eventstream"
LINES = (b"application/x-ndjson", b"application/stream+json")
PLAIN = b"text/event-stream"
FRAMED = (PLAIN, *LINES, AWS)
LAST_BYTES = 8192
_HIDDEN = re.compile(r"(^|[/.])(o[1-9]($|-)|gpt-[5-9]|gemini-(2\.5|[3-9])|grok-([4-9]|3-mini)|magistral)")
_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def extendable(call: Admitted) -> bool:
    """True where an answer can be followed and ended: a stream of text whose reasoning, if any, is in sight.

    OpenAI's, Google's and xAI's reasoning models think out of sight, and charge for it:
    platform.openai.com/docs/guides/reasoning, ai.google.dev/gemini-api/docs/thinking, docs.x.ai/docs/guides/reasoning.
    """
    facts = call.facts
    if not facts.stream or not facts.billable or facts.output_free or _HIDDEN.search(facts.model.lower()):
        return False
    return any(call.provider.dialect.cut(facts, frame) is not None for frame in PROBES)


def first_bound(call: Admitted, affordable: int) -> Bound | None:
    """The small first reservation, of ``affordable`` output tokens a choice at most; None where there is no room for
    an answer, or it would not be smaller than the whole reservation."""
    first = min(FIRST_TOKENS, affordable) * call.facts.choices
    if first >= call.bound.output_tokens or affordable < MARGIN_TOKENS + LEAST_TOKENS:
        return None
    return Bound(call.bound.input_tokens, first, call.bound.units)


def framing_of(headers: Sequence[Header]) -> bytes:
    """The media type of a plain stream of frames, which can be followed; empty for anything else."""
    plain, kind = True, b""
    for name, value in headers:
        lower = name.lower()
        if lower == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
        elif lower == b"content-encoding" and value.lower() != b"identity":
            plain = False
    return kind if plain and kind in FRAMED else b""


class Extension:
    """Follows one answer. ``most``: output tokens past which the provider can't go anyway."""

    def __init__(self, parts: Parts, call: Admitted, most: int, framing: bytes) -> None:
        self._parts = parts
        self._call = call
        self._most = most
        self._framing = framing
        self.grew = False
        """Since somebody last set it back: more is held than the ledger knows."""
        self._rest = bytearray()
        self._spilled = False
        """Part of a frame went to the client."""
        self.last = b""
        """The frames that came last: what a clean end continues."""
        self._said = 0
        self._leap = 0
        """The most tokens that came at once: a provider that speaks in leaps may be one ahead."""
        self._unread = -1
        """Bytes since the client reads slowly; -1: it does not."""
        self._short: Rule | None = None
        """The rule that had no room for the whole answer then."""

    @property
    def clean(self) -> bool:
        """The client has whole frames only, so a dialect's last frames can follow."""
        return bool(self._framing) and not self._spilled

    def feed(self, data: bytes) -> bytes:
        """Take what came; answers whole frames for the client."""
        if not self._framing:
            self._said += len(data)
            return data
        rest = self._rest
        rest += data
        end = end_of_frames(rest, self._framing)
        if not end:
            if len(rest) <= MAX_FRAME_BYTES:
                return b""
            self._spilled, end = True, len(rest)
        else:
            self._spilled = False
        frames = bytes(rest[:end])
        del rest[:end]
        self.last = (self.last + frames)[-LAST_BYTES:]
        said = len(frames) if self._spilled else self._tokens(frames)
        self._said += said
        self._leap = max(self._leap, said)
        if self._unread >= 0:
            self._unread += len(frames)
        return frames

    def flush(self) -> bytes:
        """The provider's stream has ended: what is left of it."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest

    def hold(self) -> Rule | None:
        """Hold enough for what was said and may be on its way. Answers the rule that has no room for it."""
        if self._unread > MAX_UNREAD_BYTES:
            return self._short
        call = self._call
        choices = call.facts.choices
        held = call.bound.output_tokens
        need = self.made()
        if need <= held:
            return None
        if self._grow(min(need + STEP_TOKENS * choices, self._most) - held) is None:
            return None
        short = self._grow(need - held)
        if short is not None:
            self._grow_into_what_is_left(need - held)
        return short

    def made(self) -> int:
        """Output tokens that the provider can have made by now, at most."""
        return min(self._said + max(MARGIN_TOKENS * self._call.facts.choices, 2 * self._leap), self._most)

    def client_slow(self) -> bool:
        """The client does not keep up. True: the provider may wait, because all that it can say is held; else it is
        read on, so that it never is further ahead than what is held."""
        self._short = self._grow(self._most - self._call.bound.output_tokens)
        if self._short is None:
            self._said = self._most
            return True
        self._unread = 0
        return False

    def client_ready(self) -> None:
        self._unread = -1

    def _grow(self, more: int) -> Rule | None:
        call, parts = self._call, self._parts
        assert call.reservation is not None
        bound = Bound(call.bound.input_tokens, call.bound.output_tokens + more, call.bound.units)
        amounts = amounts_of(call.price, bound, call.facts, call.others)
        added = Amounts(max(0, amounts.nanousd - call.amounts.nanousd), 0, more)
        short = parts.quotas.grow(call.reservation, added, parts.clock.now_ns())
        if short is None:
            call.bound, call.amounts = bound, amounts
            call.entry.reserved_nanousd = amounts.nanousd
            call.entry.reserved_output_tokens = amounts.output_tokens
            self.grew = True
        return short

    def _grow_into_what_is_left(self, wanted: int) -> None:
        """Less than ``wanted`` fits: hold as much of it as does, since the provider may charge for all of it."""
        for bit in reversed(range(wanted.bit_length())):
            self._grow(1 << bit)

    def _tokens(self, frames: bytes) -> int:
        return self._parts.counter.text_tokens(self._call.facts.model, text_of(frames, self._framing))


def end_of_frames(rest: bytearray, framing: bytes) -> int:
    """Where the last whole frame ends; 0: none is whole."""
    if framing in LINES:
        return rest.rfind(b"\n") + 1
    end = 0
    if framing == AWS:
        while len(rest) - end >= 16 and (size := int.from_bytes(rest[end : end + 4], "big")) <= len(rest) - end:
            end += max(size, 16)
        return min(end, len(rest))
    for match in _BOUNDARY.finditer(rest):
        end = match.end()
    return end


def text_of(frames: bytes, framing: bytes) -> str:
    """What whole frames of an answer say."""
    return _aws_text(frames) if framing == AWS else answer_text(frames)


def _aws_text(messages: bytes) -> str:
    """The text in the payloads of whole messages: prelude (12 bytes), headers, payload, CRC (4 bytes)."""
    texts, at = [], 0
    while at + 16 <= len(messages):
        size = max(16, int.from_bytes(messages[at : at + 4], "big"))
        begin = at + 12 + int.from_bytes(messages[at + 4 : at + 8], "big")
        texts.append(answer_text(messages[begin : at + size - 4]))
        at += size
    return "".join(texts)

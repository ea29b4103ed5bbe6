"""The quotas' words: amounts, reservations, what is short, what is left, what somebody wants to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import msgspec

from gateway.quota.counter import Span
from gateway.quota.rule import Rule, Subject

Vector = tuple[int, int, int, int, int, int]


class Amounts(msgspec.Struct, frozen=True, gc=False):
    """What a call may use at most, or did use."""

    nanousd: int
    input_tokens: int
    output_tokens: int
    requests: int = 1

    def vector(self) -> Vector:
        """In the order of ``UNITS``."""
        tokens_in, tokens_out = self.input_tokens, self.output_tokens
        return (self.nanousd, tokens_in, tokens_out, tokens_in + tokens_out, self.requests, 1)


Beside = tuple[Subject, Amounts]
"""What another model may use for a call."""


class Reservation:
    """What one call holds, and where."""

    __slots__ = ("beside", "call_id", "growing", "of", "quotas", "reserved_ns", "spans", "subject", "vector")

    def __init__(
        self, call_id: str, subject: Subject, vector: Vector, spans: list[Span], quotas: tuple[str, ...], now_ns: int
    ) -> None:
        self.call_id = call_id
        self.subject = subject
        self.vector = vector
        self.spans = spans
        self.quotas = quotas
        self.reserved_ns = now_ns
        self.growing = False
        self.beside: list[Reservation] = []
        """What the same call holds for other models, in quotas that match those alone; given back with it."""
        self.of: Reservation | None = None
        """Of such a one: what the call itself holds."""


@final
class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """A quota that has no room for a call."""

    quota: str
    bucket: str
    unit: str
    limit: int
    used: int
    reserved: int
    wanted: int
    resets_ns: int | None
    """When room comes back by the passing of time; None: never."""
    hopeless: bool
    """The call alone is larger than the limit: waiting can't help."""
    clamp: bool
    """Every rule that is short allows a smaller output limit."""
    extend: bool
    """Every rule that is short allows a reservation that grows with the answer."""
    rule: Rule
    behind: bool = False
    """There may be room, but others stand in line for it."""
    unknown: bool = False
    """There may be room: what other gateways have left of it can't be known now."""
    least: int = 0
    """What a call would do with whose answer may be cut short; 0: it needs all that is wanted."""

    @property
    def held_up(self) -> bool:
        """Only what calls in flight hold is in the way."""
        return self.used + (self.least or self.wanted) <= self.limit


class Room(msgspec.Struct, kw_only=True):
    """What is left for a subject: the least over all blocking rules. None: no rule limits it."""

    nanousd: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tokens: int | None = None
    growing: int = 0
    """Calls in flight that may yet want more of it, the most in one counter."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a quota that somebody wants to know, once."""

    kind: str
    """``threshold``, ``exhausted``, ``reopened``, ``rule_changed``, ``granted``."""
    quota: str
    bucket: str = ""
    unit: str = ""
    limit: int = 0
    """In the unit; ``usd``: nanodollars."""
    used: int = 0
    wanted: int = 0
    """``exhausted``: what a call needs at least that had no room."""
    window_ns: int = 0
    """Start of the window: with the fields above it tells this event from its next occurrence."""
    at_ns: int = 0
    detail: str = ""
    who: str = ""


Passed = tuple[str, str, str]
"""A threshold: quota, bucket and share."""
Observe = Callable[[Event], None]

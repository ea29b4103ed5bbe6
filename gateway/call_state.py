"""Where a call stands, and what follows what."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Where a call stands."""

    HEAD = 0
    """Waiting for the request's head, then its body."""
    NEAR = 1
    """A quota is short: counting exactly, clamping, or waiting in line."""
    OPENING = 2
    """Reserved; the open entry is on its way to the disk."""
    SENT = 3
    """On its way to the provider; no head has come back."""
    ANSWERING = 4
    """The provider's head is here; its body is coming."""
    SETTLING = 5
    """The provider's side is over; the record is on its way to the disk."""
    ENDED = 6
    """Settled, or refused before anything was opened."""


TRANSITIONS: dict[State, tuple[State, ...]] = {
    State.HEAD: (State.NEAR, State.OPENING, State.ENDED),
    State.NEAR: (State.OPENING, State.ENDED),
    State.OPENING: (State.SENT, State.SETTLING, State.ENDED),
    State.SENT: (State.ANSWERING, State.SETTLING),
    State.ANSWERING: (State.SETTLING,),
    State.SETTLING: (State.ENDED,),
    State.ENDED: (),
}
ALLOWED = tuple(frozenset(TRANSITIONS[state]) for state in State)

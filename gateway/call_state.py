"""Where a call stands, and what follows what. Plain integers: an enumeration's members cost a look-up each time."""

from __future__ import annotations

STATES = ("HEAD", "NEAR", "OPENING", "SENT", "ANSWERING", "SETTLING", "ENDED")

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

TRANSITIONS: dict[int, tuple[int, ...]] = {
    HEAD: (NEAR, OPENING, ENDED),
    NEAR: (OPENING, ENDED),
    OPENING: (SENT, SETTLING, ENDED),
    SENT: (ANSWERING, SETTLING),
    ANSWERING: (SETTLING,),
    SETTLING: (ENDED,),
    ENDED: (),
}
ALLOWED = tuple(tuple(after in TRANSITIONS[state] for after in TRANSITIONS) for state in TRANSITIONS)
"""By the state and the one that would follow."""


def transition(state: int, after: int) -> str:
    """For a message: ``HEAD -> SENT``."""
    return f"{STATES[state]} -> {STATES[after]}"

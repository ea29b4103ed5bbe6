"""What a session over WebSocket is read by, whoever speaks."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gateway.wire.usage import Reading

SAMPLE_BYTES = 32_768


class Ended(msgspec.Struct, frozen=True):
    """A response that is done, or a piece of what the client said that has been written down."""

    reading: Reading
    began_ns: int
    aside: bool = False
    """It is of no conversation: others may have been made beside it."""
    untold: bool = False
    """The provider has begun it, or may have, and has not told what it used."""
    refused: str = ""
    """Nothing has ended: the client's message of this id was refused, while …"""
    running: int = 0
    """… so many responses that are of no conversation were being made."""


class Listener(Protocol):
    """Reads what a provider says in one session."""

    @property
    def begun(self) -> int:
        """Bytes since the last end of a frame."""
        ...

    def feed(self, data: bytes, now_ns: int) -> list[Ended]:
        """What these bytes end."""
        ...

    def unfinished(self) -> Ended | None:
        """The response in progress, as far as it came; afterwards none is in progress."""
        ...


def unreported(sample: list[bytes]) -> Reading:
    """What is known of a response that reported nothing."""
    joined = b"\n".join(sample)
    return Reading(sample=joined, decoded_bytes=len(joined))

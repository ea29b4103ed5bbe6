"""What the supervisor and its workers say to each other, and the way it goes: MessagePack behind its length."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from gateway.metrics.merging import Told
from gateway.quota.rule import Raise
from gateway.quota.settled import Photo
from gateway.quota.slices import Answer, Back, Freed, Recall, Stand, Want


class Ready(msgspec.Struct, frozen=True, tag=True):
    """A worker takes calls."""


class Claim(msgspec.Struct, frozen=True, tag=True):
    number: int
    wants: list[Want]


class Gives(msgspec.Struct, frozen=True, tag=True):
    backs: list[Back]
    stands: list[Stand]


class Gave(msgspec.Struct, frozen=True, tag=True):
    """All slack of a counter is back."""

    rule: str
    bucket: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A call found no room."""

    quota: str
    bucket: str
    unit: str
    limit: int
    used: int
    reserved: int
    wanted: int
    hopeless: bool
    least: int


class Health(msgspec.Struct, frozen=True, tag=True):
    """Why a worker's ledger can't be written; empty: it can."""

    reason: str


class Reply(msgspec.Struct, frozen=True, tag=True):
    """To a question, by its number."""

    number: int
    stands: list[Stand] = []
    metrics: list[Told] = []
    photo: Photo | None = None
    wrong: list[str] = []
    """Why a reload failed."""


class Question(msgspec.Struct, frozen=True, tag=True):
    """``stands``, ``metrics``, ``photo`` or ``reload``, with what the configuration says then."""

    number: int
    what: str
    text: str = ""


class Raised(msgspec.Struct, frozen=True, tag=True):
    """Raises that were granted, by rule."""

    raises: dict[str, list[Raise]]


class Configured(msgspec.Struct, frozen=True, tag=True):
    """The first that a worker hears: what the configuration says that holds, whose file may say something else by now;
    and how late it is, by a clock that may stand still until the machine's has caught up."""

    text: str
    now_ns: int


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Stop accepting, let calls finish, settle, end."""


FromWorker = Ready | Claim | Gives | Gave | Refused | Health | Reply
ToWorker = Answer | Recall | Freed | Question | Raised | Configured | Drain
T = TypeVar("T")
HEAD = 4
_encode = msgspec.msgpack.encode


class Way(asyncio.Protocol, Generic[T]):
    """One end of the way. ``heard`` takes each message, ``lost`` is called once when the other end is gone."""

    def __init__(self, kind: object, heard: Callable[[T], None], lost: Callable[[], None]) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._heard = heard
        self._lost = lost
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= HEAD:
            end = at + HEAD + int.from_bytes(buffer[at : at + HEAD], "big")
            if end > len(buffer):
                break
            message = self._decoder.decode(buffer[at + HEAD : end])
            at = end
            self._heard(message)
        del buffer[:at]

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._lost()

    def say(self, message: FromWorker | ToWorker) -> None:
        """Send it; nothing happens where the other end is gone."""
        if self._transport is not None:
            said = _encode(message)
            self._transport.write(len(said).to_bytes(HEAD, "big") + said)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def first_of(way: socket.socket) -> ToWorker | None:
    """What a worker is told first, waited for, before a ``Way`` takes the socket; None: the other end is gone."""
    head = way.recv(HEAD, socket.MSG_WAITALL)
    said = way.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL) if len(head) == HEAD else b""
    return msgspec.msgpack.decode(said, type=ToWorker) if said else None

"""What a lender of quotas and the processes that it lends to say to each other."""

from __future__ import annotations

import msgspec


class Want(msgspec.Struct, array_like=True, frozen=True):
    """What a process lacks of one unit (``position``) of one counter, in the window that begins at ``start_ns``."""

    rule: str
    bucket: str
    position: int
    start_ns: int
    amount: int


class Given(msgspec.Struct, array_like=True, frozen=True):
    """The answer to a want: all of it and maybe more, or nothing."""

    amount: int
    free: int
    """What is left to lend after it."""
    used: int
    """What is settled, as far as the lender was told."""
    tight: bool
    """The limit is near: slack is to be given back at once."""
    unknown: bool = False
    """There may be room, but the store that gateways share can't be asked."""


class Back(msgspec.Struct, array_like=True, frozen=True):
    """Slack that is given back. Negative: what was taken beyond a slice: it was used and could not be refused."""

    rule: str
    bucket: str
    position: int
    start_ns: int
    amount: int


class Stand(msgspec.Struct, array_like=True, frozen=True):
    """What one process has used and holds for calls in flight, in one window of one counter, a number a unit."""

    rule: str
    bucket: str
    start_ns: int
    used: list[int]
    reserved: list[int]


class Answer(msgspec.Struct, frozen=True, tag=True):
    """To a claim, in the order of its wants."""

    number: int
    given: list[Given]


class Recall(msgspec.Struct, frozen=True, tag=True):
    """Give back the slack of a counter, and say when that is done."""

    rule: str
    bucket: str


class Freed(msgspec.Struct, frozen=True, tag=True):
    """Something came back for which a call of this process may stand in line."""

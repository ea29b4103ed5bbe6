"""What a store must do by which several gateways share quotas. Every store passes the same suite of tests.

Each gateway keeps a ledger of its own and spends only what it has taken here: what all of them have taken of a window
never passes its limit, whatever happens to any of them. What a gateway that ended without a word had taken stays taken
until it begins again, from its ledger, or the window is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

SHARE = 4
"""A gateway gets, of what is left beside the call, one part in so many for each gateway that lives."""
ALIVE_SECONDS = 3.0
"""Who was not heard of for so long gives nothing back; by the store's own clock."""
HELLO_SECONDS = 2.0
"""A store that has lost everything lends nothing for so long: all that live say what they have taken."""


class Window(msgspec.Struct, array_like=True, frozen=True):
    """One unit of one counter in one window. Of a rolling window it is one part; ``rolling_ns`` is then its length:
    what is taken of a part counts together with that of each part that begins before this one's end and
    ``rolling_ns``, and whose own end and ``rolling_ns`` lies behind this one's start."""

    rule: str
    """The rule's identity: the same in all gateways whose configurations say the same."""
    bucket: str
    unit: int
    start_ns: int
    end_ns: int
    rolling_ns: int = 0


class Ask(msgspec.Struct, array_like=True, frozen=True):
    """What a gateway lacks. All amounts below 2**63."""

    window: Window
    least: int
    """All of it or nothing."""
    limit: int
    lasting: int
    """The limit without raises that end: shares beyond ``least`` are made of what is left of this one."""


class Lent(msgspec.Struct, array_like=True, frozen=True):
    """The answer to an ``Ask``: ``least`` and maybe more, or 0."""

    amount: int
    free: int
    """What is left for others after it; below 0 where more was used than the limit."""
    elsewhere: bool
    """Another gateway that lives has slack of this counter: worth asking it back."""


class Taken(msgspec.Struct, array_like=True, frozen=True):
    """A gateway has taken exactly so much in all, whatever the limit says: it was used and can't be refused, or some
    came back. Not a difference: said twice, where an answer was lost, it does no harm."""

    window: Window
    amount: int


class Stand(msgspec.Struct, array_like=True, frozen=True):
    """What is used of a window: settled, by one gateway or by several, and what they have taken of it."""

    window: Window
    used: int
    taken: int


class Notice(msgspec.Struct, array_like=True, frozen=True):
    """Said to all other gateways, about one counter."""

    recall: bool
    """True: give back what slack you have of it. False: something came back."""
    rule: str
    bucket: str


class StoreUnavailable(Exception):  # noqa: N818 - a state, not a mistake
    """The store can't be reached, or did not do what was asked: nothing of it is done, or it is not known whether it
    is. The text says why."""


class Forgotten(Exception):  # noqa: N818 - a state, not a mistake
    """The store does not know this gateway any more: nothing was done. It may ``begin`` again."""


class Superseded(Forgotten):
    """A newer process speaks for this gateway: nothing was done, and it must not begin again."""


class LeaseStore(Protocol):
    """One gateway's connection to the store. All calls are awaited one at a time, each is atomic, and raises
    ``StoreUnavailable``, ``Forgotten`` or ``Superseded``."""

    @property
    def weakness(self) -> str:
        """Why what was taken may be lost when the store ends, and how to mend it; empty: it is kept."""
        ...

    async def connect(self, heard: Callable[[Notice], None]) -> None:
        """Connect, and hear from now on what other gateways say."""
        ...

    async def begin(self, gateway: str, process: str, taken: Sequence[Taken]) -> float:
        """From now on this connection speaks for ``gateway``, which has taken exactly this; what it had taken before
        comes back. Other processes of the gateway are ``Superseded``. Answers
        in how many seconds the store lends: one that had lost everything waits until all have begun anew, and
        ``ask`` raises ``StoreUnavailable`` until then."""
        ...

    async def ask(self, asks: Sequence[Ask]) -> list[Lent]:
        """Take, each for itself, what is left for it. Where more than ``least`` is lent the gateway counts as having
        slack of the counter until ``loosened``."""
        ...

    async def set(self, taken: Sequence[Taken]) -> None:
        """Take more or give back: of these windows the gateway has taken exactly this. All or nothing."""
        ...

    async def loosened(self, counters: Sequence[tuple[str, str]]) -> None:
        """The gateway has no slack any more of these counters (rule, bucket)."""
        ...

    async def alive(self, stands: Sequence[Stand]) -> None:
        """Called twice a second: this gateway lives, and so much is used of these windows (``taken`` is not read)."""
        ...

    async def others(self, since: int) -> tuple[list[Stand], int]:
        """How the windows stand, over all other gateways, of which something changed since; and what to pass as
        ``since`` next. 0: all that are kept."""
        ...

    async def say(self, notice: Notice) -> None:
        """Tell all other gateways; nobody answers, and it may be lost."""
        ...

    async def tidy(self, now_ns: int) -> None:
        """Forget windows that ended more than ten minutes (and ``rolling_ns``) before ``now_ns``."""
        ...

    async def close(self) -> None:
        """Disconnect. What was taken stays taken."""
        ...

"""Quotas shared by several gateways: what this one has taken from the store they share, and what it lacks.

The lender of a gateway lends to its processes what the gateway has taken; where that does not suffice it asks for more
here. Pure: ``drained`` says what is to be said to the store, ``lent`` and the other words what came of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gateway.quota.accounts import Account
from gateway.quota.rule import CONCURRENT, UNITS, Rule
from gateway.quota.windows import FOREVER
from gateway.sharing.store import Ask, Lent, Notice, Stand, Taken, Window

PATIENCE_NS = 1_000_000_000
"""So long other gateways have to give slack back."""
AGAIN_NS = 100_000_000
"""So often a lack is asked for again meanwhile: what others say may be lost."""
Counter = tuple[str, str]
"""A rule's ``counted`` and a bucket."""
Place = tuple[int, int]
"""Position of a unit, and start of a window."""


class Lack(NamedTuple):
    """What a claim lacks; ``then`` hears when the answer is in and whether it gave something."""

    account: Account
    position: int
    start_ns: int
    amount: int
    until_ns: int
    then: Callable[[bool], None]


class Purse:
    """What the gateway has taken of one counter: by position and start of the window."""

    __slots__ = ("accounts", "asked_back", "free", "given_back", "slack", "taken", "tight")

    def __init__(self) -> None:
        self.accounts: list[Account] = []
        """One; while a reload changes a rule's limit, two."""
        self.taken: dict[Place, int] = {}
        self.free: dict[Place, int] = {}
        """What was left for all when the store last answered."""
        self.tight = True
        """The limit is near: what comes back goes on to the store at once."""
        self.slack = False
        """The store believes that there may be some."""
        self.asked_back = self.given_back = False
        """Another gateway is short; the processes of this one have given back what they could."""


class Drained(NamedTuple):
    """What is to be said to the store, in this order."""

    taken: list[Taken]
    loosened: list[Counter]
    notices: list[Notice]
    asks: list[Ask]
    lacks: list[Lack]
    """Of each ask its lack."""
    dirty: dict[Window, tuple[Purse, Place]]


def counted(rule: Rule) -> str:
    """Names what a rule counts: the same in all gateways and versions whose configurations count the same under its
    name, whatever the limit is."""
    source = rule.source
    clock = (getattr(source, "timezone", ""), getattr(source, "week_start", ""))
    units = tuple(UNITS[unit] for unit in rule.units)
    said = repr((rule.match, rule.per, rule.window_name, clock, units, rule.blocking))
    return f"{rule.name}@{hashlib.sha256(said.encode()).hexdigest()[:16]}"


class Fund:
    """``wake`` is called when there is something to drain; ``closed`` answers whether it is not known yet what was
    used of an account."""

    def __init__(self, wake: Callable[[], None], now_ns: Callable[[], int], closed: Callable[[Account], bool]) -> None:
        self._wake = wake
        self._now_ns = now_ns
        self._closed = closed
        self._purses: dict[Counter, Purse] = {}
        self._names: dict[str, str] = {}
        self._moved: set[Purse] = set()
        self._dirty: dict[Window, tuple[Purse, Place]] = {}
        self._lacks: list[Lack] = []
        self._waiting: list[Lack] = []
        """Lacks for which other gateways were asked to give back."""
        self._notices: list[Notice] = []
        self._stood: set[tuple[Account, int]] = set()
        self._told: dict[Window, int] = {}
        self.unreachable = False
        """The store did not do what it was asked last."""
        self._ended = False

    # what the lender asks

    def free(self, account: Account, position: int, start_ns: int) -> int:
        """What the gateway has taken and not lent."""
        purse = self._purse(account)
        free = purse.taken.get(_place(account, position, start_ns), 0) - _needed(purse, position, start_ns)
        return min(0, free) if self._ended else free

    def left(self, account: Account, position: int, start_ns: int) -> int:
        """What others may take beside, as far as the store said."""
        return max(0, self._purse(account).free.get(_place(account, position, start_ns), 0))

    def lack(self, account: Account, position: int, start_ns: int, amount: int, then: Callable[[bool], None]) -> None:
        """Ask the store for ``amount``, and other gateways where it has too little. What there is here and does not
        suffice goes back first: two that both hold a part would wait for each other."""
        if self._ended:
            then(False)
            return
        self._lacks.append(Lack(account, position, start_ns, amount, self._now_ns() + PATIENCE_NS, then))
        self._wake()

    # what the lender tells

    def moved(self, account: Account) -> None:
        """What is lent of it, or settled, changed."""
        self._moved.add(self._purse(account))
        self._wake()

    def stood(self, account: Account, start_ns: int) -> None:
        """What is used of it changed."""
        self._stood.add((account, start_ns))

    def dropped(self, account: Account) -> None:
        """Its rule holds no longer. What was taken stays so: the same may be counted under another limit."""
        self._part(account)

    def forgotten(self, account: Account) -> None:
        """Nothing is used of it any more."""
        purse, counter = self._purse(account), self._counter(account)
        self._part(account)
        if counter not in self._purses:
            for place, amount in purse.taken.items():
                if amount and account.rule.units[place[0]] == CONCURRENT:
                    purse.taken[place] = 0
                    self._soil(account, purse, place)

    def _part(self, account: Account) -> None:
        purse = self._purse(account)
        purse.accounts.remove(account)
        self._stood = {(one, start) for one, start in self._stood if one is not account}
        if not purse.accounts:
            del self._purses[self._counter(account)]
            self._moved.discard(purse)

    def loosened(self, account: Account) -> None:
        """The gateway's processes have given back all slack, as they were asked to."""
        purse = self._purse(account)
        if purse.asked_back:
            purse.tight = purse.given_back = True
            self._moved.add(purse)
            self._wake()

    def end(self) -> None:
        """Somebody else speaks for this gateway: nothing of what it has may be lent any more."""
        self._ended = self.unreachable = True

    # what is said to the store

    def drained(self) -> Drained:
        """What is to be said now; what is not done of it is to be told by ``failed``."""
        loosened: list[Counter] = []
        lacking = {purse for lack in self._lacks if (purse := self._purses.get(self._counter(lack.account)))}
        moved = self._moved | lacking
        self._moved = {purse for purse in moved if self._unknown(purse)}
        for purse in moved - self._moved:
            self._square(purse, lower=purse.tight or purse in lacking)
            if purse.given_back:
                purse.asked_back = purse.given_back = purse.slack = False
                counter = self._counter(purse.accounts[0])
                loosened.append(counter)
                self._say(Notice(False, *counter))
        dirty = {window: where for window, where in self._dirty.items() if not self._unknown(where[0])}
        self._dirty = {window: where for window, where in self._dirty.items() if window not in dirty}
        notices, self._notices = self._notices, []
        lacks, self._lacks = self._lacks, []
        taken = [Taken(window, purse.taken.get(place, 0)) for window, (purse, place) in dirty.items()]
        return Drained(taken, loosened, notices, [self._ask(lack) for lack in lacks], lacks, dirty)

    def everything(self) -> list[Taken]:
        """All that the gateway has taken."""
        for purse in self._purses.values():
            self._square(purse, lower=purse.tight)
        self.stood_again()
        return [
            Taken(_window(purse.accounts[0], counter[0], *place), amount)
            for counter, purse in self._purses.items()
            for place, amount in purse.taken.items()
            if amount
        ]

    def give_all(self) -> None:
        """At the end: nothing more will be used."""
        for purse in self._purses.values():
            purse.tight = True
            self._moved.add(purse)

    def lent(self, lacks: Sequence[Lack], answers: Sequence[Lent]) -> None:
        """The store has answered."""
        self.unreachable = False
        now_ns = self._now_ns()
        for lack, answer in zip(lacks, answers, strict=True):
            account, place = lack.account, _place(lack.account, lack.position, lack.start_ns)
            purse = self._purses.get(self._counter(account))
            if purse is None or account not in purse.accounts:
                # a reload has put another in its place
                if purse is not None:
                    self._soil(account, purse, place)
                lack.then(False)
                continue
            purse.free[place] = answer.free
            if answer.amount:
                purse.taken[place] = purse.taken.get(place, 0) + answer.amount
                purse.tight = answer.amount == lack.amount
                purse.slack = purse.slack or not purse.tight
                lack.then(True)
            elif answer.elsewhere and now_ns < lack.until_ns:
                self._waiting.append(lack)
                self._say(Notice(True, *self._counter(account)))
                self._wake()
            else:
                purse.tight = True
                self._moved.add(purse)
                lack.then(False)

    def failed(self, drained: Drained) -> None:
        """The store could not be reached: it is not known what of this was done, and will be said again."""
        self.unreachable = True
        self._dirty = {**drained.dirty, **self._dirty}
        for counter in drained.loosened:
            purse = self._purses.get(counter)
            if purse is not None:
                purse.asked_back = purse.given_back = True
                self._moved.add(purse)
        for lack in drained.lacks:
            purse = self._purses.get(self._counter(lack.account))
            if purse is not None:
                self._soil(lack.account, purse, _place(lack.account, lack.position, lack.start_ns))
            lack.then(False)

    # what others say

    def heard(self, notice: Notice) -> list[Account]:
        """Another gateway is short of a counter, or gave something of it back: the accounts whose slack the lender is
        to call back (it says ``loosened`` then), or for which there may be room now."""
        purse = self._purses.get((notice.rule, notice.bucket))
        if purse is None or (notice.recall and not purse.slack):
            return []
        if notice.recall:
            purse.asked_back = True
        else:
            self.again(purse.accounts)
        return list(purse.accounts)

    def again(self, accounts: Sequence[Account] | None = None) -> None:
        """Ask once more for what others were asked to give back; of these accounts, or of all."""
        known = self._waiting
        self._waiting = [lack for lack in known if accounts is not None and lack.account not in accounts]
        self._lacks += [lack for lack in known if accounts is None or lack.account in accounts]
        if self._lacks:
            self._wake()

    def stands(self) -> list[Stand]:
        """What is used of the windows in which something changed since the last call."""
        found = []
        for account, start in self._stood:
            share = account.share(start)
            for position, unit in enumerate(account.rule.units):
                if unit == CONCURRENT:
                    continue
                window = _window(account, self._name(account), position, start)
                used = share.used_here(position)
                if self._told.get(window) != used:
                    self._told[window] = used
                    found.append(Stand(window, used, 0))
        self._stood.clear()
        return found

    def stood_again(self) -> None:
        """It is not known whether what ``stands`` said was heard: all is said once more."""
        self._told.clear()
        accounts = [account for purse in self._purses.values() for account in purse.accounts]
        self._stood = {(account, start) for account in accounts for start in account.starts()}

    def others(self, stands: Iterable[Stand], account_of: Callable[[str, str], Account | None]) -> None:
        """How other gateways stand. ``account_of`` answers the account of a counter, if there is or may be one."""
        for stand in stands:
            window = stand.window
            account = account_of(window.rule, window.bucket)
            if account is None or window.unit not in account.rule.units or window.unit == CONCURRENT:
                continue
            account.share(window.start_ns).elsewhere[account.rule.units.index(window.unit)] = stand.used

    def tidy(self) -> None:
        """Forget what was taken of windows that the lender has forgotten."""
        self._names.clear()
        for purse in self._purses.values():
            kept = {start for account in purse.accounts for start in account.starts()}
            for place in [place for place in purse.taken if place[1] not in kept]:
                if purse.accounts[0].rule.units[place[0]] != CONCURRENT:
                    del purse.taken[place]
            purse.free = {place: free for place, free in purse.free.items() if place in purse.taken}
        self._told = {window: used for window, used in self._told.items() if window.end_ns > self._now_ns()}

    def _purse(self, account: Account) -> Purse:
        counter = self._counter(account)
        purse = self._purses.get(counter)
        if purse is None:
            purse = self._purses[counter] = Purse()
        if account not in purse.accounts:
            purse.accounts.append(account)
        return purse

    def _counter(self, account: Account) -> Counter:
        return self._name(account), account.bucket

    def _name(self, account: Account) -> str:
        known = self._names.get(account.name)
        if known is None:
            known = self._names[account.name] = counted(account.rule)
        return known

    def _unknown(self, purse: Purse) -> bool:
        """What was used before is still being found out: it must not be said that less was taken."""
        return any(self._closed(account) for account in purse.accounts)

    def _say(self, notice: Notice) -> None:
        if notice not in self._notices:
            self._notices.append(notice)

    def _square(self, purse: Purse, *, lower: bool) -> None:
        """Take what was used beyond what was taken; with ``lower``, give back what nobody needs."""
        account = purse.accounts[0]
        if not account.rule.blocking:
            return
        starts = {start for one in purse.accounts for start in one.starts()}
        for position, unit in enumerate(account.rule.units):
            for start in (0,) if unit == CONCURRENT else starts:
                place = (position, start)
                needed, taken = _needed(purse, position, start), purse.taken.get(place, 0)
                if needed > taken or (lower and needed < taken):
                    purse.taken[place] = needed
                    self._soil(account, purse, place)
                    if needed < taken:
                        self._say(Notice(False, *self._counter(account)))

    def _soil(self, account: Account, purse: Purse, place: Place) -> None:
        self._dirty[_window(account, self._name(account), *place)] = (purse, place)

    def _ask(self, lack: Lack) -> Ask:
        rule = lack.account.rule
        place = _place(lack.account, lack.position, lack.start_ns)
        window = _window(lack.account, self._name(lack.account), *place)
        return Ask(window, lack.amount, rule.limit(lack.position, self._now_ns()), rule.limits[lack.position])


def _place(account: Account, position: int, start_ns: int) -> Place:
    return (position, 0 if account.rule.units[position] == CONCURRENT else start_ns)


def _needed(purse: Purse, position: int, start_ns: int) -> int:
    """Settled, and lent to the gateway's processes."""
    if purse.accounts[0].rule.units[position] == CONCURRENT:
        return sum(account.flights() for account in purse.accounts)
    return sum(account.share(start_ns).taken(position) for account in purse.accounts)


def _window(account: Account, name: str, position: int, start_ns: int) -> Window:
    rule = account.rule
    unit = rule.units[position]
    if unit == CONCURRENT:
        return Window(name, account.bucket, unit, 0, FOREVER)
    return Window(name, account.bucket, unit, start_ns, account.share(start_ns).end_ns, rule.rolling_ns)

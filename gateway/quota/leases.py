"""Quotas shared by several processes: one lends, each of the others spends only what it was lent.

The lender keeps, for each counter and window, what is settled and what every process holds. A slice is subtracted
before it is used, so settled + lent <= limit holds whatever the processes do, and when one of them dies. Slices are
shares of what is left: large while there is plenty, single calls near the limit, where all slack of the others is
called back before anybody is told that there is no room. Pure: messages go out through ``send``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from gateway.quota.rule import CONCURRENT, Rule

SHARE = 4
"""A slice is, of what is left beside the call, one part in so many for each process."""
PAST_NS = 600_000_000_000
"""So long after its end a window is remembered, for calls that were reserved in it."""

PATIENCE_NS = 1_000_000_000
"""So long a process has to give slack back."""


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


Send = Callable[[int, "Answer | Recall | Freed"], None]
Key = tuple[str, str]


class Share:
    """One window of one counter: what was settled before or by processes that are gone, and each process's part."""

    __slots__ = ("base", "end_ns", "held", "stands")

    def __init__(self, units: int, end_ns: int) -> None:
        self.end_ns = end_ns
        self.base = [0] * units
        self.held: dict[int, list[int]] = {}
        self.stands: dict[int, Stand] = {}

    def taken(self, position: int) -> int:
        return self.base[position] + sum(held[position] for held in self.held.values())

    def used(self, position: int) -> int:
        return self.base[position] + sum(stand.used[position] for stand in self.stands.values())

    def reserved(self, position: int) -> int:
        return sum(stand.reserved[position] for stand in self.stands.values())


class Account:
    """One counter as the lender sees it."""

    __slots__ = ("bucket", "flying", "hungry", "loose", "name", "recalled", "rule", "shares", "waiting")

    def __init__(self, name: str, rule: Rule, bucket: str) -> None:
        self.name = name
        """The rule's identity."""
        self.rule = rule
        self.bucket = bucket
        self.shares: dict[int, Share] = {}
        self.flying: dict[int, int] = {}
        """Calls at a time that each process may have: they belong to no window."""
        self.loose: set[int] = set()
        """Processes that may have slack."""
        self.recalled: set[int] = set()
        """Processes that were asked for their slack and have not answered."""
        self.waiting: list[tuple[Claim, int, Want]] = []
        self.hungry: set[int] = set()
        """Processes that got nothing and may have calls in line."""

    def share(self, start_ns: int) -> Share:
        found = self.shares.get(start_ns)
        if found is None:
            found = self.shares[start_ns] = Share(len(self.rule.units), self.rule.window(start_ns)[1])
        return found

    def counting(self, start_ns: int) -> Iterable[Share]:
        """The windows that count for a call reserved in the one that begins at ``start_ns``. Of a rolling window also
        the parts behind it: a process may be late, and what it wants counts together with what is used in those."""
        rolling = self.rule.rolling_ns
        own = self.share(start_ns)
        if not rolling:
            return (own,)
        until = own.end_ns + rolling
        return [share for start, share in self.shares.items() if start < until and start_ns < share.end_ns + rolling]

    def free(self, position: int, start_ns: int, now_ns: int) -> int:
        limit = self.rule.limit(position, now_ns)
        if self.rule.units[position] == CONCURRENT:
            return limit - sum(self.flying.values())
        return limit - sum(share.taken(position) for share in self.counting(start_ns))

    def used(self, position: int, start_ns: int) -> int:
        if self.rule.units[position] == CONCURRENT:
            return 0
        return sum(share.used(position) for share in self.counting(start_ns))

    def hold(self, process: int, position: int, start_ns: int, amount: int) -> None:
        """Lend ``amount`` more, or less."""
        if self.rule.units[position] == CONCURRENT:
            self.flying[process] = self.flying.get(process, 0) + amount
        else:
            held = self.share(start_ns).held.setdefault(process, [0] * len(self.rule.units))
            held[position] += amount


class Claim:
    """The wants of one call, until all of them are answered."""

    __slots__ = ("given", "left", "number", "process")

    def __init__(self, process: int, number: int, wants: int) -> None:
        self.process = process
        self.number = number
        self.left = wants
        self.given: list[Given] = [NOTHING] * wants


NOTHING = Given(0, 0, 0, True)


class Lender:
    """Lends to the processes that have joined. ``rules`` by identity; ``max_accounts`` bounds what callers choose."""

    def __init__(self, send: Send, max_accounts: int, now_ns: Callable[[], int]) -> None:
        self._send = send
        self._now_ns = now_ns
        self._max = max_accounts
        self._processes: set[int] = set()
        self.rules: dict[str, Rule] = {}
        self._closed: set[str] = set()
        """Rules of which it is not known yet what was used: who wants of them waits."""
        self.accounts: dict[Key, Account] = {}
        self._calling: dict[Account, int] = {}
        """Accounts whose slack is called back -> since when."""
        self.touched: set[Account] = set()
        """Accounts that stand otherwise than when somebody last looked (and cleared this)."""

    def bound(self, max_accounts: int) -> None:
        """So many accounts at most."""
        self._max = max_accounts

    def use(self, rules: dict[str, Rule]) -> None:
        """These rules hold. The new ones lend nothing before ``open``."""
        self._closed = {known for known in rules if known not in self.rules or known in self._closed}
        self.rules = rules
        for key in [key for key in self.accounts if key[0] not in rules]:
            account = self.accounts.pop(key)
            self._calling.pop(account, None)
            self.touched.discard(account)
            for claim, place, _ in account.waiting:
                self._told(claim, place, NOTHING)
        for key, account in self.accounts.items():
            account.rule = rules[key[0]]

    def open(self) -> None:
        """What was used is known of all rules."""
        closed, self._closed = self._closed, set()
        for (rule, _), account in list(self.accounts.items()):
            if rule in closed and not account.recalled:
                self._answer_waiting(account)

    def join(self, process: int) -> None:
        self._processes.add(process)

    def leave(self, process: int) -> None:
        """A process has ended. What it held stays lent until ``settled`` says what it had used."""
        self._processes.discard(process)
        for account in list(self.accounts.values()):
            account.loose.discard(process)
            account.hungry.discard(process)
            account.waiting = [entry for entry in account.waiting if entry[0].process != process]
            if process in account.recalled:
                self._answered(account, process)

    def settled(
        self, windows: dict[str, set[int]], rows: dict[tuple[str, str, int], list[int]], gone: set[int]
    ) -> None:
        """What is settled and no living process counts as its own, for all counters in ``windows`` (rule → starts);
        absent: nothing. What processes that are ``gone`` held comes back with it, in one step."""
        for account in self.accounts.values():
            for process in gone:
                account.flying.pop(process, None)
            for share in account.shares.values():
                for process in gone:
                    share.held.pop(process, None)
                    share.stands.pop(process, None)
        for (rule, _), account in self.accounts.items():
            for start in windows.get(rule, set()) & account.shares.keys():
                account.shares[start].base = [0] * len(account.rule.units)
        for (rule, bucket, start), used in rows.items():
            if rule in self.rules:
                self._account(rule, bucket).share(start).base = list(used)
        self.touched.update(self.accounts.values())
        for account in list(self.accounts.values()):
            self._fed(account)

    def claim(self, process: int, number: int, wants: Sequence[Want]) -> None:
        """Answer a claim, now or when others have given their slack back."""
        claim = Claim(process, number, len(wants))
        for place, want in enumerate(wants):
            if want.rule not in self.rules or self._full(want):
                self._told(claim, place, NOTHING)
                continue
            account = self._account(want.rule, want.bucket)
            if want.rule in self._closed or account.recalled:
                account.waiting.append((claim, place, want))
                continue
            given = self._given(account, claim.process, want)
            if given is None:
                account.waiting.append((claim, place, want))
                self._call_back(account, process)
            else:
                self._told(claim, place, given)

    def back(self, process: int, backs: Iterable[Back]) -> None:
        """Slack came back, or was taken beyond a slice."""
        for one in backs:
            if one.rule in self.rules:
                account = self._account(one.rule, one.bucket)
                account.hold(process, one.position, one.start_ns, -one.amount)
                if one.amount > 0:
                    self._fed(account)

    def gave(self, process: int, rule: str, bucket: str) -> None:
        """A process has given back all slack of a counter, as it was asked to."""
        account = self.accounts.get((rule, bucket))
        if account is not None:
            account.loose.discard(process)
            self._answered(account, process)

    def stand(self, process: int, stands: Iterable[Stand]) -> None:
        """How a process stands."""
        for one in stands:
            if one.rule in self.rules:
                account = self._account(one.rule, one.bucket)
                account.share(one.start_ns).stands[process] = one
                self.touched.add(account)

    def overdue(self, now_ns: int) -> None:
        """Called some times a second: who waits for a process that does not answer is told that there is no room."""
        for account in [account for account, since in self._calling.items() if now_ns - since > PATIENCE_NS]:
            account.recalled.clear()
            self._answer_waiting(account)

    def tidy(self, now_ns: int) -> None:
        """Forget windows that are long past, and accounts with none. Called now and then."""
        for key, account in list(self.accounts.items()):
            past = now_ns - PAST_NS - account.rule.rolling_ns
            for start in [start for start, share in account.shares.items() if share.end_ns < past]:
                del account.shares[start]
            if not (account.shares or any(account.flying.values()) or account.waiting or account.recalled):
                del self.accounts[key]
                self.touched.discard(account)

    def _account(self, rule: str, bucket: str) -> Account:
        account = self.accounts.get((rule, bucket))
        if account is None:
            account = self.accounts[rule, bucket] = Account(rule, self.rules[rule], bucket)
        return account

    def _full(self, want: Want) -> bool:
        """No more counters may be had whose names callers choose."""
        return bool(want.bucket) and len(self.accounts) >= self._max and (want.rule, want.bucket) not in self.accounts

    def _given(self, account: Account, process: int, want: Want, *, last: bool = False) -> Given | None:
        """What is lent for a want; None: the others must first give their slack back."""
        free = account.free(want.position, want.start_ns, self._now_ns())
        used = account.used(want.position, want.start_ns)
        if free < want.amount:
            if not last and account.loose - {process}:
                return None
            if account.rule.queue_seconds:
                account.hungry.add(process)
            return Given(0, free, used, True)
        # a raise ends: what is lent of it is lent by the call, and only when nobody has slack of what goes on to hold
        lasting = free - account.rule.limit(want.position, self._now_ns()) + account.rule.limits[want.position]
        if lasting < want.amount and not last and account.loose - {process}:
            return None
        more = (lasting - want.amount) // (SHARE * max(1, len(self._processes)))
        tight = more < want.amount
        amount = want.amount if tight else want.amount + more
        if not tight:
            account.loose.add(process)
        account.hold(process, want.position, want.start_ns, amount)
        return Given(amount, free - amount, used, tight)

    def _call_back(self, account: Account, asker: int) -> None:
        account.recalled = account.loose - {asker}
        self._calling[account] = self._now_ns()
        for process in list(account.recalled):
            self._send(process, Recall(account.name, account.bucket))

    def _answered(self, account: Account, process: int) -> None:
        account.recalled.discard(process)
        if not account.recalled and account.name not in self._closed:
            self._answer_waiting(account)

    def _answer_waiting(self, account: Account) -> None:
        self._calling.pop(account, None)
        waiting, account.waiting = account.waiting, []
        for claim, place, want in waiting:
            given = self._given(account, claim.process, want, last=True)
            assert given is not None
            self._told(claim, place, given)

    def _told(self, claim: Claim, place: int, given: Given) -> None:
        claim.given[place] = given
        claim.left -= 1
        if not claim.left and claim.process in self._processes:
            self._send(claim.process, Answer(claim.number, claim.given))

    def _fed(self, account: Account) -> None:
        hungry, account.hungry = account.hungry, set()
        for process in hungry:
            self._send(process, Freed())

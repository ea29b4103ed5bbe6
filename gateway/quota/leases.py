"""Quotas shared by several processes: one lends, each of the others spends only what it was lent.

The lender keeps, for each counter and window, what is settled and what every process holds. A slice is subtracted
before it is used, so settled + lent <= limit holds whatever the processes do, and when one of them dies. Slices are
shares of what is left: large while there is plenty, single calls near the limit, where all slack of the others is
called back before anybody is told that there is no room. Pure: messages go out through ``send``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.quota.accounts import NOTHING, Account, Claim
from gateway.quota.fund import Fund, counted
from gateway.quota.rule import Rule
from gateway.quota.slices import Answer, Back, Freed, Given, Recall, Stand, Want
from gateway.sharing.store import Notice
from gateway.sharing.store import Stand as FundStand

SHARE = 4
"""A slice is, of what is left beside the call, one part in so many for each process."""
PAST_NS = 600_000_000_000
"""So long after its end a window is remembered, for calls that were reserved in it."""

PATIENCE_NS = 1_000_000_000
"""So long a process has to give slack back."""
Send = Callable[[int, "Answer | Recall | Freed"], None]
Key = tuple[str, str]


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
        self.fund: Fund | None = None
        """Where several gateways share the limits."""
        self._calling: dict[Account, int] = {}
        """Accounts whose slack is called back -> since when."""
        self.touched: set[Account] = set()
        """Accounts that stand otherwise than when somebody last looked (and cleared this)."""

    def bound(self, max_accounts: int) -> None:
        """So many accounts at most."""
        self._max = max_accounts

    @property
    def settling(self) -> bool:
        """Of some rule it is not known yet what was used."""
        return bool(self._closed)

    def is_closed(self, name: str) -> bool:
        """It is not known yet what was used of this rule."""
        return name in self._closed

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
            if self.fund is not None:
                self.fund.dropped(account)
        for key, account in self.accounts.items():
            account.rule = rules[key[0]]

    def open(self) -> None:
        """What was used is known of all rules."""
        closed, self._closed = self._closed, set()
        for (rule, _), account in list(self.accounts.items()):
            if self.fund is not None:
                self.fund.moved(account)
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
                self._answer(account, claim, place, given, want)

    def back(self, process: int, backs: Iterable[Back]) -> None:
        """Slack came back, or was taken beyond a slice."""
        for one in backs:
            if one.rule in self.rules:
                account = self._account(one.rule, one.bucket)
                account.hold(process, one.position, one.start_ns, -one.amount)
                if self.fund is not None:
                    self.fund.moved(account)
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
                if self.fund is not None:
                    self.fund.stood(account, one.start_ns)

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
                if self.fund is not None:
                    self.fund.forgotten(account)
        if self.fund is not None:
            self.fund.tidy()

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
        free, beside = self._free(account, want)
        used = account.used(want.position, want.start_ns)
        if free < want.amount:
            if not last and account.loose - {process}:
                return None
            if account.rule.queue_seconds:
                account.hungry.add(process)
            return Given(0, free + beside, used, True, self.fund is not None and self.fund.unreachable)
        lasting = free
        if self.fund is None:
            # a raise ends: what is lent of it is lent by the call, and only when nobody has slack of what goes on to
            # hold
            lasting += account.rule.limits[want.position] - account.rule.limit(want.position, self._now_ns())
        if lasting < want.amount and not last and account.loose - {process}:
            return None
        more = (lasting - want.amount) // (SHARE * max(1, len(self._processes)))
        tight = more < want.amount
        amount = want.amount if tight else want.amount + more
        if not tight:
            account.loose.add(process)
        account.hold(process, want.position, want.start_ns, amount)
        return Given(amount, free - amount + beside, used, tight)

    def _free(self, account: Account, want: Want) -> tuple[int, int]:
        """What can be lent here, and what may be had of the store that gateways share."""
        fund = self.fund
        if fund is None:
            return account.free(want.position, want.start_ns, self._now_ns()), 0
        return fund.free(account, want.position, want.start_ns), fund.left(account, want.position, want.start_ns)

    def _answer(self, account: Account, claim: Claim, place: int, given: Given, want: Want) -> None:
        """Tell what is given; where that is nothing and gateways share, first ask the store for what lacks."""
        fund = self.fund
        if given.amount or fund is None:
            self._told(claim, place, given)
            return

        def asked(lent: bool) -> None:
            if self.accounts.get((account.name, account.bucket)) is not account:
                # a reload has put another in its place
                self._told(claim, place, NOTHING)
                return
            found = self._given(account, claim.process, want, last=True)
            assert found is not None
            if lent:
                self._answer(account, claim, place, found, want)
            else:
                self._told(claim, place, found)

        fund.lack(account, want.position, want.start_ns, want.amount, asked)

    # other gateways

    def noticed(self, notice: Notice) -> None:
        """Another gateway is short of a counter, or gave something of it back."""
        assert self.fund is not None
        for found in self.fund.heard(notice):
            account = self.accounts[found.name, found.bucket]
            if not notice.recall:
                self._fed(account)
            elif account.loose and not account.recalled:
                self._call_back(account, None)
            elif not account.recalled:
                self.fund.loosened(account)

    def end(self) -> None:
        """Another gateway has what this one had: nothing more is lent, and slack is called back."""
        assert self.fund is not None
        self.fund.end()
        for account in self.accounts.values():
            if account.loose and not account.recalled:
                self._call_back(account, None)

    def elsewhere(self, stands: Iterable[FundStand]) -> None:
        """How other gateways stand."""
        assert self.fund is not None
        by_name = {counted(rule): name for name, rule in self.rules.items()}

        def account_of(rule: str, bucket: str) -> Account | None:
            name = by_name.get(rule)
            if name is None or (bucket and (name, bucket) not in self.accounts and len(self.accounts) >= self._max):
                return None
            account = self._account(name, bucket)
            self.touched.add(account)
            return account

        self.fund.others(stands, account_of)

    def _call_back(self, account: Account, asker: int | None) -> None:
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
            self._answer(account, claim, place, given, want)
        if self.fund is not None:
            self.fund.loosened(account)

    def _told(self, claim: Claim, place: int, given: Given) -> None:
        claim.given[place] = given
        claim.left -= 1
        if not claim.left and claim.process in self._processes:
            self._send(claim.process, Answer(claim.number, claim.given))

    def _fed(self, account: Account) -> None:
        hungry, account.hungry = account.hungry, set()
        for process in hungry:
            self._send(process, Freed())

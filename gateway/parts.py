"""Everything a call needs, put together once. A reload makes a new ``Parts``; calls in flight keep theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from gateway.config.schema import AttributionConfig, OnDisconnectConfig
from gateway.identity.guard import Guard
from gateway.identity.ring import KeyRing
from gateway.ledger.record import Record
from gateway.ledger.store import Store
from gateway.ports import Clock
from gateway.quota.engine import Quotas
from gateway.quota.waiting import WaitingLine
from gateway.routing import Router
from gateway.tokens.counter import Counter
from gateway.tokens.estimate import Estimator
from gateway.tracing import TraceContext
from pricing.book import PriceBook
from pricing.models import ModelTable

T = TypeVar("T")


class Offload(Protocol):
    """Runs ``work`` away from the event loop; ``then`` gets its result on the loop. A failure is logged and
    answered by ``fallback``."""

    def __call__(self, work: Callable[[], T], fallback: T, then: Callable[[T], None]) -> None: ...


class Observer(Protocol):
    """Who is told of calls: metrics and the log."""

    def started(self, provider: str) -> None: ...

    def settled(self, record: Record, dialect: str) -> None: ...

    def refused(self, record: Record, reason: str) -> None: ...

    def exceeded(self, dialect: str, api: str) -> None:
        """A call used more than its bound."""
        ...

    def failed(self, request_id: str, provider: str, failure: str, detail: str) -> None: ...

    def preflight(self, provider: str, result: str) -> None:
        """A browser's question before a call, and who answers it."""
        ...


class Parts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    router: Router
    keys: KeyRing
    guard: Guard
    attribution: AttributionConfig
    quotas: Quotas
    line: WaitingLine
    book: PriceBook
    models: ModelTable
    ledger: Store
    clock: Clock
    counter: Counter
    estimator: Estimator
    observer: Observer
    offload: Offload
    new_id: Callable[[], str]
    on_disconnect: OnDisconnectConfig
    max_body_bytes: int
    """Of a request's body, also without its content coding."""
    secure: bool
    """The data plane speaks TLS."""
    ready: Callable[[], str]
    """Empty when calls may be served, else why not."""
    prompt_hash: Callable[[bytes], int] | None = None
    """Of a request's body, see ``gateway.ledger.prompts``; None: prompts are not told apart."""
    trace: Callable[[bytes], TraceContext] | None = None
    """The trace that a call belongs to, by the caller's ``traceparent``; None: calls are not traced."""
    answered: dict[tuple[str, str], str] = msgspec.field(default_factory=dict)
    """By provider and a model's name that has no price (a deployment, a profile, a router): the model that answered."""

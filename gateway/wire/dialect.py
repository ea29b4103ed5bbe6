"""What a dialect must say about its provider. Each provider is one module of ``gateway.wire.dialects``.

A dialect is pure: it reads bytes and answers values. One instance serves all calls of a
provider, so it holds no state of a call; that lives in the ``Meter`` it makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, final

import msgspec

from gateway.wire.facts import Facts
from gateway.wire.usage import Reading

LONGEST_RETRY_MS = 60_000
Header = tuple[bytes, bytes]
"""Name as it came (case kept) and value."""


class Auth(msgspec.Struct, frozen=True):
    """How a provider's own key travels: the header's name and what stands before the secret."""

    header: bytes = b"authorization"
    prefix: bytes = b"Bearer "


@final
class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why the gateway itself answers instead of the provider."""

    status: int
    """400, 401, 403, 404, 413, 429, 501 …"""
    code: str
    """For machines: ``invalid_api_key``, ``quota_exceeded``, ``model_not_allowed``, ``request_too_large``…"""
    message: str
    """One sentence for a person: what, where, how to mend it."""
    model: str = ""
    """The model that was asked for, where it is known by then."""
    retry_after_ms: int | None = None
    """A window that will reopen; None: a retry can't help."""
    limits: dict[str, str] = msgspec.field(default_factory=dict)
    """Rate-limit facts for the dialect's own headers: ``limit``, ``remaining``, ``reset`` (RFC 3339),
    ``reset_seconds``, ``unit`` (requests, tokens, input_tokens or output_tokens)."""

    @property
    def retry_helps(self) -> bool:
        """An SDK that waits and tries again by itself may get through. Some sleep as long as they are told, days and
        weeks too; most do so up to a minute."""
        return self.retry_after_ms is not None and self.retry_after_ms <= LONGEST_RETRY_MS


class Reply(msgspec.Struct, frozen=True):
    """A whole answer of the gateway's own."""

    status: int
    headers: Sequence[Header]
    body: bytes


class Meter(Protocol):
    """Follows one response. State is O(1) in the length of the response.

    Nothing a provider sends makes a meter raise: what it can't read it forwards and leaves uncounted.
    """

    undo_encoding: bool
    """True: ``feed`` returns decoded bytes, so the response's content-encoding header (and length) must go."""
    rewrites: bool
    """True: ``feed`` may return other bytes than it took, so the response's length must go."""

    @property
    def terminal(self) -> bool:
        """The provider's terminal event (``[DONE]``, ``message_stop``…) was in the bytes fed so far."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take body bytes as they came; answer those for the client (``data`` itself where nothing changes)."""
        ...

    def flush(self) -> bytes:
        """At the end of the body: bytes still held back for the client."""
        ...

    def reading(self) -> Reading:
        """What is known so far; final after ``flush``."""
        ...

    def sample(self) -> bytes:
        """The first decoded bytes, of an answer that reported its usage too: what estimates are learned from."""
        ...


class Dialect(Protocol):
    """One provider's ways."""

    kind: ClassVar[str]
    price_as: ClassVar[str]
    """Id of the price list that applies (pricing's catalogue)."""
    base_url: ClassVar[str]
    """The provider's public address, used when the configuration names none; empty: it must be named."""
    auth: ClassVar[Auth]
    regional_host: ClassVar[str]
    """Pattern of hosts that serve in one region alone, which its group names; empty: where a call is served stands in
    the request, or in the answer."""

    vocabularies: ClassVar[tuple[str, ...]]
    """Of OpenAI's (by tiktoken's names) those that models served here have: they are loaded before the first call."""

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        """Facts of a request. ``target`` is path and query below the provider's base URL, as it came."""
        ...

    def prepare(self, facts: Facts, target: bytes, body: bytes) -> bytes:
        """The body to send: asks a stream for its usage where the client did not; else ``body`` itself."""
        ...

    def clamp(self, facts: Facts, body: bytes, max_output: int) -> bytes | None:
        """The body with its output limit set to ``max_output`` tokens a choice; None: the operation has no limit."""
        ...

    def rename_model(self, facts: Facts, target: bytes, body: bytes, model: str) -> tuple[bytes, bytes]:
        """Target and body with another model's name (a routed alias)."""
        ...

    def meter(self, facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
        """A meter for the response with this head. Where ``facts.asks_usage`` is False it also takes out what
        ``prepare`` made the provider add."""
        ...

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        """The refusal in the shape of the provider's own errors."""
        ...

    def cut(self, facts: Facts, last: bytes) -> bytes | None:
        """Valid final bytes of a stream that ends here for lack of budget (finish reason ``length``). ``last``: the
        whole frames that came last. None: this operation can't be cut cleanly."""
        ...

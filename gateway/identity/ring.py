"""Virtual keys: looked up by the SHA-256 of their secret, which is all that is kept of it.

A look-up is one hash and one dict access, for known and unknown secrets alike: what a caller sends is never compared
with a secret, so the time it takes says nothing of one, and guessing costs the gateway no disk access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Literal, Protocol

import msgspec

from gateway.config.schema import KeyConfig
from gateway.config.values import moment_ns
from gateway.identity.principal import Principal

HIT_SECONDS = 1.0
"""A revoked key works no longer than this."""
MISS_SECONDS = 0.05
"""A new key is known after this, at most; so often, at most, unknown secrets make the ring look for new keys."""

Reason = Literal["", "unknown", "expired", "revoked"]


class StoredKey(msgspec.Struct, frozen=True):
    """A key made at run time."""

    digest: bytes
    """SHA-256 of the secret."""
    principal: Principal
    revoked: bool = False


class KeyStore(Protocol):
    """Keys that are made and revoked at run time."""

    def everything(self) -> Iterable[StoredKey]:
        """All keys."""
        ...

    def changes(self) -> Iterable[StoredKey]:
        """Keys that are new, or newly revoked, since the last call. Cheap where there are none; never raises."""
        ...


class KeyRing:
    """The keys of the configuration, and behind them those of the store."""

    def __init__(
        self,
        keys: Iterable[KeyConfig],
        store: KeyStore | None,
        *,
        monotonic: Callable[[], float],
        now_ns: Callable[[], int],
    ) -> None:
        self._configured = {digest: principal for key in keys for digest, principal in _secrets_of(key)}
        self._keys = dict(self._configured)
        self._revoked: set[bytes] = set()
        self._store = store
        self._monotonic = monotonic
        self._now_ns = now_ns
        self._looked = monotonic()
        self._newer: KeyRing | None = None
        self._take(store.everything() if store is not None else ())

    def identify(self, secret: str) -> Principal | None:
        """The owner of a key; None where it is unknown, expired or revoked."""
        hashed = sha256(secret.encode()).digest()
        found = self._keys.get(hashed)
        if self._store is not None:
            patience = HIT_SECONDS if found is not None else MISS_SECONDS
            if self._monotonic() - self._looked >= patience:
                self._refresh()
                found = self._keys.get(hashed)
        if found is not None and found.expires_ns is not None and self._now_ns() >= found.expires_ns:
            return None
        return found

    def replaced(self, newer: KeyRing) -> None:
        """From now on another ring holds."""
        if newer is not self:
            self._newer = newer

    def newest(self) -> KeyRing:
        """The ring that holds now: for what began under this one and goes on."""
        ring = self
        while ring._newer is not None:
            ring = ring._newer
        return ring

    def holds_until(self, principal: Principal) -> float:
        """How long what ``identify`` has just answered may be relied on without asking again, in monotonic seconds."""
        if principal.expires_ns is not None:
            return float("-inf")
        return float("inf") if self._store is None else self._looked + HIT_SECONDS

    def why(self, secret: str) -> Reason:
        """Why ``identify`` knows no owner; empty where it does."""
        if self.identify(secret) is not None:
            return ""
        hashed = sha256(secret.encode()).digest()
        if hashed in self._keys:
            return "expired"
        return "revoked" if hashed in self._revoked else "unknown"

    def _refresh(self) -> None:
        self._looked = self._monotonic()
        if self._store is None:
            return
        self._take(self._store.changes())

    def _take(self, keys: Iterable[StoredKey]) -> None:
        for key in keys:
            if key.digest in self._configured:
                # what the operator wrote down counts
                continue
            if key.revoked:
                self._keys.pop(key.digest, None)
                self._revoked.add(key.digest)
            else:
                self._keys[key.digest] = key.principal


def _secrets_of(key: KeyConfig) -> Iterator[tuple[bytes, Principal]]:
    """The digest of each secret that a key has, with whom it stands for: the old one ends before the key does."""
    principal = _principal(key)
    if key.old_expires is not None and (key.old_secret is not None or key.old_hash is not None):
        ends = moment_ns(key.old_expires)
        ends = ends if principal.expires_ns is None else min(ends, principal.expires_ns)
        yield _digest(key.old_secret, key.old_hash), msgspec.structs.replace(principal, expires_ns=ends)
    yield _digest(key.secret, key.hash), principal


def _digest(secret: str | None, hashed: str | None) -> bytes:
    if hashed is not None:
        return bytes.fromhex(hashed.removeprefix("sha256:"))
    return sha256((secret or "").encode()).digest()


def _principal(key: KeyConfig) -> Principal:
    return Principal(
        key_id=key.id,
        team=key.team,
        workflow=key.workflow,
        tags=tuple(sorted(key.tags.items())),
        models=key.models,
        providers=key.providers,
        expires_ns=moment_ns(key.expires) if key.expires is not None else None,
    )

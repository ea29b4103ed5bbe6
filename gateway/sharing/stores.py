"""Which store an address means."""

from __future__ import annotations

from gateway.sharing.store import LeaseStore, StoreUnavailable


def store_of(url: str) -> LeaseStore:
    """The store at ``url``, not connected yet. Raises ``StoreUnavailable`` where its client is not installed."""
    scheme = url.partition(":")[0]
    try:
        if scheme in ("postgresql", "postgres"):
            from gateway.sharing.postgresql import PostgresqlStore

            return PostgresqlStore(url)
        from gateway.sharing.redis import RedisStore

        return RedisStore(url)
    except ImportError as error:
        extra = "postgresql" if scheme.startswith("postgres") else "redis"
        raise StoreUnavailable(f"it needs a package that is not installed: pip install 'spendgate[{extra}]'") from error

"""Keys of the configuration and keys made at run time: who they belong to, and until when."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.config.schema import KeyConfig
from gateway.config.values import moment_ns
from gateway.identity.principal import Principal
from gateway.identity.ring import KeyRing
from gateway.identity.secret import PREFIX, digest, new_secret
from gateway.identity.store import SqliteKeyStore, insert_key, revoke_key
from gateway.ledger.connections import connect
from gateway.ledger.schema import migrate

NOW = moment_ns(datetime(2026, 11, 24, 12, tzinfo=UTC))


class Time:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now_ns(self) -> int:
        return NOW + int(self.seconds * 1e9)


def key(**values: object) -> KeyConfig:
    return KeyConfig.model_validate({"id": "k", "team": "search", "workflow": "ranking", **values})


def ring(*keys: KeyConfig, path: Path | None = None, time: Time | None = None) -> KeyRing:
    time = time or Time()
    store = SqliteKeyStore(path) if path is not None else None
    return KeyRing(keys, store, monotonic=time.monotonic, now_ns=time.now_ns)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    migrate(path)
    return path


def make(path: Path, key_id: str, **values: object) -> str:
    secret = new_secret()
    principal = Principal(key_id=key_id, team="t", workflow="w", **values)  # type: ignore[arg-type]
    connection = connect(path)
    insert_key(connection, principal, digest(secret), "", NOW)
    connection.close()
    return secret


def revoke(path: Path, key_id: str) -> bool:
    connection = connect(path)
    try:
        return revoke_key(connection, key_id, NOW)
    finally:
        connection.close()


def test_a_configured_key_is_known_by_its_secret_or_by_its_hash_alone() -> None:
    by_secret = ring(key(secret="sk-12345678", tags={"env": "prod"}, models=("gpt-*",)))
    found = by_secret.identify("sk-12345678")
    assert found is not None
    assert (found.key_id, found.team, found.workflow) == ("k", "search", "ranking")
    assert (found.tags, found.models) == ((("env", "prod"),), ("gpt-*",))
    hashed = "sha256:" + sha256(b"sk-12345678").hexdigest()
    assert ring(key(hash=hashed)).identify("sk-12345678") == found.__class__(
        key_id="k", team="search", workflow="ranking"
    )
    assert by_secret.identify(hashed) is None
    assert by_secret.identify("sk-1234567") is None
    assert by_secret.identify("") is None


def test_a_key_ends_at_its_moment_of_expiry() -> None:
    time = Time()
    keys = ring(key(secret="sk-12345678", expires=datetime(2026, 11, 24, 12, 0, 10, tzinfo=UTC)), time=time)
    time.seconds = 9.9
    assert keys.identify("sk-12345678") is not None
    time.seconds = 10.0
    assert keys.identify("sk-12345678") is None
    assert keys.why("sk-12345678") == "expired"
    assert keys.why("other") == "unknown"


@pytest.mark.parametrize("hashed", [False, True])
def test_an_old_secret_stands_for_the_same_key_until_its_end(hashed: bool) -> None:
    time = Time()
    old = {"old_hash": "sha256:" + sha256(b"sk-old-1234").hexdigest()} if hashed else {"old_secret": "sk-old-1234"}
    ends = datetime(2026, 11, 24, 12, 0, 10, tzinfo=UTC)
    keys = ring(key(secret="sk-new-1234", old_expires=ends, **old), time=time)
    found = [keys.identify(secret) for secret in ("sk-new-1234", "sk-old-1234")]
    assert [one.key_id for one in found if one is not None] == ["k", "k"]
    time.seconds = 10.0
    assert keys.identify("sk-new-1234") is not None
    assert keys.identify("sk-old-1234") is None
    assert keys.why("sk-old-1234") == "expired"


def test_an_old_secret_ends_no_later_than_its_key() -> None:
    time = Time()
    first, later = (datetime(2026, 11, 24, 12, 0, second, tzinfo=UTC) for second in (5, 30))
    keys = ring(key(secret="sk-new-1234", expires=first, old_secret="sk-old-1234", old_expires=later), time=time)
    time.seconds = 5.0
    assert keys.identify("sk-old-1234") is None


def test_a_key_made_while_the_gateway_runs_is_known_at_once(ledger: Path) -> None:
    time = Time()
    keys = ring(path=ledger, time=time)
    assert keys.identify("sk-sg-nobody") is None
    secret = make(ledger, "key_1", tags=(("env", "prod"),), providers=("openai",))
    time.seconds += 0.06
    found = keys.identify(secret)
    assert found is not None
    assert (found.key_id, found.tags, found.providers) == ("key_1", (("env", "prod"),), ("openai",))


def test_a_revoked_key_is_refused_within_a_second(ledger: Path) -> None:
    time = Time()
    secret = make(ledger, "key_1")
    other = make(ledger, "key_2")
    keys = ring(path=ledger, time=time)
    assert keys.identify(secret) is not None
    assert revoke(ledger, "key_1")
    assert not revoke(ledger, "key_1")
    time.seconds += 1.0
    assert keys.identify(secret) is None
    assert keys.why(secret) == "revoked"
    assert keys.identify(other) is not None


def test_keys_of_earlier_runs_are_known_from_the_start_and_expire(ledger: Path) -> None:
    time = Time()
    secret = make(ledger, "key_1", expires_ns=NOW + 5_000_000_000)
    keys = ring(path=ledger, time=time)
    assert keys.identify(secret) is not None
    time.seconds = 5.0
    assert keys.identify(secret) is None


def test_guessing_reads_the_disk_no_more_than_twenty_times_a_second(ledger: Path) -> None:
    time = Time()

    class Counting(SqliteKeyStore):
        looks = 0

        def changes(self):  # type: ignore[no-untyped-def]
            self.looks += 1
            return super().changes()

    store = Counting(ledger)
    keys = KeyRing([], store, monotonic=time.monotonic, now_ns=time.now_ns)
    for guess in range(10_000):
        time.seconds += 0.0001
        assert keys.identify(f"sk-sg-{guess}") is None
    assert store.looks <= 21


def test_known_keys_stay_known_while_the_ledger_can_not_be_read(ledger: Path) -> None:
    time = Time()
    secret = make(ledger, "key_1")
    keys = ring(path=ledger, time=time)
    content = ledger.read_bytes()
    for name in ledger.parent.iterdir():
        name.unlink()
    ledger.write_bytes(b"not a database" * 1000)
    time.seconds += 2
    assert keys.identify("unknown") is None
    assert keys.identify(secret) is not None
    ledger.write_bytes(content)


def test_secrets_are_random_and_kept_only_as_a_hash(ledger: Path) -> None:
    secret = make(ledger, "key_1")
    assert secret.startswith(PREFIX)
    assert len(secret) == len(PREFIX) + 43
    assert secret != new_secret()
    for file in ledger.parent.iterdir():
        assert secret.encode() not in file.read_bytes()
        assert secret.removeprefix(PREFIX).encode() not in file.read_bytes()

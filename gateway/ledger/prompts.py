"""What tells that a prompt was sent before, without keeping it: a keyed hash (BLAKE2b of its XXH3, 64 bits of it).

Who has the ledger alone can't try guesses against it: that takes the key, a file of its own beside the ledger.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from struct import Struct

from xxhash import xxh3_128_digest

KEY_BYTES = 32
_BYTES = 8


def key_path(ledger: Path) -> Path:
    """Where the key of a ledger lies."""
    return ledger.with_name(ledger.name + ".prompt-key")


def key_of(ledger: Path) -> bytes:
    """The key of a ledger; one is made where there is none, readable by its owner alone.

    Processes that make it at once agree on one. Raises ``ValueError`` where the file holds none, ``OSError``.
    """
    path = key_path(ledger)
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} must hold {KEY_BYTES} bytes: remove it, and a new one is made")
    return key


def prompt_hasher(key: bytes) -> Callable[[bytes], int]:
    """Answers a number of 64 bits, signed, never 0, for a request's body: the same for the same bytes."""
    number_of = Struct(">q").unpack
    keyed = hashlib.blake2b(key=key, digest_size=_BYTES)

    def hashed(body: bytes) -> int:
        # a prompt of 100 kB is read in a microsecond so, in fifty by a hash that withstands attacks: what hides the
        # prompt is the key, and who makes two prompts of one hash gains nothing
        own = keyed.copy()
        own.update(xxh3_128_digest(body))
        return number_of(own.digest())[0] or 1

    return hashed


def prompt_number(text: str) -> int:
    """The reverse of ``prompt_text``. Raises ``ValueError`` for what is no hash."""
    if len(text) != 2 * _BYTES:
        raise ValueError(f"a prompt's hash has {2 * _BYTES} hexadecimal digits")
    return int.from_bytes(bytes.fromhex(text), "big", signed=True)


def prompt_text(number: int) -> str:
    """The hash as a record shows it: 16 hexadecimal digits; empty for a call that has none."""
    return f"{number & 0xFFFF_FFFF_FFFF_FFFF:016x}" if number else ""

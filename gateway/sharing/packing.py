"""What both stores need to say windows and counters in words that any bytes fit into."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from urllib.parse import urlsplit

from gateway.sharing.store import Stand, Taken, Window

TIMEOUT_SECONDS = 2.0
"""No call takes longer, connecting included."""
PAST_NS = 600_000_000_000
"""So long after its end a window is kept, for what is settled late."""
FURTHEST_NS = (1 << 63) - 1


def raw(text: str) -> bytes:
    """Buckets come from callers: NUL and half surrogates too."""
    return text.encode("utf-8", "surrogatepass")


def cooked(data: bytes) -> str:
    """The text of ``raw``."""
    return data.decode("utf-8", "surrogatepass")


def counter_id(rule: str, bucket: str) -> bytes:
    """Of one length, however long the bucket."""
    name = raw(rule)
    return hashlib.sha256(b"%d:%b%b" % (len(name), name, raw(bucket))).digest()


def past_ns(window: Window) -> int:
    """From then on nothing counts together with what is taken of this window."""
    return min(window.end_ns + window.rolling_ns, FURTHEST_NS)


def latest(taken: Iterable[Taken]) -> list[Taken]:
    """Of several that speak of one window the last holds."""
    return list({one.window: one for one in taken}.values())


def used(stands: Iterable[Stand]) -> list[Taken]:
    """What is used, as amounts of windows."""
    return [Taken(stand.window, stand.used) for stand in stands]


def place(url: str) -> str:
    """Where a store is, without what lets one in."""
    return urlsplit(url).netloc.rpartition("@")[2] or urlsplit(url).path


def reason(error: BaseException) -> str:
    """One short line. An address may hold a password: what names one whole is left out."""
    line = str(error).strip().partition("\n")[0]
    if "://" in line or not line:
        return type(error).__name__
    return line[:200]

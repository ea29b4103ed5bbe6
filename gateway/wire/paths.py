"""Paths as providers route them: without the query, percent-decoded once, without empty or dot segments at the end."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import unquote_to_bytes


@lru_cache(maxsize=2048)
def plain_path(target: bytes) -> str:
    """The path of a target as text, for matching only: what is sent stays as it came."""
    path = unquote_to_bytes(target.partition(b"?")[0]).decode("utf-8", "replace")
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts)


def query_values(target: bytes, name: bytes) -> list[bytes]:
    """All values of a query parameter, as they came, however its name is written."""
    pairs = (pair.partition(b"=") for pair in target.partition(b"?")[2].split(b"&"))
    return [value for key, _, value in pairs if _is_named(key, name)]


def query_value(target: bytes, name: bytes) -> bytes:
    """The first value of a query parameter, as it came; empty where it is absent."""
    return next(iter(query_values(target, name)), b"")


def _is_named(key: bytes, name: bytes) -> bool:
    """Names may be percent-encoded, and some providers take them in any case."""
    return key == name or unquote_to_bytes(key).lower() == name


def with_query_value(target: bytes, name: bytes, value: bytes) -> bytes:
    """The target with another value of a query parameter that it has, every other byte as it came."""
    path, _, query = target.partition(b"?")
    pairs = [
        b"%b=%b" % (name, value) if _is_named(pair.partition(b"=")[0], name) else pair for pair in query.split(b"&")
    ]
    return path + b"?" + b"&".join(pairs)

"""Minimal edits of a raw JSON object: every byte that is not part of the edit stays as it came.

The object must be valid JSON; keys are told by their meaning, so an escaped key is the same key. Where a key comes more
than once every one of them is edited: parsers differ in which one they take.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gateway.wire.framing.json_scan import plain_key
from gateway.wire.json_escapes import has_escaped_letters, is_escaped

_TOKEN = re.compile(rb'["{}\[\]:,]')
_QUOTE, _BACKSLASH, _COLON = b'"\\:'
_SPACE = b" \t\r\n"
_SPACES = re.compile(rb"[ \t\r\n]*+")


class Member:
    """Where one top-level member stands: its ``key``, and the positions of key and value."""

    __slots__ = ("key", "key_start", "value_end", "value_start")

    def __init__(self, key: bytes, key_start: int, value_start: int, value_end: int) -> None:
        self.key = key
        self.key_start = key_start
        self.value_start = value_start
        self.value_end = value_end


def members(body: bytes) -> Iterator[Member]:
    """Top-level members of a JSON object, in order."""
    depth = 0
    key: bytes | None = None
    key_start = value_start = 0
    match = _TOKEN.search(body)
    while match is not None:
        start, at = match.span()
        first = body[start]
        if first == _QUOTE:
            at = _string_end(body, at)
            if depth == 1 and key is None:
                key, key_start = plain_key(body[start + 1 : at - 1]), start
        elif first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth == 0:
                if key is not None:
                    yield Member(key, key_start, value_start, _trim(body, start))
                return
        elif depth == 1 and first == _COLON:
            value_start = at
            while body[value_start : value_start + 1] in (b" ", b"\t", b"\r", b"\n"):
                value_start += 1
        elif depth == 1:
            if key is not None:
                yield Member(key, key_start, value_start, _trim(body, start))
            key = None
        match = _TOKEN.search(body, at)


def _string_end(body: bytes, at: int) -> int:
    """The position behind a string, from inside it; the body's end where it is not closed."""
    quote = body.find(b'"', at)
    while quote >= 0 and body[quote - 1] == _BACKSLASH and is_escaped(body, quote):
        quote = body.find(b'"', quote + 1)
    return quote + 1 or len(body)


def _trim(body: bytes, end: int) -> int:
    while end and body[end - 1] in _SPACE:
        end -= 1
    return end


def named(body: bytes, key: bytes) -> list[Member]:
    """The top-level members of this name."""
    if b'"' + key + b'"' not in body and not has_escaped_letters(body):
        return []
    return [member for member in members(body) if member.key == key]


def insert_first(body: bytes, member: bytes) -> bytes:
    """The object with ``member`` (``"key":value``) before its first one."""
    inside = body.find(b"{") + 1
    first = _SPACES.match(body, inside).end()  # type: ignore[union-attr]
    comma = b"" if body[first : first + 1] == b"}" else b","
    # a large body is copied once
    return b"".join((body[:inside], member, comma, memoryview(body)[inside:]))


def replace_values(body: bytes, found: Iterable[Member], value: bytes) -> bytes:
    """The object with the values of these members replaced by the raw ``value``."""
    return _spliced(body, [(member.value_start, member.value_end, value) for member in found])


def _spliced(body: bytes, changes: Iterable[tuple[int, int, bytes]]) -> bytes:
    """The body with other bytes between these positions, in one pass: a hostile body must not cost its square."""
    parts = []
    at = 0
    for start, end, new in changes:
        parts.append(body[at:start])
        parts.append(new)
        at = end
    parts.append(body[at:])
    return b"".join(parts)


def set_value(body: bytes, key: bytes, value: bytes) -> bytes:
    """The object with every top-level ``key`` set to the raw ``value``; inserted where there is none."""
    found = named(body, key)
    return replace_values(body, found, value) if found else insert_first(body, b'"%b":%b' % (key, value))


def set_inner(body: bytes, key: bytes, inner: bytes, value: bytes) -> bytes:
    """The object with ``inner`` set in the object ``key``; where that is absent or no object it becomes one."""
    found = named(body, key)
    if not found:
        return insert_first(body, b'"%b":{"%b":%b}' % (key, inner, value))
    changes = []
    for member in found:
        old = body[member.value_start : member.value_end]
        new = set_value(old, inner, value) if old.startswith(b"{") else b'{"%b":%b}' % (inner, value)
        changes.append((member.value_start, member.value_end, new))
    return _spliced(body, changes)


def remove(body: bytes, key: bytes) -> bytes:
    """The object without its top-level members called ``key``, and without their commas."""
    changes: list[tuple[int, int, bytes]] = []
    for member in named(body, key):
        start, end = member.key_start, member.value_end
        after = _SPACES.match(body, end).end()  # type: ignore[union-attr]
        if body[after : after + 1] == b",":
            end = _SPACES.match(body, after + 1).end()  # type: ignore[union-attr]
        else:
            start = _last_comma(body, start, changes)
        changes.append((start, end, b""))
    return _spliced(body, changes)


def _last_comma(body: bytes, start: int, changes: list[tuple[int, int, bytes]]) -> int:
    """Where the last member's cut begins: at the comma before it, which the cuts before it may have reached already."""
    while True:
        before = _trim(body, start)
        if changes and changes[-1][1] >= before:
            start = changes.pop()[0]
            continue
        return before - 1 if body[before - 1 : before] == b"," else start

"""JSON as others wrote it: what any of the usual parsers takes is read, and nothing raises.

msgspec refuses what providers and clients do send now and then: half a surrogate pair in a string, bytes that are not
UTF-8, numbers beyond 64 bits. The standard library's parser takes over there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from gateway.wire.hollow import HOLLOW
from gateway.wire.json_escapes import has_escaped_letters
from gateway.wire.json_names import TWICE, Inner, Names
from gateway.wire.marks import Marks

T = TypeVar("T", bound=msgspec.Struct)

_decode = msgspec.json.decode
_BOM = b"\xef\xbb\xbf"


def parse(data: bytes) -> Any:
    """The value of a JSON text; None where it is none (and for ``null``)."""
    try:
        return _decode(data)
    except (ValueError, RecursionError):
        return parse_tolerant(data)


def parse_tolerant(data: bytes) -> Any:
    """As ``parse``, by the slower parser at once."""
    try:
        return json.loads(data.removeprefix(_BOM).decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def read_fields(
    decoder: msgspec.json.Decoder[T], body: bytes, shape: bytes = b"", inner: Inner | None = None
) -> T | str:
    """The members that ``decoder`` wants of a request body, of any type each; a sentence where it is no object, or
    names one of them, or of ``inner``, in a way that is not the same to all. ``shape``: the body hollowed out, where
    the caller has it."""
    if inner is not None and (doubtful := inner.doubtful(shape or body)):
        return TWICE.format(doubtful)
    kind = decoder.type
    names = _names_of(kind)
    try:
        fields = decoder.decode(shape or body)
        if doubtful := names.doubtful(shape or body):
            return TWICE.format(doubtful)
        if shape and shape is not body and HOLLOW in msgspec.structs.astuple(fields):
            return decoder.decode(body)
        return fields
    except (ValueError, RecursionError):
        document = parse_tolerant(body)
    if document is None:
        return "The request body is not valid JSON."
    if not isinstance(document, dict):
        return "The request body must be a JSON object."
    if doubtful := names.doubtful(body):
        return TWICE.format(doubtful)
    for field in msgspec.structs.fields(kind):
        if field.type is msgspec.Raw and field.encode_name in document:
            document[field.encode_name] = _raw(document[field.encode_name])
    spelled = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return kind(**{field: document[name] for field, name in spelled if name in document})


@lru_cache(maxsize=256)
def _names_of(kind: type[msgspec.Struct]) -> Names:
    return Names(kind.__struct_encode_fields__)


def _raw(value: Any) -> msgspec.Raw:
    """The value's JSON; where it has none that msgspec writes, an object, which is read as anything may be."""
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except (ValueError, OverflowError, RecursionError):
        return msgspec.Raw(b"{}")


def mentions(*marks: bytes) -> Callable[[bytes], bool]:
    """A test for JSON texts that may hold one of ``marks``, which are beginnings of strings, in one pass. Letters that
    are written as escapes, as no encoder does, count as any of them."""
    among = Marks(marks).among
    return lambda body: among(body) or has_escaped_letters(body)

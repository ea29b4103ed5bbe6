"""Forms (RFC 7578): whether a body is one, and one field of it, found without taking the form apart."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_FIELD_BYTES = 1024
_is_object = re.compile(rb"[ \t\r\n]*\{").match
_BOUNDARY = re.compile(rb'boundary="?([^";,]{1,200})"?', re.IGNORECASE)


def is_form(content_type: bytes, body: bytes) -> bool:
    """Whether a body is to be read as a form. What begins as a JSON object is none, whatever its type says: a form
    begins with its boundary, and there are providers that read JSON under any type (ollama/ollama,
    ``middleware/openai.go``: ``ShouldBindJSON``)."""
    return content_type[:19].lower() == b"multipart/form-data" and _is_object(body) is None


def form_field(content_type: bytes, body: bytes, name: bytes) -> bytes:
    """The value of a small text field; empty where it is absent or large. Of several the first."""
    return next(form_values(content_type, body, name), b"")


def form_values(content_type: bytes, body: bytes, name: bytes) -> Iterator[bytes]:
    """The values of all fields of a name; a large one is empty."""
    match = _BOUNDARY.search(content_type)
    if match is None:
        return
    delimiter = b"--" + match[1].strip()
    wanted = re.compile(rb'content-disposition:[^\r\n]*[;\s]name="?%b"?(?:[;\s]|$)' % re.escape(name), re.IGNORECASE)
    start = body.find(delimiter)
    while start >= 0:
        head_start = start + len(delimiter)
        head_end = body.find(b"\r\n\r\n", head_start, head_start + 4096)
        if head_end < 0:
            return
        start = body.find(b"\r\n" + delimiter, head_end)
        head = body[head_start:head_end]
        if b"filename" not in head and any(wanted.match(line) for line in head.split(b"\r\n")):
            value_end = start if start >= 0 else len(body)
            value = body[head_end + 4 : value_end]
            yield value if len(value) <= MAX_FIELD_BYTES else b""
        if start >= 0:
            start += 2

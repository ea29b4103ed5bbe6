"""Forms (RFC 7578): whether a body is one, and one field of it, found without taking the form apart.

Lines end with CR and LF; Go's reader and Werkzeug's also take LF alone, so that any line that begins with the boundary
begins a part here, however the one before it ended. Who reads more strictly sees some of these parts, and no others.

Sources: Go, ``mime/multipart`` (``isBoundaryDelimiterLine``: a form whose first line ends with LF alone); Ollama and
LocalAI are written in it. Kludex/python-multipart issue 31 for who else does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_FIELD_BYTES = 1024
_is_object = re.compile(rb"[ \t\r\n]*\{").match
_MAX_HEAD_BYTES = 4096
_head_end = re.compile(rb"\r?\n\r?\n").search
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
        ends = _head_end(body, head_start, head_start + _MAX_HEAD_BYTES)
        if ends is None:
            return
        # the empty line may be the one before the next boundary
        start = body.find(b"\n" + delimiter, ends.end() - 1)
        head = body[head_start : ends.start()]
        if b"filename" not in head and any(wanted.match(line) for line in head.splitlines()):
            value = body[ends.end() : start].removesuffix(b"\r") if start >= 0 else body[ends.end() :]
            yield value if len(value) <= MAX_FIELD_BYTES else b""
        if start >= 0:
            start += 1

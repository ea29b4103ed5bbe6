"""What ``stream_options.include_usage`` adds to a stream, and taking exactly that out again.

Source: OpenAI API reference, chat/create, ``stream_options``: one more chunk before ``[DONE]``, whose ``choices`` are
empty and whose ``usage`` is the whole request's; every other chunk has a ``usage`` that is null.
"""

from __future__ import annotations

import re

from gateway.wire.framing.sse import data_of
from gateway.wire.json_edit import remove
from gateway.wire.json_read import parse

_NULL_REPORT = b',"usage":null'
_DATA_LINE = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|(?<=[\r\n]))data: ?")


def strip_usage(block: bytes) -> bytes:
    """A block of a chat stream without the null report, and nothing of the block that is the report alone."""
    at = block.find(_NULL_REPORT)
    if at >= 0 and _is_top_level(block, at):
        return block[:at] + block[at + len(_NULL_REPORT) :]
    if b'"usage"' not in block:
        return block
    data = data_of(block)
    line = _DATA_LINE.search(block)
    document = parse(data)
    if line is None or b"\n" in data or not isinstance(document, dict) or "usage" not in document:
        return block
    usage = document["usage"]
    if usage is None:
        start, end = line.end(), line.end() + len(data)
        return block[:start] + remove(block[start:end], b"usage") + block[end:]
    return b"" if document.get("choices") == [] else block


def _is_top_level(block: bytes, at: int) -> bool:
    """True where, behind a null report, only flat text members come before the brace that closes the chunk."""
    if block.startswith(b"}\n\n", at + len(_NULL_REPORT)) and at + len(_NULL_REPORT) + 3 == len(block):
        return True
    rest = block[at + len(_NULL_REPORT) :].rstrip()
    return rest == b"}" or (rest.endswith(b'"}') and rest.count(b"}") == 1 and b"\\" not in rest)

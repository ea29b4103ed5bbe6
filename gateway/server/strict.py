"""What a request's head must be beyond llhttp's own rules, so that no two readers can understand it differently.

Sources: RFC 9112 sections 3.2 (Host, targets), 6.1 and 6.3 (message body length), 11.2 (request smuggling); RFC 9110
sections 7.8 (Upgrade), 9.3.8 (TRACE reflects the request, here with the provider's credential), 10.1.1 (Expect).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import msgspec

from gateway.ports import Header, RequestHead

METHODS = frozenset((b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS"))
_TARGET = re.compile(rb"/[!\"$-~]*").fullmatch
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?").fullmatch
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(.*)", re.IGNORECASE | re.DOTALL).fullmatch
_LOOKALIKES = frozenset((b"content_length", b"transfer_encoding"))
"""Names that a provider's CGI-like front end could take for framing."""


class BadRequest(Exception):  # noqa: N818 - named for the answer it becomes
    """The client's fault; ``status`` and the text go back to it, ``code`` as ``x-spendgate-error``."""

    def __init__(self, status: int, message: str, code: str = "malformed_request") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def error_body(why: BadRequest) -> bytes:
    """A small JSON error that every SDK can read."""
    error = {"message": str(why), "type": "invalid_request_error", "code": why.code, "param": None}
    return msgspec.json.encode({"error": error})


def check_head(head: RequestHead) -> tuple[int, bool]:
    """The declared body length (0 where none is declared), and whether the client waits for a 100.

    Puts an absolute target into origin form. Raises ``BadRequest`` for what is ambiguous or not spoken here.
    """
    if head.version not in (b"1.1", b"1.0"):
        raise BadRequest(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if head.method not in METHODS:
        raise BadRequest(501, "the method is not supported")
    _check_target(head)
    hosts = lengths = length = 0
    expects = False
    for name, value in head.headers:
        size = len(name)
        if size == 4:
            if name.lower() == b"host":
                hosts += 1
                if _HOST(value) is None:
                    raise BadRequest(400, "the Host field is malformed")
        elif size == 14:
            lower = name.lower()
            if lower == b"content-length":
                lengths += 1
                length = head.length = _length(value)
            elif lower in _LOOKALIKES:
                raise BadRequest(400, "a field's name looks like framing")
        elif size == 17:
            lower = name.lower()
            if lower == b"transfer-encoding":
                lengths += 1
                _check_coding(head, value)
            elif lower in _LOOKALIKES:
                raise BadRequest(400, "a field's name looks like framing")
        elif size == 6 and name.lower() == b"expect":
            expects = _expects(head, value)
    if lengths > 1:
        raise BadRequest(400, "the body's length is declared more than once")
    if hosts > 1 or (not hosts and head.version != b"1.0"):
        raise BadRequest(400, "exactly one Host field is needed")
    return length, expects


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise BadRequest(400, "Content-Length is not a number")
    return int(value)


def _check_coding(head: RequestHead, value: bytes) -> None:
    if value.lower() != b"chunked":
        raise BadRequest(501, "the only transfer coding taken is chunked")
    if head.version == b"1.0":
        raise BadRequest(400, "HTTP/1.0 has no transfer coding")


def _expects(head: RequestHead, value: bytes) -> bool:
    if head.version == b"1.0":
        return False
    if value.lower() != b"100-continue":
        raise BadRequest(417, "the only expectation known is 100-continue")
    return True


def _check_target(head: RequestHead) -> None:
    """Origin form, printable ASCII, no fragment; else the bytes stay as they came, dot segments too.

    A path whose dot segments lead out of its first segment is refused: a provider that resolves them would answer for
    what lies beside its base URL.
    """
    target = head.target
    if not target.startswith(b"/"):
        target = head.target = _origin_form(head)
    if _TARGET(target) is None:
        raise BadRequest(400, "the request target holds characters that must be percent-encoded")
    path = target.partition(b"?")[0]
    if b"\\" in path:
        raise BadRequest(400, "the request target holds a backslash")
    if (b".." in path or b"%" in path) and _climbs(path):
        raise BadRequest(400, "the request target leads out of its first segment")


def _climbs(path: bytes) -> bool:
    depth = 0
    for segment in unquote_to_bytes(path).replace(b"\\", b"/").split(b"/"):
        if segment.partition(b";")[0] == b"..":
            depth -= 1
            if depth < 1:
                return True
        elif segment not in (b"", b"."):
            depth += 1
    return False


def _origin_form(head: RequestHead) -> bytes:
    """The path of an absolute-form target; other forms are refused."""
    absolute = _ABSOLUTE(head.target)
    if absolute is not None:
        rest: bytes = absolute.group(2)
        return rest if rest.startswith(b"/") else b"/" + rest
    raise BadRequest(400, "the request target must be a path")


def not_http1(data: bytes, error: Exception) -> BadRequest:
    """What the parser could not read. A client of HTTP/2 alone, like the AWS SDK for JavaScript, is told so."""
    if data.startswith(b"PRI * HTTP/2"):
        return BadRequest(505, "this port speaks HTTP/1.1: the client must not begin with HTTP/2")
    return BadRequest(505 if "version" in str(error).lower() else 400, f"malformed HTTP: {error}")


def only_h2c(headers: list[Header]) -> bool:
    """True where an upgrade asks for cleartext HTTP/2 alone, which a server may ignore (RFC 9110 section 7.8): some
    clients offer it on every first request."""
    offers = [value.lower() for name, value in headers if len(name) == 7 and name.lower() == b"upgrade"]
    return bool(offers) and all(offer == b"h2c" for offer in offers)


def body_framing(head: RequestHead) -> bytes:
    """The field line that frames the body of a checked head; empty where it has none."""
    if head.length is not None:
        return b"Content-Length: %d\r\n" % head.length if head.length else b""
    chunked = any(len(name) == 17 and name.lower() == b"transfer-encoding" for name, _ in head.headers)
    return b"Transfer-Encoding: chunked\r\n" if chunked else b""

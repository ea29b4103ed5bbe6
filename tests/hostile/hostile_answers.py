"""Answers as a broken or hostile provider sends them, each with what its client must get."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from support.upstream import CLOSE, RESET, Step

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 5\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SPLIT = b"HTTP/1.1 200 OK\r\nX-Split: yes\r\nContent-Length: 4\r\n\r\nevil"
"""A second answer that nobody asked for."""


class Answer(msgspec.Struct):
    """``whole``: this body, complete. ``gateway``: the gateway's own 502. ``cut``: an answer that is seen to be cut."""

    name: str
    steps: list[Step]
    client: str
    body: bytes = b""


def whole(name: str, raw: bytes, body: bytes, *steps: Step) -> Answer:
    return Answer(name, [raw, *steps], "whole", body)


def heads() -> Iterator[Answer]:
    for name, raw in (
        ("bare LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("bare CR", b"HTTP/1.1 200 OK\rContent-Length: 0\r\r"),
        ("LF in the head", OK + b"X: y\nContent-Length: 0\r\n\r\n"),
        ("folded", OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("space before colon", OK + b"Content-Length : 5\r\n\r\nhello"),
        ("NUL in a value", OK + b"X: \x00\r\nContent-Length: 0\r\n\r\n"),
        ("NUL in a name", OK + b"X\x00: a\r\nContent-Length: 0\r\n\r\n"),
        ("CR in a value", OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
        ("no colon", OK + b"nothing\r\nContent-Length: 0\r\n\r\n"),
        ("empty name", OK + b": x\r\nContent-Length: 0\r\n\r\n"),
        ("HTTP/0.9", b"hello"),
        ("HTTP/9.9", b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status 0", b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n"),
        ("status 99", b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n"),
        ("status 20", b"HTTP/1.1 20 X\r\nContent-Length: 0\r\n\r\n"),
        ("status 2000", b"HTTP/1.1 2000 X\r\nContent-Length: 0\r\n\r\n"),
        ("status -200", b"HTTP/1.1 -200 X\r\nContent-Length: 0\r\n\r\n"),
        ("status two hundred", b"HTTP/1.1 two X\r\nContent-Length: 0\r\n\r\n"),
        ("no status", b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
        ("a request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
        ("TLS", b"\x15\x03\x01\x00\x02\x02\x46"),
        ("HTTP/2 frames", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
        ("10,000 fields", OK + b"X: y\r\n" * 10_000 + b"Content-Length: 0\r\n\r\n"),
        ("a field of 1 MB", OK + b"X: " + b"y" * 1_000_000 + b"\r\nContent-Length: 0\r\n\r\n"),
        ("a name of 1 MB", OK + b"y" * 1_000_000 + b": z\r\nContent-Length: 0\r\n\r\n"),
        ("a reason of 1 MB", b"HTTP/1.1 200 " + b"y" * 1_000_000 + b"\r\nContent-Length: 0\r\n\r\n"),
        ("1xx without end", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
        ("a 104 with a body", b"HTTP/1.1 104 X\r\nContent-Length: 5\r\n\r\nhello" + LENGTH + b"world"),
        ("101 unasked", b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"),
        ("101 without upgrade", b"HTTP/1.1 101 Switching\r\n\r\n"),
    ):
        yield Answer(name, [raw, 0.5], "gateway")
    for name, steps in (
        ("closes at once", [CLOSE]),
        ("resets at once", [RESET]),
        ("closes in the status line", [b"HTTP/1.1 2", CLOSE]),
        ("closes in the head", [OK + b"Content-Len", CLOSE]),
        ("resets in the head", [OK + b"Content-Length: 5\r\n", 0.02, RESET]),
        ("closes after a 100", [b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE]),
    ):
        yield Answer(name, list(steps), "gateway")


def framings() -> Iterator[Answer]:
    for name, fields in (
        ("CL and CL", b"Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("CL twice", b"Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("CL list", b"Content-Length: 5, 5\r\n"),
        ("CL negative", b"Content-Length: -5\r\n"),
        ("CL plus", b"Content-Length: +5\r\n"),
        ("CL hex", b"Content-Length: 0x5\r\n"),
        ("CL empty", b"Content-Length:\r\n"),
        ("CL word", b"Content-Length: five\r\n"),
        ("CL overflow", b"Content-Length: 99999999999999999999\r\n"),
        ("CL with NUL", b"Content-Length: 5\x00\r\n"),
        ("TE and CL", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("CL and TE", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("TE gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n"),
        ("TE gzip", b"Transfer-Encoding: gzip\r\n"),
        ("TE identity", b"Transfer-Encoding: identity\r\n"),
        ("TE chunked, identity", b"Transfer-Encoding: chunked, identity\r\n"),
        ("TE xchunked", b"Transfer-Encoding: xchunked\r\n"),
        ("TE space", b"Transfer-Encoding : chunked\r\n"),
        ("TE VT", b"Transfer-Encoding:\x0bchunked\r\n"),
        ("TE twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    ):
        yield Answer(name, [OK + fields + b"\r\n5\r\nhello\r\n0\r\n\r\n" + SPLIT, 0.5], "gateway")


def bodies() -> Iterator[Answer]:
    for name, chunks in (
        ("negative size", b"-5\r\nhello\r\n"),
        ("hex prefix", b"0x5\r\nhello\r\n"),
        ("no size", b"\r\nhello\r\n"),
        ("size overflow", b"fffffffffffffffff\r\nhello\r\n"),
        ("size then LF", b"5\nhello\r\n"),
        ("short chunk", b"5\r\nhell\r\n0\r\n\r\n"),
        ("long chunk", b"5\r\nhello!\r\n0\r\n\r\n"),
        ("data then LF", b"5\r\nhello\n0\r\n\r\n"),
        ("NUL in an extension", b"5;a\x00\r\nhello\r\n0\r\n\r\n"),
        ("trailer with LF", b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n"),
        ("trailer folded", b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n"),
        ("trailer of 1 MB", b"5\r\nhello\r\n0\r\nX: " + b"y" * 1_000_000),
        ("10,000 trailers", b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 10_000 + b"\r\n"),
        ("an extension of 1 MB", b"5;" + b"y" * 1_000_000),
        ("a size of 1 MB", b"0" * 1_000_000 + b"5\r\nhello\r\n0\r\n\r\n"),
        ("a second answer in a size", b"HTTP/1.1 200 OK\r\n"),
    ):
        yield Answer(f"chunks: {name}", [CHUNKED + b"2\r\nab\r\n", 0.03, chunks, 0.5], "cut")
    for name, steps in (
        ("closes short of its length", [LENGTH + b"hel", CLOSE]),
        ("resets short of its length", [LENGTH + b"hel", 0.05, RESET]),
        ("closes with nothing of its length", [LENGTH, CLOSE]),
        ("closes before the last chunk", [CHUNKED + b"5\r\nhello\r\n", CLOSE]),
        ("closes in a chunk", [CHUNKED + b"5\r\nhel", CLOSE]),
        ("closes in a size", [CHUNKED + b"5\r\nhello\r\n1", CLOSE]),
        ("closes before the last line", [CHUNKED + b"5\r\nhello\r\n0\r\n", CLOSE]),
        ("closes in a trailer", [CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n", CLOSE]),
        ("resets where only a close ends the body", [OK + b"\r\nhello", 0.05, RESET]),
    ):
        yield Answer(name, list(steps), "cut")
    length = b"Content-Length: 5\r\n\r\nhello"
    yield whole("bytes past its length", LENGTH + b"hello" + SPLIT, b"hello")
    yield whole("garbage past its length", LENGTH + b"hello\x00\x00\xff", b"hello")
    yield whole("an answer past its last chunk", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + SPLIT, b"hello")
    yield whole("HTTP/2 in its status line", b"HTTP/2.0 200 OK\r\n" + length, b"hello")
    yield whole("a body behind 204", b"HTTP/1.1 204 No Content\r\n\r\n" + SPLIT, b"")
    yield whole("a body behind 304", b"HTTP/1.1 304 Not Modified\r\n" + length, b"")
    yield whole("a length with 204", b"HTTP/1.1 204 No Content\r\n" + length, b"")
    yield whole("a body until close", OK + b"\r\nhello", b"hello", CLOSE)
    yield whole("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", CLOSE)
    yield whole("extensions", CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n', b"hello")
    yield whole("upper-case coding", OK + b"TRANSFER-ENCODING: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello")
    yield whole(
        "its own connection fields", OK + b"Connection: x-a, close\r\nX-A: b\r\nKeep-Alive: x\r\n" + length, b"hello"
    )
    yield whole("its own request id", OK + b"x-spendgate-request-id: forged\r\n" + length, b"hello")
    yield whole("Upgrade offered", OK + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + length, b"hello")
    yield whole("obs-text", OK + b"X: \xe9\xff\r\n" + length, b"hello")
    yield whole("early hints", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + LENGTH + b"hello", b"hello")


def hostile_answers() -> list[Answer]:
    return [*heads(), *framings(), *bodies()]

"""Further families: expectations, what stands behind a chunk's size, and heads that came before.

Sources: J. Kettle, "HTTP/1.1 must die" (0.CL and Expect-based desync); J. B. Weikop, "Funky chunks" (TERM.EXT,
EXT.TERM, line ends within extensions); RFC 9110 section 10.1.1; RFC 9112 section 7.1.
"""

from __future__ import annotations

from collections.abc import Iterator

from attacks import CHUNKED, SMUGGLED, TARGET, Attack, passes, posted, request

HELLO = b"Content-Length: 5\r\n"
KNOWN = request(HELLO, b"hello")
SECOND = (b"GET", b"/smuggled", b"")


def expectations() -> Iterator[Attack]:
    """One reader waits, another does not: who takes the body for a request?"""
    for field in (b"Expect: 100-continue", b"expect: 100-Continue", b"EXPECT:100-CONTINUE", b"Expect: \t100-continue \t",
                  b"Expect: 100-continue\r\nExpect: 100-continue"):  # fmt: skip
        raw = request(field + b"\r\n" + HELLO, b"hello")
        yield passes(f"{field!r}", raw, posted(b"hello"))
        yield passes(f"{field!r}, a request behind", raw + SMUGGLED, posted(b"hello"), SECOND)
        chunked = request(field + b"\r\n" + CHUNKED, b"5\r\nhello\r\n0\r\n\r\n" + SMUGGLED)
        yield passes(f"{field!r}, chunked", chunked, posted(b"hello"), SECOND)
        got = request(field + b"\r\n" + HELLO, b"hello", b"GET " + TARGET + b" HTTP/1.1\r\n")
        yield passes(f"{field!r} on GET", got, (b"GET", b"/v1/files", b"hello"))
        none = request(field + b"\r\nContent-Length: 0\r\n", SMUGGLED)
        yield passes(f"{field!r}, no body", none, posted(b""), SECOND)
    for field in (b"Expect: y 100-continue", b"Expect: 100-continue y", b"Expect: 100-continue\x00", b"Expect : 100-continue",
                  b"Expect:\r\n 100-continue", b"Expect: 100-continue\r\n y", b"Expect: 100 continue", b"Expect: 100-continu",
                  b"Expect: 100-continue, 100-continue", b"Expect: 100-continue=1", b"Expect: 99-continue",
                  b"Expect: 100-continue\r\nExpect: x", b"Expect: x\r\nExpect: 100-continue", b"Expect: \xa0100-continue",
                  b"Expect:\x0b100-continue", b"Expect: 100-continue\n", b"\nExpect: 100-continue", b"Expect: 100-continue\r",
                  b'Expect: "100-continue"', b"Expect: *"):  # fmt: skip
        yield Attack(f"{field!r} with a body", request(field + b"\r\n" + HELLO, b"hello" + SMUGGLED))
        yield Attack(
            f"{field!r} with a request as body",
            request(field + b"\r\nContent-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
        )


def extensions() -> Iterator[Attack]:
    """Bytes behind a chunk's size that one reader skips and another takes for a line's end."""
    for code in (*range(0x20), 0x7F):
        byte = bytes([code])
        if byte in b"\t":
            continue
        for kind, size in (
            ("in", b"2;a" + byte + b"b"),
            ("before", byte + b"2"),
            ("for the semicolon", b"2" + byte + b"a"),
        ):
            chunks = size + b"\r\nab\r\n0\r\n\r\n"
            yield Attack(f"0x{code:02x} {kind} an extension", request(CHUNKED, chunks + SMUGGLED))
    for line in (b"2;\nxx", b"2;x\nxx", b'2;a="\n"', b'2;a="\r\n"', b"2;a\r", b"2;\r\r\n", b"2;a=\\\n", b"2\n;a", b"2;a\n\r",
                 b"2;\r\n\r\n", b"2;a=b;\n", b"2;;\n", b"2;=\n", b'2;"\n"', b"2;a=b\r\r"):  # fmt: skip
        yield Attack(f"extension {line!r}", request(CHUNKED, line + b"\r\nab\r\n0\r\n\r\n" + SMUGGLED))
        last = line.replace(b"2", b"0", 1)
        yield Attack(f"last chunk {last!r}", request(CHUNKED, b"2\r\nab\r\n" + last + b"\r\n\r\n" + SMUGGLED))
    for size in (b"2" + b" " * 20, b"2\t\t;a", b"2 \t;a=b", b"02,", b"2:", b"2=", b"2/", b"2-", b"0 2", b"2 0", b"2.", b"1+1", b"2h",
                 b"0x2;", b"x2", b"2L", b"2e0", b"0b10", b"\xef\xbc\x92"):  # fmt: skip
        yield Attack(f"size {size!r}", request(CHUNKED, size + b"\r\nab\r\n0\r\n\r\n" + SMUGGLED))
    for rest in (
        b"ab\n\n",
        b"ab\r\n\n",
        b"abc\r\n",
        b"ab",
        b"ab\r",
        b"ab\n",
        b"ab \r\n",
        b"a\r\nb",
        b"ab\x00\r\n",
        b"ab\r\n\r\n",
    ):
        yield Attack(f"data {rest!r}", request(CHUNKED, b"2\r\n" + rest + b"0\r\n\r\n" + SMUGGLED))


def known_heads() -> Iterator[Attack]:
    """A head that came before, then one that differs in little: nothing that was found of the first holds for it."""
    two = (posted(b"hello"), posted(b"hello"))
    yield passes("twice", KNOWN + KNOWN, *two)
    yield passes("a request behind it", KNOWN + SMUGGLED, posted(b"hello"), SECOND)
    yield passes("a request as its body", KNOWN + request(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
                 posted(b"hello"), posted(SMUGGLED))  # fmt: skip
    yield passes("half a request behind it", KNOWN + SMUGGLED[:20] + SMUGGLED[20:], posted(b"hello"), SECOND)
    for digits in (b"05", b"000000000005", b"5 ", b"  5", b"\t5"):
        raw = request(b"Content-Length: " + digits + b"\r\n", b"hello")
        yield passes(f"known, then {digits!r}", KNOWN + raw, *two)
    for digits in (b"+5", b"-5", b"0x5", b"5 5", b"5,5", b"", b"5\x00", b"\xb5", b"5\x0b", b"5;", b"five", b"5_0", b"\xd9\xa5",
                   b"999999999999999999999", b"5\r\n 0", b"5\r\nContent-Length: 5", b"5\r\ncontent-length: 0",
                   b"5\r\nTransfer-Encoding: chunked", b"5\n", b"5\r", b"5\nX: y", b"5\r\n\tx", b"5\r\nX : y", b"5\r\nX\x00: y"):  # fmt: skip
        raw = request(b"Content-Length: " + digits + b"\r\n", b"hello" + SMUGGLED)
        yield Attack(f"known, then {digits!r}", KNOWN + raw, ("ok", "refused"), (posted(b"hello"),))
    blanks = request(HELLO, b"hello", b"POST /p/v1/files  HTTP/1.1\r\n")
    yield passes("known, then two blanks", KNOWN + blanks, *two)
    for line in (b"POST /p/v1/files HTTP/1.2\r\n", b"POST /p/v1/files\r\n",
                 b"post /p/v1/files HTTP/1.1\r\n", b"POST\t/p/v1/files HTTP/1.1\r\n"):  # fmt: skip
        raw = request(HELLO, b"hello", line)
        yield Attack(f"known, then {line!r}", KNOWN + raw, ("ok", "refused"), (posted(b"hello"),))


MORE = (expectations, extensions, known_heads)


def more_attacks() -> list[Attack]:
    return [attack for family in MORE for attack in family()]

"""Requests as attackers send them, each with what must come of it.

Sources: the request smuggling and desync research of J. Kettle (CL.TE, TE.CL, TE.TE, CL.0, h2c, "browser-powered"
desync), the permutations of PortSwigger's HTTP Request Smuggler, the cases of http-garden and of the RFC 9112 section
11.2 discussion; the field and line grammar of RFC 9110 section 5 and RFC 9112 sections 2 to 7.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

KEY = b"sk-test-hostile"
AUTH = b"Authorization: Bearer " + KEY + b"\r\n"
HOST = b"Host: gateway.test\r\n"
TARGET = b"/p/v1/files"
SMUGGLED = b"GET /p/smuggled HTTP/1.1\r\n" + HOST + AUTH + b"X: x\r\n\r\n"
"""What an attacker hides in another request. It must reach the provider only where it was a request of its own."""

REFUSED = (400, 408, 413, 414, 417, 431, 501, 505)
Reached = tuple[bytes, bytes, bytes]


class Attack(msgspec.Struct):
    """``raw`` goes out on a fresh connection. ``answers``: the classes of answers in order, ``refused`` or ``ok``; the
    connection is closed after a refusal. ``reaches``: what the provider sees, neither more nor less."""

    name: str
    raw: bytes
    answers: tuple[str, ...] = ("refused",)
    reaches: tuple[Reached, ...] = ()


def request(
    fields: bytes = b"", body: bytes = b"", line: bytes = b"POST " + TARGET + b" HTTP/1.1\r\n", host: bytes = HOST
) -> bytes:
    return line + host + AUTH + fields + b"\r\n" + body


def posted(body: bytes, target: bytes = b"/v1/files") -> Reached:
    return b"POST", target, body


def passes(name: str, raw: bytes, *reaches: Reached) -> Attack:
    return Attack(name, raw, ("ok",) * len(reaches), reaches)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
EMPTY_CHUNKS = b"0\r\n\r\n" + SMUGGLED
ONE_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)


def conflicting_framing() -> Iterator[Attack]:
    """CL.TE and TE.CL: both are declared, in either order, with bodies that make either reading pay."""
    for length in (0, 3, len(EMPTY_CHUNKS), len(ONE_CHUNK), 5):
        declared = b"Content-Length: %d\r\n" % length
        for order, fields in (("CL.TE", declared + CHUNKED), ("TE.CL", CHUNKED + declared)):
            for kind, body in (("empty", EMPTY_CHUNKS), ("one", ONE_CHUNK)):
                yield Attack(f"{order} {length} {kind}", request(fields, body))
    for line in (
        b"GET %b HTTP/1.1\r\n",
        b"HEAD %b HTTP/1.1\r\n",
        b"DELETE %b HTTP/1.1\r\n",
        b"OPTIONS %b HTTP/1.1\r\n",
    ):
        fields = b"Content-Length: 5\r\n" + CHUNKED
        yield Attack(f"CL.TE {line[:6]!r}", request(fields, EMPTY_CHUNKS, line % TARGET))
    yield Attack("TE on 1.0", request(CHUNKED, EMPTY_CHUNKS, b"POST %b HTTP/1.0\r\n" % TARGET))
    both = b"Content-Length: 5\r\n" + CHUNKED
    yield Attack("CL.TE on 1.0", request(both, EMPTY_CHUNKS, b"POST %b HTTP/1.0\r\n" % TARGET))


OBFUSCATED = (
    b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked", b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunkedx", b"Transfer-Encoding: x chunked",
    b"Transfer-Encoding: chunk", b"Transfer-Encoding: chunked, cow", b"Transfer-Encoding: cow, chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity",
    b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: chunked;", b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked,", b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: 'chunked'",
    b"Transfer-Encoding: \x00chunked", b"Transfer-Encoding: chunked\x00", b"Transfer-Encoding: ch\x96nked",
    b"Transfer-Encoding: \xffchunked", b"Transfer-Encoding: chunked\x0c", b"Transfer-Encoding: chunked\x85",
    b"Transfer-Encoding: chunked\xa0", b"Transfer-Encoding:\xa0chunked", b"Transfer-Encoding: chunked\r",
    b"Transfer-Encoding:\rchunked", b"Transfer-Encoding:\nchunked", b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding:\r\n\tchunked", b"Transfer-Encoding: chunked\r\n x", b"Transfer-Encoding: chunked\r\n ",
    b" Transfer-Encoding: chunked", b"\tTransfer-Encoding: chunked", b"X: x\nTransfer-Encoding: chunked",
    b"X: x\rTransfer-Encoding: chunked", b"X: x\r\rTransfer-Encoding: chunked", b"\x00Transfer-Encoding: chunked",
    b"Transfer-Encoding\x00: chunked", b"Transfer-Encoding\n : chunked", b"Transfer-Encoding\r\n : chunked",
    b"Transfer-Encoding chunked", b"Transfer-Encoding", b"Transfer-Encoding:", b"Transfer-Encoding: ",
    b"Transfer-Encoding:: chunked", b"Transfer-Encoding;: chunked", b"Transfer Encoding: chunked",
    b"Transfer_Encoding: chunked", b"TRANSFER_ENCODING: chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nTransfer-encoding: chunked",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: chunked \x0b", b"Transfer-\xc3\x89ncoding: chunked",
    b"Foo: bar\r\n\rTransfer-Encoding: chunked",
)  # fmt: skip


def obfuscated_framing() -> Iterator[Attack]:
    """TE.TE: one reader takes the field for a transfer coding, another does not. Alone and beside a length."""
    for line in OBFUSCATED:
        for declared in (b"", b"Content-Length: 5\r\n", b"Content-Length: %d\r\n" % len(EMPTY_CHUNKS)):
            name = f"{line!r} {declared[16:-2].decode() or 'alone'}"
            yield Attack(name, request(declared + line + b"\r\n", EMPTY_CHUNKS))
        yield Attack(f"{line!r} before CL", request(line + b"\r\nContent-Length: 5\r\n", EMPTY_CHUNKS))
    for case in (b"transfer-encoding: chunked", b"TRANSFER-ENCODING: CHUNKED", b"tRANSFER-eNCODING:cHuNkEd",
                 b"Transfer-Encoding:\tchunked", b"Transfer-Encoding:    chunked"):  # fmt: skip
        yield passes(f"{case!r}", request(case + b"\r\n", b"2\r\nab\r\n0\r\n\r\n"), posted(b"ab"))
    for other in (b"Content-Encoding: chunked", b"X-Transfer-Encoding: chunked", b"TE: chunked", b"TE: trailers"):
        yield passes(f"{other!r} is none", request(other + b"\r\nContent-Length: 2\r\n", b"ab"), posted(b"ab"))


LENGTHS = (
    b"+5", b"-5", b"-0", b"0x5", b"5,5", b"5, 5", b"5,6", b"5 5", b"5;", b"5.0", b"1e1", b"five", b"", b"  ", b"5\x00",
    b"\x005", b"\x0b5", b"5\x0b", b"\xd9\xa5", b"\xb2", b"5_0", b"99999999999999999999", b"18446744073709551621",
    b"9223372036854775808", b"18446744073709551615", b'"5"', b"5\r\n 0", b"5\n0", b"5\r0", b"0, 5", b"5,", b",5",
    b"0b101",
    b"5h", b"NaN", b"Infinity", b"\xa05", b"5\xa0", b"5 0", b"5\t0",
)  # fmt: skip


def lengths() -> Iterator[Attack]:
    """Content-Length that is not one number."""
    body = b"hello" + SMUGGLED
    for value in LENGTHS:
        yield Attack(f"CL {value!r}", request(b"Content-Length: " + value + b"\r\n", body))
    for first, second in ((5, 5), (5, 6), (0, 5), (5, 0), (5, len(body))):
        fields = b"Content-Length: %d\r\nContent-Length: %d\r\n" % (first, second)
        yield Attack(f"CL {first} and {second}", request(fields, body))
        apart = b"Content-Length: %d\r\nX: y\r\ncontent-length: %d\r\n" % (first, second)
        yield Attack(f"CL {first} and {second} apart", request(apart, body))
    for name in (b"Content-Length ", b"Content-Length\t", b"Content_Length", b" Content-Length", b"\tContent-Length",
                 b"Content-Length\x00", b"Content Length", b"X: x\nContent-Length",
                 b"X: x\rContent-Length"):  # fmt: skip
        yield Attack(f"{name!r}:", request(name + b": 5\r\n", body))
    yield passes("CL 05", request(b"Content-Length: 05\r\n", b"hello"), posted(b"hello"))
    yield passes("CL with blanks", request(b"Content-Length: \t 5 \t \r\n", b"hello"), posted(b"hello"))
    two = request(b"Content-Length: 5\r\n", b"hello") + SMUGGLED
    yield passes("CL, then a request of its own", two, posted(b"hello"), (b"GET", b"/smuggled", b""))
    none = request(b"", SMUGGLED)
    yield passes("no length: two requests", none, posted(b""), (b"GET", b"/smuggled", b""))
    zero = request(b"Content-Length: 0\r\n", SMUGGLED)
    yield passes("CL.0: two requests", zero, posted(b""), (b"GET", b"/smuggled", b""))
    get = request(b"Content-Length: 5\r\n", b"hello", b"GET %b HTTP/1.1\r\n" % TARGET)
    yield passes("GET with a body keeps it", get, (b"GET", b"/v1/files", b"hello"))


def line_endings() -> Iterator[Attack]:
    """Everything but CRLF, in every place."""
    parts = [b"POST " + TARGET + b" HTTP/1.1", HOST[:-2], AUTH[:-2], b"X-A: b", b"Content-Length: 0", b""]
    for ending in (b"\n", b"\r", b"\n\r", b"\r\r\n", b"\x00\r\n", b"\x0b\r\n"):
        for place in range(len(parts)):
            raw = b"".join(part + (ending if place == at else b"\r\n") for at, part in enumerate(parts))
            yield Attack(f"{ending!r} after line {place}", raw + SMUGGLED)
        yield Attack(f"{ending!r} everywhere", ending.join(parts) + ending + SMUGGLED)
    for folded in (
        b"X: a\r\n b\r\n",
        b"X: a\r\n\tb\r\n",
        b"X:\r\n b\r\n",
        b"X: a\r\n \r\n",
        b" X: a\r\n",
        b"\tX: a\r\n",
    ):
        yield Attack(f"folded {folded!r}", request(folded, SMUGGLED))
    yield Attack("folded first field", b"GET " + TARGET + b" HTTP/1.1\r\n " + HOST + AUTH + b"\r\n")
    yield passes("CRLF before a request", b"\r\n" + SMUGGLED, (b"GET", b"/smuggled", b""))


def fields() -> Iterator[Attack]:
    """Bytes and shapes that no field may have."""
    for code in (*range(0x20), 0x7F):
        byte = bytes([code])
        if byte not in b"\r\n":
            yield Attack(f"name with 0x{code:02x}", request(b"X" + byte + b"Y: 1\r\n", SMUGGLED))
            if byte != b"\t":
                yield Attack(f"value with 0x{code:02x}", request(b"X: a" + byte + b"b\r\n", SMUGGLED))
    for byte in (b"(", b")", b"<", b">", b"@", b",", b";", b"\\", b'"', b"/", b"[", b"]", b"?", b"=", b"{", b"}", b" ",
                 b"\x80", b"\xff", b"\xc3\xa9"):  # fmt: skip
        yield Attack(f"name with {byte!r}", request(b"X" + byte + b"Y: 1\r\n", SMUGGLED))
    for line in (b": x", b"nocolon", b" ", b"X : 1", b"X\t: 1", b"X\r\n: 1", b"GET /p/smuggled HTTP/1.1"):
        yield Attack(f"field {line!r}", request(line + b"\r\n", SMUGGLED))
    for hosts in (b"", HOST + HOST, HOST + b"Host: other\r\n", b"Host: a b\r\n", b"Host: a,b\r\n", b"Host: a/b\r\n",
                  b"Host: u@a\r\n", b"Host: a:x\r\n", b"Host: a:999999\r\n", b"Host: [::1\r\n", b"Host: a?b\r\n",
                  b"Host: a#b\r\n", b"Host: a\\b\r\n", b"Host: \xc3\xa9\r\n", b"Host : a\r\n", b"Host: a\tb\r\n",
                  b'Host: "a"\r\n', b"Host: <script>\r\n", b"Host: a:1:2\r\n", b"Host: http://a\r\n"):  # fmt: skip
        yield Attack(f"hosts {hosts!r}", request(b"", SMUGGLED, host=hosts))
    for value in (b"100-continue, x", b"x", b"200-ok", b"100-continue;x", b""):
        yield Attack(f"expect {value!r}", request(b"Expect: " + value + b"\r\nContent-Length: 2\r\n", b"ab"))
    # fields of one hop must not take the framing or the provider's name with them
    for named in (b"content-length", b"host", b"transfer-encoding, content-length", b"x-a, host", b"x-a", b",,,", b'"'):
        hop = b"Connection: " + named + b"\r\nX-A: 1\r\nContent-Length: 2\r\n"
        yield passes(f"connection {named!r}", request(hop, b"ab"), posted(b"ab"))
    yield passes(
        "value with \\x85", request(b"X: a\x85Content-Length: 9\r\nContent-Length: 2\r\n", b"ab"), posted(b"ab")
    )


def request_lines() -> Iterator[Attack]:
    """Methods, targets and versions."""
    versions = (b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/2", b"HTTP/3.0", b"HTTP/1.", b"HTTP/1",
                b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1.01", b"HTTP/ 1.1", b"HTTP /1.1", b"http/1.1", b"Http/1.1",
                b"HTTP/1,1", b"HTTP/-1.1", b"HTTP/1.1x", b"HTTP/1.1 ", b"HTTP/1.1\t", b"HTTP/\x31\x2e\xb1",
                b"HTTPS/1.1",
                b"HTP/1.1", b"XTTP/1.1", b"SIP/2.0", b"\x00HTTP/1.1", b"HTTP/1.1\x00", b"x HTTP/1.1")  # fmt: skip
    for version in versions:
        yield Attack(f"version {version!r}", request(b"", SMUGGLED, b"GET " + TARGET + b" " + version + b"\r\n"))
    yield Attack("no version", request(b"", b"", b"GET " + TARGET + b"\r\n"))
    yield Attack("HTTP/0.9", b"GET " + TARGET + b"\r\n\r\n")
    for method in (b"get", b"Get", b"TRACE", b"TRACK", b"DEBUG", b"CONNECT", b"PRI", b"PROPFIND", b"SOURCE", b"PURGE",
                   b"G\x00ET", b"GE T", b"\x00GET", b" GET", b"\tGET", b"G\xc3\x89T", b"X" * 70_000, b"GET\t", b"(GET)",
                   b"M-SEARCH", b"LINK", b"DESCRIBE", b"QUERY"):  # fmt: skip
        yield Attack(f"method {method[:20]!r}", request(b"", b"", method + b" " + TARGET + b" HTTP/1.1\r\n"))
    targets = (b"*", b"p/v1/files", b"gateway.test:80", b"gateway.test", b"", b"?x", b"#x", b"/p/a#b", b"/p/a b",
    b"/p/\x00",
               b"/p/\x7f", b"/p/\x80", b"/p/\xc3\xa9", b"/p/\x01", b"/p/\t", b"/p/\\x", b"/p\\..\\x", b"\\p/x",
               b"ftp://gateway.test/p/x", b"file:///etc/passwd", b"http:///p/x", b"http:/p/x", b"http:p/x", b"://x/p/y",
               b"javascript:alert(1)", b"/p/..", b"/p/../x", b"/p/../../etc/passwd", b"/../p/x",
               b"/p/%2e%2e/x", b"/p/%2E./x", b"/p/.%2e/x", b"/p/a/../../x", b"/p/..;/x", b"/p/..%2fx", b"/p/%2e%2e%2fx",
               b"/p/..%5cx", b"/p/a/..;a=b/../x", b"/p//../../x", b"/p/./../x", b"http://h/p/../x")  # fmt: skip
    for target in targets:
        yield Attack(f"target {target!r}", request(b"", SMUGGLED, b"GET " + target + b" HTTP/1.1\r\n"))
    kept_targets = (b"//v1//x", b"/a/../b", b"/a/./b/", b"/%2e/x", b"/v1/x%00y", b"/v1/x%0d%0aX:%20y", b"/x?a=/../../b",
                    b"/x?a=%2e%2e%2f", b"/v1/m:generateContent", b"/v1;a=b/x", b"/x??y", b"/%252e%252e/x",
                    b"/...", b"/..a/b",
                    b"/a..b", b"/x?http://evil/", b"/http://evil/", b"/v1/%ff%fe", b"/v1/a|b{c}^`<>\"")  # fmt: skip
    for target in kept_targets:
        raw = request(b"", b"", b"GET /p" + target + b" HTTP/1.1\r\n")
        yield passes(f"target {target!r} as it came", raw, (b"GET", target, b""))
    for absolute in (b"http://gateway.test/p/x?y", b"HTTP://other.test/p/x?y", b"https://u:p@other.test:99/p/x?y"):
        raw = request(b"", b"", b"GET " + absolute + b" HTTP/1.1\r\n")
        yield passes(f"absolute {absolute!r}", raw, (b"GET", b"/x?y", b""))


CHUNKS = (
    b"-1\r\n", b"+2\r\nab\r\n", b"0x2\r\nab\r\n", b" 2\r\nab\r\n", b"2 \r\nab\r\n", b"2\t\r\nab\r\n",
    b"\r\n2\r\nab\r\n",
    b"\n2\r\nab\r\n", b"g\r\nab\r\n", b"2g\r\nab\r\n", b"2\nab\r\n", b"2\rab\r\n", b"2\r\nab\n", b"2\r\nab\r",
    b"2\r\nab0\r\n",
    b"2\r\nabc\r\n", b"1\r\nab\r\n", b"2\r\r\nab\r\n", b"2\r\nab\r\r\n", b"10000000000000000\r\nab",
    b"FFFFFFFFFFFFFFFF1\r\nab",
    b"100000000000000002\r\nab", b"2;a=b\nab\r\n", b"2;a=b\rX\r\nab\r\n", b"2;a\x00b\r\nab\r\n",
    b"2;a=\"b\nc\"\r\nab\r\n",
    b"2;a=\"b\r\nab\r\n", b"2 ;a=b\r\nab\r\n", b"2; a=b\r\nab\r\n", b"2;\r\nab\r\n"[:3] + b"\nab\r\n", b"2,2\r\nab\r\n",
    b"2.0\r\nab\r\n", b"2_0\r\nab\r\n", b"\x002\r\nab\r\n", b"2\x00\r\nab\r\n", b"\xb2\r\nab\r\n", b"2\x0b\r\nab\r\n",
    b"0\r\nX : y\r\n\r\n", b"0\r\nX: a\nY: b\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\r\nX\x00: y\r\n\r\n",
    b"0\r\nnocolon\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\nTransfer-Encoding: x\r\n\r\n", b"0\n\n", b"0\r\n\n", b"0\r\n\r",
    b"0\r\r\n\r\n", b"0\n\r\n", b"00x\r\n\r\n", b"0;\n\r\n",
    b"0\rX\r\n\r\n", b"2\r\nab\r\n\r\n0\r\n\r\n", b"2\r\nab\r\n-0\r\n\r\n", b"2\r\nab\r\n 0\r\n\r\n",
)  # fmt: skip


def chunked_bodies() -> Iterator[Attack]:
    """Chunk sizes, extensions, data and trailers that one reader takes and another does not."""
    for chunks in CHUNKS:
        yield Attack(f"chunks {chunks!r}", request(CHUNKED, chunks + b"0\r\n\r\n" + SMUGGLED))
    good = ((b"2\r\nab\r\n00\r\n\r\n", b"ab"), (b"0000000002\r\nab\r\n0\r\n\r\n", b"ab"),
    (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
            (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"), (b"2;a=b;c=\"d\"\r\nab\r\n0;x\r\n\r\n", b"ab"),
            (b"0\r\n\r\n", b""),
            (b"2\r\nab\r\n0\r\nX: y\r\nZ: w\r\n\r\n", b"ab"), (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
            (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"), (ONE_CHUNK, SMUGGLED))  # fmt: skip
    for raw, body in good:
        yield passes(f"chunks {raw[:40]!r} are fine", request(CHUNKED, raw), posted(body))
        two = request(CHUNKED, raw) + SMUGGLED
        yield passes(f"chunks {raw[:40]!r}, then a request", two, posted(body), (b"GET", b"/smuggled", b""))
    trailer = b"0\r\nHost: evil\r\nAuthorization: Bearer x\r\n\r\n"
    yield passes("trailers stay here", request(CHUNKED, b"2\r\nab\r\n" + trailer), posted(b"ab"))


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
SOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def other_protocols() -> Iterator[Attack]:
    """HTTP/2, upgrades and things that are no HTTP at all."""
    yield Attack("HTTP/2 preface", PREFACE)
    files = (b"GET", b"/v1/files", b"")
    line = b"GET " + TARGET + b" HTTP/1.1\r\n"
    yield passes("h2c is ignored", request(H2C, b"", line), files)
    yield passes(
        "h2c, request in the body", request(H2C + b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED), posted(SMUGGLED)
    )
    yield passes("h2c, request in a chunk", request(H2C + CHUNKED, ONE_CHUNK), posted(SMUGGLED))
    yield Attack("h2c with both framings", request(H2C + CHUNKED + b"Content-Length: 5\r\n", EMPTY_CHUNKS))
    yield passes("h2c with a body is ignored", request(H2C + b"Content-Length: 2\r\n", b"ab"), posted(b"ab"))
    ahead = request(H2C, PREFACE, line)
    yield Attack("h2c, preface ahead", ahead, ("ok", "refused"), (files,))
    smuggled = request(H2C, SMUGGLED, line)
    yield passes("h2c, request behind", smuggled, files, (b"GET", b"/smuggled", b""))
    for name, upgrade in (("websocket", SOCKET), ("tls", b"Connection: upgrade\r\nUpgrade: TLS/1.0\r\n"),
                          ("h2", b"Connection: upgrade\r\nUpgrade: h2\r\n"),
                          ("h2c and more", b"Connection: upgrade\r\nUpgrade: h2c, websocket\r\n"),
                          ("bad version", SOCKET.replace(b"13", b"777"))):  # fmt: skip
        yield Attack(f"upgrade {name}", request(upgrade, SMUGGLED, line))
        yield Attack(f"upgrade {name} with body", request(upgrade + b"Content-Length: 2\r\n", b"ab" + SMUGGLED))
    for name, raw in (("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64), ("SSH",
    b"SSH-2.0-x\r\n"),
                      ("zeros", b"\x00" * 100), ("ff", b"\xff" * 100), ("redis", b"*1\r\n$4\r\nPING\r\n"),
                      ("SMTP", b"EHLO x\r\n"), ("JSON", b'{"a":1}\r\n\r\n'), ("a response", b"HTTP/1.1 200 OK\r\n\r\n"),
                      ("RTSP", b"DESCRIBE rtsp://x RTSP/1.0\r\n\r\n"), ("PROXY", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"),
                      ("SOCKS", b"\x05\x01\x00\x05\x01\x00\x03")):  # fmt: skip
        yield Attack(f"no HTTP: {name}", raw)
    good = request(b"Content-Length: 2\r\n", b"ab")
    for name, rest in (("zeros", b"\x00\x00\x00"), ("garbage", b"garbage\r\n\r\n"), ("a bare LF", b"GET /\n\n"),
    ("preface", PREFACE),
                       ("half a name", b"\x80\r\n")):  # fmt: skip
        raw = good * 3 + rest
        yield Attack(f"three requests, then {name}", raw, ("ok",) * 3 + ("refused",), (posted(b"ab"),) * 3)


def bombs() -> Iterator[Attack]:
    """Heads that are too large in one way or another."""
    yield Attack("201 fields", request(b"X: y\r\n" * 201))
    yield Attack("10,000 fields", request(b"X: y\r\n" * 10_000))
    yield Attack("10,000 empty fields", request(b"".join(b"X%d:\r\n" % n for n in range(10_000))))
    yield Attack("a value of 1 MB", request(b"X: " + b"y" * 1_000_000 + b"\r\n"))
    yield Attack("a name of 1 MB", request(b"x" * 1_000_000 + b": y\r\n"))
    yield Attack("a name of 1 MB without end", request(b"x" * 1_000_000))
    yield Attack("a target of 1 MB", request(b"", b"", b"GET /p/" + b"x" * 1_000_000 + b" HTTP/1.1\r\n"))
    yield Attack("a query of 1 MB", request(b"", b"", b"GET /p/?" + b"x" * 1_000_000 + b" HTTP/1.1\r\n"))
    yield Attack("a method of 1 MB", b"X" * 1_000_000 + b" /p/x HTTP/1.1\r\n\r\n")
    yield Attack("1 MB of CRLF", b"\r\n" * 500_000 + b"\x00")
    yield Attack("a chunk size of 1 MB", request(CHUNKED, b"0" * 1_000_000 + b"2\r\nab\r\n0\r\n\r\n"))
    yield Attack("a chunk extension of 1 MB", request(CHUNKED, b"2;" + b"x" * 1_000_000 + b"\r\nab\r\n0\r\n\r\n"))
    yield Attack("trailers of 1 MB", request(CHUNKED, b"2\r\nab\r\n0\r\n" + b"X: yyyyyyyy\r\n" * 80_000 + b"\r\n"))
    yield Attack("a million cookies", request(b"Cookie: " + b"a=b; " * 200_000 + b"\r\n"))
    yield Attack("too long a body", request(b"Content-Length: 999999999999\r\n", b"x" * 1000))
    yield Attack("too long a body, chunked", request(CHUNKED, b"100000\r\n" + b"x" * 1_048_576 + b"\r\n10\r\n"))


FAMILIES = (
    conflicting_framing, obfuscated_framing, lengths, line_endings, fields, request_lines, chunked_bodies,
    other_protocols,
    bombs,
)  # fmt: skip


def attacks() -> list[Attack]:
    return [attack for family in FAMILIES for attack in family()]

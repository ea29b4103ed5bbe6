"""A client can't tell the gateway from the provider: bytes, order, case, pieces, framing."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Iterable, Iterator

import brotli
import pytest
import zstandard
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, chunk

CONFIG = """
[providers.p]
kind = "openai"
base_url = "{url}/base"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-transparency"
team = "t"
workflow = "w"
"""
BODY = json.dumps(
    {"model": "gpt-4o-mini", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
).encode()
SSE = b"".join(
    b"data: " + json.dumps(document).encode() + b"\n\n"
    for document in (
        {"model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": "hello"}}]},
        {"model": "gpt-4o-mini", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    )
) + b"data: [DONE]\n\n"  # fmt: skip
scripts: dict[str, list[Step]] = {}


def script(seen: Seen) -> Iterable[Step]:
    return scripts[seen.header("x-play") or "plain"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("transparency"), CONFIG.format(url=upstream.url)) as running:
        yield running


def head_of(play: str, method: str, target: str, extra: str) -> bytes:
    return (
        f"{method} /p{target} HTTP/1.1\r\nHost: gateway.example\r\nAuthorization: Bearer sk-test-transparency\r\n"
        f"X-Play: {play}\r\n{extra}\r\n"
    ).encode()


class Client:
    """A raw connection to the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), 5)
        self.buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            piece = self.socket.recv(65536)
            if not piece:
                break
            self.buffer += piece
        end = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            piece = self.socket.recv(65536)
            if not piece:
                break
            self.buffer += piece
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def answer(self, *, bodiless: bool = False) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
        """Status line, fields in order, body (chunks joined, trailers left in the buffer's order)."""
        head = self.until(b"\r\n\r\n")
        lines = head[:-4].split(b"\r\n")
        fields = [(k, v) for k, _, v in (line.partition(b": ") for line in lines[1:])]
        lower = {k.lower(): v for k, v in fields}
        if bodiless:
            return lines[0], fields, b""
        if lower.get(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int(self.until(b"\r\n"), 16):
                body += self.exactly(size)
                self.exactly(2)
            return lines[0], fields, body
        return lines[0], fields, self.exactly(int(lower.get(b"content-length", b"0")))


def own(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Fields without the gateway's and without framing."""
    framing = (b"content-length", b"transfer-encoding", b"connection")
    return [(k, v) for k, v in fields if not k.startswith(b"x-spendgate-") and k.lower() not in framing]


def post(body: bytes, extra: str = "") -> str:
    return f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}"


CALL = json.dumps({"model": "gpt-4o-mini", "messages": [], "max_tokens": 5}).encode()
STREAM = json.dumps(
    {"model": "gpt-4o-mini", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
).encode()


def test_status_reason_order_case_and_repeats_of_fields_are_kept(gateway: Gateway) -> None:
    fields = [
        (b"X-First", b"1"), (b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2; Path=/"), (b"x-UPPER-lower", b"Value, two"),
        (b"Content-Type", b"application/json"), (b"X-Empty", b""), (b"OpenAI-Processing-Ms", b"12"),
    ]  # fmt: skip
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    scripts["fields"] = [b"HTTP/1.1 218 This Is Fine\r\n%bContent-Length: %d\r\n\r\n%b" % (lines, len(BODY), BODY)]
    with Client(gateway) as client:
        client.send(head_of("fields", "POST", "/v1/chat/completions", post(CALL)) + CALL)
        status, got, body = client.answer()
    assert status == b"HTTP/1.1 218 This Is Fine"
    assert own(got) == fields
    assert body == BODY


TARGETS = (
    "/v1/chat%2Fcompletions",
    "/v1//double//slash",
    "/v1beta/models/m%3Ax:generateContent?alt=sse&x=%20y",
    "/a/./b/../c",
    "/v1/files?after=a%26b&limit=2",
    "/v1/%E2%82%AC",
    "/v1/x?key2=1&y",
)


@pytest.mark.parametrize("target", TARGETS)
def test_paths_and_queries_reach_the_provider_in_their_own_bytes(
    gateway: Gateway, upstream: Upstream, target: str
) -> None:
    scripts["plain"] = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
    with Client(gateway) as client:
        client.send(head_of("plain", "GET", target, ""))
        assert client.answer()[2] == b"ok"
    assert upstream.seen[-1].target == "/base" + target


def test_a_request_reaches_the_provider_with_its_own_fields(gateway: Gateway, upstream: Upstream) -> None:
    extra = "User-Agent: sdk/1.0\r\nX-Stainless-Lang: python\r\nAccept: */*\r\nx-spendgate-tag-a: 1\r\nCookie: c=1\r\n"
    hop = "Connection: keep-alive, X-Hop\r\nX-Hop: gone\r\nTE: trailers\r\n"
    with Client(gateway) as client:
        client.send(head_of("plain", "POST", "/v1/chat/completions", post(CALL, extra + hop)) + CALL)
        client.answer()
    seen = upstream.seen[-1]
    names = [name for name, _ in seen.headers]
    assert names == ["Host", "X-Play", "Content-Type", "User-Agent", "X-Stainless-Lang", "Accept", "Cookie",
                     "authorization", "Content-Length"]  # fmt: skip
    assert seen.header("host") == upstream.url.removeprefix("http://")
    assert seen.header("authorization") == "Bearer sk-real"
    assert seen.body == CALL


def test_a_stream_comes_in_the_pieces_in_which_the_provider_sent_it(gateway: Gateway) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [b'data: {"model":"gpt-4o-mini","choices":[]}\n\n', b": comment\n", b"\n", b'data: {"choices":[]}\n\n']
    steps: list[Step] = [head]
    for piece in pieces:
        steps += [chunk(piece), 0.05]
    scripts["pieces"] = [*steps, LAST_CHUNK]
    with Client(gateway) as client:
        client.send(head_of("pieces", "POST", "/v1/chat/completions", post(STREAM)) + STREAM)
        client.until(b"\r\n\r\n")
        for piece in pieces:
            size = int(client.until(b"\r\n"), 16)
            assert client.exactly(size) == piece
            client.exactly(2)
        assert client.until(b"0\r\n\r\n") == b"0\r\n\r\n"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_content_coding_passes_through_and_is_metered(gateway: Gateway, coding: str) -> None:
    encoded = {
        "gzip": gzip.compress(SSE),
        "deflate": zlib.compress(SSE),
        "br": brotli.compress(SSE),
        "zstd": zstandard.compress(SSE),
    }[coding]
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {coding}\r\n"
    scripts["coded"] = [
        head.encode() + b"Transfer-Encoding: chunked\r\n\r\n",
        chunk(encoded[:9]),
        chunk(encoded[9:]),
        LAST_CHUNK,
    ]
    with Client(gateway) as client:
        client.send(
            head_of("coded", "POST", "/v1/chat/completions", post(STREAM, f"Accept-Encoding: {coding}\r\n")) + STREAM
        )
        _, fields, body = client.answer()
    assert body == encoded
    request_id = dict(fields)[b"x-spendgate-request-id"].decode()
    assert gateway.get("/api/requests/" + request_id)["usage"] == {"input_tokens_total": 3, "output_tokens_total": 4}


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body_end_with_their_head(gateway: Gateway, method: str, status: int) -> None:
    length = b"Content-Length: 1234\r\n" if method == "HEAD" else b""
    scripts["bodiless"] = [b'HTTP/1.1 %d X\r\nETag: "a"\r\n%b\r\n' % (status, length)]
    with Client(gateway) as client:
        for _ in range(2):
            client.send(head_of("bodiless", method, "/v1/models", ""))
            line, fields, _ = client.answer(bodiless=True)
            assert line == b"HTTP/1.1 %d X" % status
            assert dict(fields)[b"ETag"] == b'"a"'
            if method == "HEAD":
                assert dict(fields)[b"Content-Length"] == b"1234"
        assert client.buffer == b""


def test_a_304_says_how_long_the_body_is_that_it_stands_for(gateway: Gateway) -> None:
    scripts["unchanged"] = [
        b"HTTP/1.1 304 Not Modified\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n"
    ]
    with Client(gateway) as client:
        for _ in range(2):
            client.send(head_of("unchanged", "GET", "/v1/models", 'If-None-Match: "a"\r\n'))
            line, fields, _ = client.answer(bodiless=True)
            assert line == b"HTTP/1.1 304 Not Modified"
            assert dict(fields)[b"Content-Length"] == b"44"
        assert client.buffer == b""


def test_interim_answers_pass(gateway: Gateway) -> None:
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    scripts["early"] = [b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n", 0.05, final]
    with Client(gateway) as client:
        client.send(head_of("early", "GET", "/v1/models", ""))
        line, fields, _ = client.answer(bodiless=True)
        assert line.startswith(b"HTTP/1.1 103")
        assert fields == [(b"Link", b"</a>; rel=preload")]
        assert client.answer()[2] == b"ok"


@pytest.mark.parametrize(
    ("kind", "body", "call"), [("text/event-stream", SSE, STREAM), ("application/json", BODY, CALL)]
)
def test_trailers_pass(gateway: Gateway, kind: str, body: bytes, call: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    scripts["trailers"] = [head + chunk(body) + b"0\r\nX-Checksum: abc\r\n\r\n"]
    with Client(gateway) as client:
        client.send(head_of("trailers", "POST", "/v1/chat/completions", post(call)) + call)
        assert client.answer()[2] == body
        assert client.until(b"\r\n\r\n") == b"X-Checksum: abc\r\n\r\n"


def test_an_answer_delimited_by_its_close_is_whole(gateway: Gateway) -> None:
    scripts["close"] = [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + BODY,
        "close",
    ]
    with Client(gateway) as client:
        client.send(head_of("close", "POST", "/v1/chat/completions", post(CALL)) + CALL)
        assert client.answer()[2] == BODY


def test_expect_100_continue_is_answered_before_the_body_comes(gateway: Gateway, upstream: Upstream) -> None:
    with Client(gateway) as client:
        client.send(head_of("plain", "POST", "/v1/chat/completions", post(CALL, "Expect: 100-continue\r\n")))
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(CALL)
        assert client.answer()[2] == b"ok"
    assert upstream.seen[-1].body == CALL


def test_a_refused_key_is_told_instead_of_100_continue(gateway: Gateway) -> None:
    head = head_of("plain", "POST", "/v1/chat/completions", post(CALL, "Expect: 100-continue\r\n"))
    with Client(gateway) as client:
        client.send(head.replace(b"sk-test-transparency", b"sk-wrong"))
        assert client.until(b"\r\n").startswith(b"HTTP/1.1 401")


def test_a_chunked_request_body_arrives_whole(gateway: Gateway, upstream: Upstream) -> None:
    head = head_of(
        "plain", "POST", "/v1/chat/completions", "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    )
    with Client(gateway) as client:
        client.send(head + chunk(CALL[:10]))
        client.send(chunk(CALL[10:]) + LAST_CHUNK)
        assert client.answer()[2] == b"ok"
    assert upstream.seen[-1].body == CALL


def test_a_multipart_upload_arrives_in_its_own_bytes(gateway: Gateway, upstream: Upstream) -> None:
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        + bytes(range(256)) * 40
        + b"\r\n--xyz--\r\n"
    )
    extra = f"Content-Type: multipart/form-data; boundary=xyz\r\nContent-Length: {len(body)}\r\n"
    with Client(gateway) as client:
        client.send(head_of("plain", "POST", "/v1/audio/transcriptions", extra) + body)
        assert client.answer()[2] == b"ok"
    assert upstream.seen[-1].body == body
    assert gateway.records()[0]["model_requested"] == "whisper-1"


def test_requests_sent_ahead_are_answered_in_order(gateway: Gateway) -> None:
    for number in range(5):
        scripts[f"n{number}"] = [0.02 * (5 - number), b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number]
    with Client(gateway) as client:
        client.send(b"".join(head_of(f"n{number}", "GET", "/v1/models", "") for number in range(5)))
        assert [client.answer()[2] for _ in range(5)] == [b"%d" % number for number in range(5)]


def test_http_1_0_is_spoken(gateway: Gateway) -> None:
    scripts["old"] = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        chunk(SSE),
        LAST_CHUNK,
    ]
    with Client(gateway) as client:
        client.send(
            head_of("old", "POST", "/v1/chat/completions", post(STREAM)).replace(b"HTTP/1.1", b"HTTP/1.0") + STREAM
        )
        data = b""
        while piece := client.socket.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == SSE


def test_a_body_over_the_limit_is_refused_in_the_providers_shape(gateway: Gateway) -> None:
    with Client(gateway) as client:
        client.send(head_of("plain", "POST", "/v1/chat/completions", "Content-Length: 999999999\r\n"))
        status, _, body = client.answer()
    assert status.startswith(b"HTTP/1.1 413")
    assert json.loads(body)["error"]["code"] == "request_too_large"


def test_a_body_that_is_not_json_is_refused_in_the_providers_shape(gateway: Gateway) -> None:
    with Client(gateway) as client:
        client.send(head_of("plain", "POST", "/v1/chat/completions", post(b'{"model": ')) + b'{"model": ')
        status, _, body = client.answer()
    assert status.startswith(b"HTTP/1.1 400")
    assert "JSON" in json.loads(body)["error"]["message"]

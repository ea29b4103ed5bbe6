"""What passes through the transport unchanged, in both directions."""

from __future__ import annotations

import asyncio

import pytest
from transport_play import OK, Play, Provider, both_loops, get, post

HEAD = b"HTTP/1.1 %b\r\n%b\r\n"


@both_loops
async def test_status_reason_and_fields_keep_order_case_and_repeats() -> None:
    raw = (
        b"HTTP/1.1 418 I'm a (tea) pot\r\nX-Zed: 1\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nALL-CAPS: Yes\r\n"
        b"x-empty:\r\nContent-Length: 3\r\nDate: never\r\nServer: theirs\r\nConnection: X-Zed, keep-alive\r\n\r\nabc"
    )
    async with Play(raw) as play:
        client = await play.connect()
        client.send(post())
        answer = await client.answer()
        assert answer.line == b"HTTP/1.1 418 I'm a (tea) pot"
        assert answer.headers == [
            (b"set-cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"ALL-CAPS", b"Yes"), (b"x-empty", b""),
            (b"Date", b"never"), (b"Server", b"theirs"), (b"Content-Length", b"3"),
        ]  # fmt: skip
        assert answer.body == b"abc"


@both_loops
async def test_a_request_reaches_the_provider_in_its_own_bytes() -> None:
    async with Play(OK) as play:
        client = await play.connect()
        client.send(
            b"POST //v1/m%2Fx:generate?a=b%20c&&d HTTP/1.1\r\nHOST: g\r\nX-b: 2\r\nx-A: 1 \t\r\nX-b: 3\r\n"
            b"Keep-Alive: 5\r\nConnection: X-Mine\r\nX-Mine: no\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n"
        )
        assert (await client.answer()).body == b"ok"
        assert play.provider.requests == [
            b"POST //v1/m%2Fx:generate?a=b%20c&&d HTTP/1.1\r\nHost: provider.test\r\nX-b: 2\r\nx-A: 1\r\nX-b: 3\r\n"
            b"Content-Length: 4\r\n\r\n\x00\xff\r\n"
        ]


@both_loops
async def test_an_absolute_target_is_taken_by_its_path_and_query() -> None:
    async with Play(OK) as play:
        client = await play.connect()
        for target, seen in (
            (b"http://h/a/b?c", b"/a/b?c"),
            (b"HTTP://u@h:80?x=/y", b"/?x=/y"),
            (b"https://h", b"/"),
        ):
            client.send(get(target))
            assert (await client.answer()).status == 200
            assert play.provider.requests[-1].split(b" ")[1] == seen


@both_loops
async def test_a_chunked_request_arrives_whole_with_its_length() -> None:
    async with Play(OK) as play:
        client = await play.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: Chunked\r\n\r\n")
        for piece in (b"3;x=y\r\nab", b"c\r\n", b"1\r\nd\r\n0\r\nT", b"railer: x\r\n\r\n"):
            client.send(piece)
            await asyncio.sleep(0.01)
        assert (await client.answer()).status == 200
        assert play.provider.requests[0].endswith(b"Content-Length: 4\r\n\r\nabcd")


@both_loops
async def test_a_multipart_upload_passes_byte_for_byte() -> None:
    body = b"--b\r\nContent-Disposition: form-data; name=f\r\n\r\n" + bytes(range(256)) * 4000 + b"\r\n--b--\r\n"
    async with Play(OK) as play:
        client = await play.connect()
        client.send(post(body, extra=b"Content-Type: multipart/form-data; boundary=b\r\n"))
        assert (await client.answer()).status == 200
        assert play.provider.requests[0].endswith(b"\r\n\r\n" + body)


@both_loops
async def test_pieces_reach_the_client_when_the_provider_sends_them() -> None:
    steps = asyncio.Queue[bytes]()

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while piece := await steps.get():
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")

    async with Play(script) as play:
        client = await play.connect()
        client.send(post())
        await client.head()
        for piece in (b"data: 1\n\n", b"data: 2\n\n", b"x" * 100_000):
            steps.put_nowait(piece)
            got = b""
            while len(got) < len(piece):
                got += await client.chunk() or b""
            assert got == piece
        steps.put_nowait(b"")
        assert await client.chunk() is None


@both_loops
async def test_trailers_pass() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"
    async with Play(raw) as play:
        client = await play.connect()
        client.send(post())
        await client.head()
        assert await client.reader.readuntil(b"\r\n\r\n") == b"2\r\nab\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"


@both_loops
async def test_early_hints_pass_and_a_100_of_the_provider_does_not() -> None:
    hop = b"Keep-Alive: x\r\nConnection: x-a\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n"
    raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Some Hints\r\nLink: </a>\r\n" + hop + b"\r\n"
    raw += b"HTTP/1.1 102\r\n\r\n" + OK
    async with Play(raw) as play:
        client = await play.connect()
        client.send(post())
        line, headers = await client.head()
        assert line == b"HTTP/1.1 103 Some Hints"
        assert headers == [(b"Link", b"</a>")]
        assert await client.head() == (b"HTTP/1.1 102 ", [])
        assert (await client.answer()).body == b"ok"


@pytest.mark.parametrize(
    ("method", "raw", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", b"1234"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", None),
    ],
)
@both_loops
async def test_an_answer_without_a_body_keeps_its_head_and_the_connection(
    method: str, raw: bytes, length: bytes | None
) -> None:
    async with Play(raw) as play:
        client = await play.connect()
        for _ in range(2):
            client.send(b"%b / HTTP/1.1\r\nHost: g\r\n\r\n" % method.encode())
            answer = await client.answer(method)
            assert answer.line == raw.split(b"\r\n")[0]
            assert answer.get(b"content-length") == length
            assert answer.get(b"transfer-encoding") is None


@both_loops
async def test_a_body_behind_the_answer_to_a_head_request_reaches_nobody() -> None:
    async with Play(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as play:
        client = await play.connect()
        for _ in range(2):
            client.send(b"HEAD / HTTP/1.1\r\nHost: g\r\n\r\n")
            assert (await client.answer("HEAD")).get(b"content-length") == b"2"
        assert play.provider.connections == 2, "what lies behind an answer would be taken for the next one"


@both_loops
async def test_a_body_delimited_by_close_becomes_a_chunked_one_with_a_clean_end() -> None:
    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        writer.close()

    async with Play(script) as play:
        client = await play.connect()
        for _ in range(2):
            client.send(post())
            answer = await client.answer()
            assert answer.body == b"until the end"
            assert answer.get(b"transfer-encoding") == b"chunked"


@both_loops
async def test_an_http_1_0_client_gets_its_body_until_close_or_keeps_its_connection_where_it_asks() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with Play(chunked) as play:
        answer = await play.exchange(b"GET / HTTP/1.0\r\n\r\n")
        assert b"chunked" not in answer
        assert answer.endswith(b"\r\n\r\nok")
    async with Play(OK) as play:
        client = await play.connect()
        for _ in range(2):
            client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer2 = await client.answer()
            assert answer2.get(b"connection") == b"keep-alive"


@both_loops
async def test_a_client_that_expects_a_100_gets_it_before_its_body_is_read() -> None:
    async with Play(OK) as play:
        client = await play.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: g\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
        assert (await client.head())[0] == b"HTTP/1.1 100 Continue"
        client.send(b"hi")
        assert (await client.answer()).body == b"ok"
        assert b"xpect" not in play.provider.requests[0]


@pytest.mark.parametrize("when", ["now", "later"])
@both_loops
async def test_a_refused_client_that_expects_a_100_never_sends_its_body(when: str) -> None:
    async with Play(OK) as play:
        play.refuse = when
        answer = await play.exchange(b"POST / HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 401")
        assert b"Connection: close" in answer
        assert play.provider.requests == []


@pytest.mark.parametrize("when", ["now", "later"])
@both_loops
async def test_a_refused_request_with_a_small_body_keeps_its_connection(when: str) -> None:
    async with Play(OK) as play:
        client = await play.connect()
        play.refuse = when
        client.send(b"POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 6\r\n\r\nGET")
        assert (await client.answer()).status == 401
        play.refuse = ""
        client.send(b" / " + post())
        assert (await client.answer()).body == b"ok"
        assert len(play.provider.requests) == 1


@both_loops
async def test_a_refused_upload_without_end_gets_its_answer_and_is_closed() -> None:
    async with Play(OK) as play:
        client = await play.connect()
        play.refuse = "later"
        client.send(b"POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 3_000_000)
        assert (await client.rest()).startswith(b"HTTP/1.1 401")
        assert play.provider.requests == []


@both_loops
async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = provider.requests[-1].split(b" ")[1]
        await asyncio.sleep(0.02 if target.endswith(b"0") else 0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    async with Play(script) as play:
        client = await play.connect()
        client.send(b"".join(post(b"x" * 1000, b"/%d" % n) for n in range(10)))
        for n in range(10):
            if n == 3:
                client.send(b"".join(post(b"y" * 200_000, b"/%d" % n) for n in range(10, 13)))
            assert (await client.answer()).body == b"/%d" % n
        for n in range(10, 13):
            assert (await client.answer()).body == b"/%d" % n
        assert len(play.provider.requests) == 13


@pytest.mark.parametrize("cut", [None, 1, 30, -1])
@both_loops
async def test_requests_sent_ahead_stay_in_order_where_one_comes_in_the_moment_an_answer_ends(cut: int | None) -> None:
    """What came before is read first, however it was cut on its way."""
    ahead = post(b"second", b"/2") + post(b"third", b"/3")
    at = len(post(b"second", b"/2")) if cut is None else cut
    arrived = asyncio.Event()

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = provider.requests[-1].split(b" ")[1]
        if target == b"/1":
            arrived.set()
            await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))
        if target == b"/1":
            # both are in the kernel before the gateway's next turn: the end of the answer, and more from the client
            client.send(ahead[at:])

    async with Play(script) as play:
        client = await play.connect()
        client.send(post(b"first", b"/1"))
        await arrived.wait()
        client.send(ahead[:at])
        assert [(await client.answer()).body for _ in range(3)] == [b"/1", b"/2", b"/3"]
        assert [request.rpartition(b"\r\n")[2] for request in play.provider.requests] == [b"first", b"second", b"third"]


@both_loops
async def test_of_many_requests_sent_ahead_in_one_read_the_first_are_answered_then_the_connection_closes() -> None:
    async with Play(OK) as play:
        answer = await play.exchange(get() * 500)
        assert answer.count(b"HTTP/1.1 200 OK") == len(play.calls) == len(play.provider.requests)
        assert 1 < len(play.calls) < 500
        assert answer.count(b"Connection: close") == 1


@both_loops
async def test_rubbish_behind_a_request_is_answered_after_it() -> None:
    async with Play(OK) as play:
        answer = await play.exchange(post() + b"\x00rubbish\r\n\r\n")
        assert answer.index(b"HTTP/1.1 200") < answer.index(b"HTTP/1.1 400")
        assert len(play.provider.requests) == 1


@both_loops
async def test_the_last_answer_of_a_connection_says_close() -> None:
    async with Play(OK) as play:
        answer = await play.exchange(get(extra=b"Connection: close\r\n") + get())
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"Connection: close" in answer


@both_loops
async def test_an_offer_of_h2c_is_ignored_and_other_upgrades_reach_the_exchange() -> None:
    async with Play(OK) as play:
        client = await play.connect()
        offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        chunked = (
            b"POST /c HTTP/1.1\r\nHost: g\r\n" + offer + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        inner = get(b"/inner")
        for request in (get(extra=offer), get(), post(inner, extra=offer), chunked, post(b"", extra=offer), get()):
            client.send(request)
        for _ in range(6):
            assert (await client.answer()).body == b"ok"
        assert all(b"pgrade" not in seen and b"ettings" not in seen for seen in play.provider.requests)
        assert [seen.partition(b"\r\n\r\n")[2] for seen in play.provider.requests] == [
            b"",
            b"",
            inner,
            b"abc",
            b"",
            b"",
        ]
        for piece in (chunked[:150], chunked[150:190], chunked[190:]):
            client.send(piece)
            await asyncio.sleep(0.02)
        assert (await client.answer()).body == b"ok"
        assert play.provider.requests[-1].endswith(b"\r\n\r\nabc")
        assert b"HTTP/1.1 501" in await play.exchange(get(extra=b"Connection: upgrade\r\nUpgrade: other\r\n"))

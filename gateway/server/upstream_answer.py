"""One answer of a provider, as it is understood up to now.

HTTP parsing is llhttp's (through httptools), lenient in one thing alone, which h11, http.client, aiohttp and curl take
and no reader can understand differently: blanks behind a chunk's size. Of a head that is known but for its values,
llhttp is given the lines that frame the body (``gateway.wire.answer_heads``).
"""

from __future__ import annotations

from math import inf

import httptools

from gateway.ports import Header
from gateway.server.upstream_call import UpstreamCall
from gateway.wire.answer_heads import Shapes
from gateway.wire.http_heads import Fields, KnownFields

MAX_HEAD_BYTES = 262_144
MAX_HEADERS = 1_000
MAX_INTERIMS = 32


NO_PARSER = httptools.HttpResponseParser(object())


class UpstreamAnswer:
    """The state of one answer after the other on one connection, as llhttp tells it."""

    __slots__ = (
        "_at_start", "_beginning", "_bodiless", "_call", "_complete", "_dry", "_extra", "_fields", "_fresh_head",
        "_head_bytes", "_headers", "_heads", "_interim_count", "_interims", "_keep", "_known", "_parser",
        "_parts", "_reason", "_seen_head", "_sized", "_status", "_trailers", "idle_seconds",
    )  # fmt: skip

    def __init__(self, heads: Shapes) -> None:
        self._heads = heads
        self._call: UpstreamCall | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        self.idle_seconds = inf
        """How long the provider keeps an idle connection, where it says so."""
        self._interims: list[tuple[int, bytes, list[Header]]] = []
        self._parts: list[bytes] = []
        self._trailers: list[Header] = []
        self._status = 0
        self._fresh_head = False
        self._bodiless = False
        self._sized = False
        self._keep = False
        self._extra = False
        self._reset()

    def _reset(self) -> None:
        """For the next answer: what is not said by each head, and may have changed in an answer that was in order."""
        self._headers: list[Header] = []
        self._at_start = True
        """Nothing of the answer came yet."""
        self._beginning = b""
        """The first of the answer, where its head is the parser's."""
        self._known: KnownFields | None = None
        """Its fields, where they need not be parsed."""
        self._fields = self._headers
        """Where the fields that come belong: to the head, or to the trailers."""
        if self._trailers:
            self._trailers = []
        self._reason = b""
        self._head_bytes = 0
        self._dry = 0
        """Bytes that came since the last of the body: chunk extensions, trailers."""
        self._interim_count = 0
        self._seen_head = False
        self._complete = False

    def _begin(self, data: bytes) -> None:
        """Parse the first of an answer; of a head that is known, only what frames the body."""
        self._at_start = False
        known = self._heads.read(data)
        if known is None:
            self._beginning = data
            self._parser.feed_data(data)
            return
        self._known = known.fields
        self._parser.feed_data(known.framing)
        if known.end < len(data):
            self._parser.feed_data(memoryview(data)[known.end :])

    # llhttp

    def on_message_begin(self) -> None:
        if self._complete:
            self._extra = True
            self._fields = []

    def on_status(self, status: bytes) -> None:
        if not self._extra:
            self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if value and value[-1] in b" \t":
            value = value.rstrip(b" \t")
        fields = self._fields
        fields.append((name, value))
        if len(fields) > MAX_HEADERS:
            raise ValueError("its head is too large")

    def on_headers_complete(self) -> None:
        if self._extra:
            return
        parser = self._parser
        status = self._status = parser.get_status_code()
        if status < 200 and not (status == 101 and parser.should_upgrade()):
            if status < 100 or status == 101:
                raise ValueError(f"its status is {status}")
            return
        self._keep = parser.should_keep_alive()
        call = self._call
        self._bodiless = status == 204 or status == 304
        if call is not None and call.method == b"HEAD":
            # llhttp does not know of the method: what it takes for a body is none
            self._bodiless = self._extra = True
        fields = self._headers = self._fields_of_head(status)
        coding = fields.get(b"transfer-encoding")
        # a coding that is taken off nowhere would reach the client under a false framing
        if coding is not None and coding.lower() != b"chunked":
            raise ValueError("its transfer coding is not chunked alone")
        self._sized = coding is not None or fields.get(b"content-length") is not None
        keep = fields.get(b"keep-alive")
        if keep is not None:
            self.idle_seconds = _idle_seconds(keep)
        self._fields = self._trailers
        self._seen_head = self._fresh_head = True

    def _fields_of_head(self, status: int) -> Fields:
        """As they were known, else as they were parsed."""
        if self._known is not None:
            return self._known
        headers = self._headers
        beginning, self._beginning = self._beginning, b""
        if beginning and status == 200:
            self._heads.learn(beginning, headers)
        return Fields(headers)

    def on_body(self, body: bytes) -> None:
        if not self._seen_head:
            # of the parser's own accord a 102 and a 103 have none, whatever they say (RFC 9110 section 15.2)
            raise ValueError(f"its {self._status} has a body")
        if not self._extra:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._seen_head:
            self._complete = True
        else:
            self._interim()

    def _interim(self) -> None:
        """A 1xx answer is whole. A 100 stays here: the gateway forwards no expectation."""
        self._interim_count += 1
        if self._interim_count > MAX_INTERIMS:
            raise ValueError("it sends 1xx answers without end")
        if self._status != 100:
            self._interims.append((self._status, self._reason, Fields(self._headers).onward))
        self._headers = self._fields = []
        self._reason = b""


def _idle_seconds(value: bytes) -> float:
    """``Keep-Alive: timeout=N``, less a second for the way; no bound where nothing is said."""
    for part in value.split(b","):
        name, _, seconds = part.strip().partition(b"=")
        if name.lower() == b"timeout" and seconds.isdigit() and len(seconds) < 9:
            return max(0.0, int(seconds) - 1.0)
    return inf

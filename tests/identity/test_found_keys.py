"""The virtual key is found wherever an SDK puts its key, and goes no further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.found import find_key

SECRET = "sk-sg-" + "a" * 43
PATH = b"/openai/v1/chat/completions"


@pytest.mark.parametrize(
    "header",
    [
        (b"Authorization", b"Bearer " + SECRET.encode()),
        (b"authorization", b"bearer   " + SECRET.encode() + b" "),
        (b"AUTHORIZATION", b"BEARER " + SECRET.encode()),
        (b"x-api-key", SECRET.encode()),
        (b"X-API-Key", SECRET.encode()),
        (b"X-Api-KEY", SECRET.encode()),
        (b"api-key", SECRET.encode()),
        (b"Api-Key", SECRET.encode()),
        (b"x-goog-api-key", SECRET.encode()),
        (b"x-spendgate-key", SECRET.encode()),
        (b"X-SpendGate-Key", SECRET.encode()),
    ],
)
def test_the_key_is_found_in_every_place_and_spelling_and_taken_out(header: tuple[bytes, bytes]) -> None:
    found = find_key([(b"Host", b"h"), header, (b"X-Other", b"kept")], PATH)
    assert found.secret == SECRET
    assert found.headers == [(b"Host", b"h"), (b"X-Other", b"kept")]
    assert found.credential == []
    assert found.target == PATH


@pytest.mark.parametrize(
    ("target", "below"),
    [
        (b"/gemini/v1beta/m:gen?key=" + SECRET.encode(), b"/gemini/v1beta/m:gen"),
        (b"/g/m?alt=sse&key=" + SECRET.encode() + b"&x=%20", b"/g/m?alt=sse&x=%20"),
        (b"/g/m?key=" + SECRET.encode() + b"&key=other", b"/g/m"),
        (b"/a/realtime?api-version=1&api-key=" + SECRET.encode(), b"/a/realtime?api-version=1"),
    ],
)
def test_the_key_in_a_query_is_found_and_every_other_byte_stays(target: bytes, below: bytes) -> None:
    found = find_key([], target)
    assert (found.secret, found.target, found.own_target) == (SECRET, below, below)


OFFERED = b"openai-insecure-api-key."


@pytest.mark.parametrize(
    ("offers", "kept"),
    [
        ((b"a, " + OFFERED + SECRET.encode() + b", b.realtime-v1",), (b"a, b.realtime-v1",)),
        ((b"realtime,\t" + OFFERED + SECRET.encode(),), (b"realtime",)),
        ((b"realtime", OFFERED + SECRET.encode()), (b"realtime",)),
    ],
)  # fmt: skip
def test_the_key_among_the_subprotocols_of_a_browsers_websocket_is_found_and_taken_out(
    offers: tuple[bytes, ...], kept: tuple[bytes, ...]
) -> None:
    found = find_key([(b"Sec-WebSocket-Protocol", offer) for offer in offers], PATH)
    assert (found.secret, found.credential) == (SECRET, [])
    assert found.headers == [(b"Sec-WebSocket-Protocol", one) for one in kept]
    own = [(b"sec-websocket-protocol", b"a, " + OFFERED + b"sk-live"), (b"x-spendgate-key", SECRET.encode())]
    found = find_key(own, PATH)
    assert (found.secret, found.headers) == (SECRET, [(b"sec-websocket-protocol", b"a")])
    assert found.credential == [(b"sec-websocket-protocol", OFFERED + b"sk-live")]


def test_a_key_with_reserved_characters_is_decoded_in_a_query() -> None:
    assert find_key([], b"/g?key=a%2Bb%20c").secret == "a+b c"


def test_a_parameter_that_only_ends_in_key_is_no_key() -> None:
    found = find_key([], b"/g/m?apikey=1&monkey=2")
    assert (found.secret, found.target) == (None, b"/g/m?apikey=1&monkey=2")


def test_the_named_key_wins_and_what_else_came_is_the_providers_own() -> None:
    own = (b"Authorization", b"Bearer sk-live-provider")
    for headers in ([own, (b"x-spendgate-key", SECRET.encode())], [(b"x-spendgate-key", SECRET.encode()), own]):
        found = find_key(headers, b"/g?key=AIza")
        assert found.secret == SECRET
        assert found.named
        assert found.headers == []
        assert found.credential == [own]
        assert (found.target, found.own_target) == (b"/g", b"/g?key=AIza")


def test_a_virtual_key_sent_twice_never_passes_as_the_providers_own() -> None:
    for own in (SECRET, "sk-demo-key", "sk-sg-" + "b" * 43):
        named = SECRET if own.startswith("sk-sg-") else own
        headers = [
            (b"x-spendgate-key", named.encode()),
            (b"Authorization", b"Bearer " + own.encode()),
            (b"x-api-key", own.encode()),
        ]
        found = find_key(headers, b"/g?key=" + own.encode())
        assert found.credential == []
        assert found.own_target == b"/g"


def test_schemes_that_carry_no_key_are_left_to_the_provider() -> None:
    signed = (b"Authorization", b"AWS4-HMAC-SHA256 Credential=AKIA/20261124/us-east-1/bedrock/aws4_request")
    found = find_key([signed], PATH)
    assert (found.secret, found.credential) == (None, [signed])
    assert find_key([(b"Authorization", b"Basic abc"), (b"x-api-key", SECRET.encode())], PATH).secret == SECRET


def test_no_gateway_header_is_left_and_attribution_is_read() -> None:
    headers = [
        (b"X-Spendgate-Workflow", b"ranking"),
        (b"x-spendgate-tag-Env", b"prod"),
        (b"x-spendgate-anything", b"x"),
        (b"x-other", b"y"),
    ]
    found = find_key(headers, PATH)
    assert found.headers == [(b"x-other", b"y")]
    assert found.attribution == [("workflow", "ranking"), ("tag.env", "prod")]


def test_attribution_and_secrets_are_bounded() -> None:
    many = [(b"x-spendgate-tag-%d" % n, b"v") for n in range(1000)]
    assert len(find_key(many, PATH).attribution) <= 32
    assert find_key([(b"x-api-key", b"k" * 100_000)], PATH).secret is None
    assert find_key([(b"x-api-key", b"")], PATH).secret is None


NAMES = st.sampled_from(
    [
        b"authorization",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"x-spendgate-key",
        b"x-spendgate-tag-a",
        b"host",
        b"te",
    ]
)


@given(
    st.lists(st.tuples(NAMES, st.sampled_from([b"title", b"upper", b"lower"]), st.binary(max_size=30)), max_size=8),
    st.binary(max_size=20),
)
def test_whatever_is_sent_no_credential_and_no_gateway_header_is_among_the_kept(
    fields: list[tuple[bytes, bytes, bytes]], query: bytes
) -> None:
    headers = [(getattr(name, case.decode())(), value) for name, case, value in fields]
    found = find_key(headers, b"/p?" + query)
    assert {name.lower() for name, _ in found.headers} <= {b"host", b"te"}
    assert [header for header in headers if header[0].lower() in (b"host", b"te")] == found.headers
    assert b"key=" not in found.target.replace(b"xkey=", b"").split(b"?", 1)[-1] or all(
        not pair.startswith(b"key=") for pair in found.target.partition(b"?")[2].split(b"&")
    )

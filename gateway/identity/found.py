"""The virtual key in a request's head, wherever the provider's SDK puts its key, and the attribution beside it.

Places: ``x-spendgate-key`` before all others, then ``Authorization: Bearer``, ``x-api-key`` (Anthropic), ``api-key``
(Azure), ``x-goog-api-key`` and ``?key=`` (Google). A browser's WebSocket has no fields of its own: there the key comes
among the subprotocols (OpenAI) or as ``?api-key=`` (Azure). A head signed for AWS (``Authorization:
AWS4-HMAC-SHA256``) has no place for it: there the key comes as ``x-spendgate-key``, or as the bearer token of
``AWS_BEARER_TOKEN_BEDROCK``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

import msgspec

from gateway.ports import Header

PREFIX = b"x-spendgate-"
KEY = b"x-spendgate-key"
WORKFLOW = b"x-spendgate-workflow"
TAG = b"x-spendgate-tag-"
MAX_SECRET = 512
MAX_ATTRIBUTION = 32
"""So many attribution fields are read of a head; there are fewer tags than that."""
_OWN_SECRET = b"sk-sg-"

_HARMLESS, _BEARER, _PLAIN, _OURS, _OFFERS = range(5)
_BEARERS = (b"authorization",)
_PLAINS = (b"x-api-key", b"api-key", b"x-goog-api-key")
_SUBPROTOCOLS = b"sec-websocket-protocol"
_OFFERED_KEY = b"openai-insecure-api-key."
_KEY_PAIRS = (b"key=", b"api-key=")
_USUAL = (
    "host accept accept-encoding accept-language connection content-type content-length user-agent transfer-encoding "
    "traceparent tracestate baggage origin referer cookie x-request-id x-forwarded-for x-forwarded-proto "
    "x-forwarded-host x-real-ip idempotency-key openai-organization openai-project openai-beta anthropic-version "
    "anthropic-beta anthropic-dangerous-direct-browser-access x-goog-api-client x-goog-user-project x-amz-date "
    "x-amz-security-token x-amz-content-sha256 amz-sdk-invocation-id amz-sdk-request x-stainless-lang "
    "x-stainless-package-version x-stainless-os x-stainless-arch x-stainless-runtime x-stainless-runtime-version "
    "x-stainless-async x-stainless-retry-count x-stainless-read-timeout x-stainless-timeout x-stainless-helper-method"
)


def _kind_of(lower: bytes) -> int:
    if lower in _BEARERS:
        return _BEARER
    if lower in _PLAINS:
        return _PLAIN
    if lower == _SUBPROTOCOLS:
        return _OFFERS
    return _OURS if lower.startswith(PREFIX) else _HARMLESS


def _spelt() -> dict[bytes, int]:
    """What clients usually send, as they spell it: one dict access tells what a field is."""
    known = {}
    for name in (*_USUAL.encode().split(), *_BEARERS, *_PLAINS, KEY, WORKFLOW):
        for spelling in (name, name.title(), name.title().replace(b"Os", b"OS").replace(b"Api", b"API")):
            known[spelling] = _kind_of(name)
    return known


_KNOWN = MappingProxyType(_spelt()).get


class FoundKey(msgspec.Struct, kw_only=True):
    """What a head says of its sender. No ``x-spendgate-*`` field and no credential is left in ``headers``."""

    secret: str | None
    headers: list[Header]
    target: bytes
    """Without ``?key=`` and ``?api-key=``."""
    credential: list[Header]
    """The credential fields that may be the provider's own, as they came."""
    own_target: bytes
    """The target with a ``?key=`` that may be the provider's own."""
    named: bool = False
    """The key came as ``x-spendgate-key``: any other credential is the provider's."""
    too_long: bool = False
    """What stands in a key's place is longer than any key, as the tokens of Entra and Google are: it is not read."""
    attribution: list[tuple[str, str]] = msgspec.field(default_factory=list)
    """``("workflow", value)`` and ``("tag.NAME", value)``."""


def find_key(headers: Sequence[Header], target: bytes) -> FoundKey:
    """One pass over a head. ``x-spendgate-key`` wins over what stands where the SDK puts its key."""
    secret: bytes | None = None
    named: bytes | None = None
    kept: list[Header] = []
    credential: list[Header] = []
    attribution: list[tuple[str, str]] = []
    for header in headers:
        name = header[0]
        kind = _KNOWN(name)
        if kind is None:
            kind = _kind_of(name.lower())
        if not kind:
            kept.append(header)
        elif kind == _OFFERS:
            others, offered = _without_offered(header)
            kept.extend(others)
            credential.extend(offered)
            if secret is None and offered:
                secret = _value(offered[0])
        elif kind != _OURS:
            credential.append(header)
            if secret is None:
                secret = _bearer(header[1]) if kind == _BEARER else header[1]
        else:
            lower = name.lower()
            if lower == KEY:
                named = header[1]
            elif len(attribution) < MAX_ATTRIBUTION:
                _attribute(attribution, lower, header[1])
    path = target
    if b"key=" in target:
        path, key = _without_key(target)
        if secret is None:
            secret = key
    value = named if named is not None else secret
    if named is None and len(credential) == 1 and secret is not None and secret.startswith(_OWN_SECRET):
        # the usual call
        credential, target = [], path
    elif credential or path is not target:
        credential, target = _own(credential, named, target, path)
    return FoundKey(
        secret=value.decode("utf-8", "replace") if value and len(value) <= MAX_SECRET else None,
        headers=kept,
        target=path,
        credential=credential,
        own_target=target,
        named=named is not None,
        too_long=value is not None and len(value) > MAX_SECRET,
        attribution=attribution,
    )


def _bearer(value: bytes) -> bytes | None:
    """The token of ``Bearer``; other schemes (Basic, AWS4-HMAC-SHA256) carry none."""
    if value[:7] == b"Bearer ":
        return value[7:].strip()
    scheme, _, rest = value.partition(b" ")
    return rest.strip() if scheme.lower() == b"bearer" else None


def _attribute(attribution: list[tuple[str, str]], lower: bytes, value: bytes) -> None:
    if lower == WORKFLOW:
        attribution.append(("workflow", value.decode("utf-8", "replace")))
    elif lower.startswith(TAG):
        attribution.append(("tag." + lower[len(TAG) :].decode("latin-1"), value.decode("utf-8", "replace")))


def _own(credential: list[Header], named: bytes | None, target: bytes, path: bytes) -> tuple[list[Header], bytes]:
    """What of the credentials may be the provider's own: never what is surely a virtual key."""
    own = [header for header in credential if not _is_virtual(_value(header), named)]
    if path is not target and _is_virtual(_without_key(target)[1], named):
        target = path
    return own, target


def _without_offered(header: Header) -> tuple[list[Header], list[Header]]:
    """Subprotocols that a client offers, but its key; and its key."""
    name, value = header
    if _OFFERED_KEY not in value:
        return [header], []
    offers = [offer.strip(b" \t") for offer in value.split(b",")]
    others = [offer for offer in offers if not offer.startswith(_OFFERED_KEY)]
    keys = [(name, offer) for offer in offers if offer.startswith(_OFFERED_KEY)]
    return [(name, b", ".join(others))] if others else [], keys


def _value(header: Header) -> bytes | None:
    if len(header[0]) == len(_SUBPROTOCOLS):
        return header[1].removeprefix(_OFFERED_KEY)
    bearer = _bearer(header[1]) if len(header[0]) == len(_BEARERS[0]) else None
    return bearer if bearer is not None else header[1]


def _is_virtual(value: bytes | None, named: bytes | None) -> bool:
    return value is not None and (value.startswith(_OWN_SECRET) or value == named)


def _without_key(target: bytes) -> tuple[bytes, bytes | None]:
    """The target without its parameter ``key`` or ``api-key``, every other byte as it came."""
    path, _, query = target.partition(b"?")
    pairs = query.split(b"&")
    kept = [pair for pair in pairs if not pair.startswith(_KEY_PAIRS)]
    if len(kept) == len(pairs):
        return target, None
    key = unquote_to_bytes(next(pair for pair in pairs if pair.startswith(_KEY_PAIRS)).partition(b"=")[2])
    return (path + b"?" + b"&".join(kept) if kept else path), key

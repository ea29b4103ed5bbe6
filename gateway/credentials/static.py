"""A key that travels in one header."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.ports import Header


class StaticKey:
    """The provider's own key, as its dialect sends it."""

    __slots__ = ("_headers", "replaces")

    def __init__(self, header: bytes, prefix: bytes, secret: str) -> None:
        self.replaces: frozenset[bytes] = frozenset()
        self._headers = ((header, prefix + secret.encode()),)

    def headers(
        self, method: bytes, host: bytes, target: bytes, headers: Sequence[Header], body: bytes
    ) -> Sequence[Header]:
        return self._headers

    def __repr__(self) -> str:
        return "StaticKey(…)"

"""Takes credentials out of text: those of the configuration wherever they stand, and what looks like one.

The last line of defence: nothing that writes a line has a credential to begin with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel

GONE = "[secret]"
MIN_SECRET = 8
"""A shorter value would take innocent text with it."""
_NAMES = frozenset(
    (
        "secret",
        "old_secret",
        "api_key",
        "admin_token",
        "client_secret",
        "secret_access_key",
        "access_key_id",
        "session_token",
        "headers",
    )
)
_URLS = frozenset(("proxy", "base_url", "url", "endpoint"))
_LOOKS_LIKE = re.compile(
    r"(?i:(?<=bearer )|(?<=basic ))[\w.~+/=-]{8,}"
    r"|\bsk-[\w-]{8,}|\bAIza[\w-]{20,}|\bya29\.[\w.-]{10,}|\bAKIA[A-Z0-9]{12,}|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"
    r"|(?<=[?&]key=)[^&\s\"']+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)


class Scrubber:
    """Knows secrets; forgets none while it lives, because a line may be about what held before a reload."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """From now on these are taken out too."""
        self._known |= {secret for secret in secrets if len(secret) >= MIN_SECRET}
        if self._known:
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(secret) for secret in longest_first))

    def __call__(self, text: str) -> str:
        """The text without them."""
        if self._pattern is not None:
            text = self._pattern.sub(GONE, text)
        return _LOOKS_LIKE.sub(GONE, text)

    def deep(self, value: Any) -> Any:
        """The same for all texts in lists and dicts."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {key: self.deep(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.deep(inner) for inner in value]
        return value


def secrets_of(value: Any, name: str = "") -> Iterator[str]:
    """Every credential that a configuration holds."""
    if isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from secrets_of(getattr(value, field), field)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from secrets_of(inner, name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_of(inner, name)
    elif isinstance(value, str) and name in _NAMES:
        yield value
    elif isinstance(value, str) and name in _URLS:
        yield from _of_url(value)


def _of_url(url: str) -> Iterator[str]:
    """The password, also one behind the question mark, and the path of a webhook, which often is the credential."""
    try:
        parts = urlsplit(url)
        if parts.password:
            yield from (parts.password, unquote(parts.password))
        for name in ("password", "sslpassword"):
            yield from parse_qs(parts.query).get(name, ())
    except ValueError:
        return
    if "hooks." in (parts.hostname or "") or "webhook" in parts.path:
        yield parts.path

"""Google's OAuth tokens for Vertex, by google-auth: a service account's file, or application default credentials.

Needs the extra ``google``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Any

from gateway.config.schema import GoogleConfig
from gateway.credentials.bearer import Token

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def google_tokens(config: GoogleConfig) -> Callable[[], Awaitable[Token]]:
    """A function that fetches a token, in a thread. Raises ``ModuleNotFoundError`` without google-auth."""
    import google.auth
    import google.auth.exceptions
    import google.auth.transport.requests
    from google.oauth2 import service_account

    def make() -> Any:
        if config.service_account_file is not None:
            credentials: Any = service_account.Credentials
            return credentials.from_service_account_file(config.service_account_file, scopes=SCOPES)
        return google.auth.default(scopes=SCOPES)[0]

    found: list[Any] = []

    def refresh() -> Token:
        if not found:
            found.append(make())
        credentials = found[0]
        try:
            credentials.refresh(google.auth.transport.requests.Request())
        except google.auth.exceptions.RefreshError:
            # the file's key may have been replaced by another: it is read again for the next try
            if config.service_account_file is not None:
                found.clear()
            raise
        expiry = credentials.expiry.replace(tzinfo=UTC).timestamp()
        return Token(credentials.token, expiry)

    async def fetch() -> Token:
        return await asyncio.to_thread(refresh)

    return fetch

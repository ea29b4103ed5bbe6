"""Entra tokens for Azure OpenAI, by the client credentials flow.

Source: Microsoft identity platform, "OAuth 2.0 client credentials flow".
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import aiohttp

from gateway.config.schema import AzureConfig
from gateway.credentials.bearer import Token

SCOPE = "https://cognitiveservices.azure.com/.default"
TIMEOUT = aiohttp.ClientTimeout(total=20)


def azure_tokens(config: AzureConfig) -> Callable[[], Awaitable[Token]]:
    """A function that fetches a token from the authority."""
    url = f"{config.authority.rstrip('/')}/{config.tenant_id}/oauth2/v2.0/token"
    form = {
        "grant_type": "client_credentials",
        "client_id": config.client_id,
        "client_secret": config.client_secret,
        "scope": SCOPE,
    }

    async def fetch() -> Token:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session,
            session.post(url, data=form) as answer,
        ):
            answer.raise_for_status()
            found = await answer.json()
            return Token(str(found["access_token"]), time.time() + float(found["expires_in"]))

    return fetch

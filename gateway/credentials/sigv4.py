"""AWS Signature Version 4, by botocore's own signer: the gateway signs for the real host with its own credentials.

Sources: AWS General Reference, "Signing AWS API requests"; the names of services: anthropic-sdk-python
(``lib/bedrock/_mantle.py``, ``lib/aws/_client.py``), openai-python (``providers/bedrock.py``). Needs the extra ``aws``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from gateway.config.schema import AwsConfig
from gateway.ports import CredentialUnavailable, Header

SIGNED = frozenset((b"content-type", b"x-amzn-bedrock-guardrailidentifier", b"x-amzn-bedrock-guardrailversion"))
"""Fields beside host and x-amz-* that are part of the signature."""
OWN = frozenset((b"authorization", b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256"))
"""Fields that carry a signature: the caller's own go, the gateway's come."""

SERVICES = frozenset(("bedrock-mantle", "aws-external-anthropic"))
"""Hosts that are signed for as services of their own; all others are Bedrock's."""

REFRESH_SECONDS = 20.0
"""How often credentials that expire are looked at. botocore renews them 15 minutes before they end."""


class SigV4:
    """Signs each request for one region's Bedrock, with credentials that are renewed away from the event loop."""

    def __init__(self, config: AwsConfig, name: str, log: logging.Logger) -> None:
        """Raises ``ModuleNotFoundError`` without botocore."""
        import botocore.session

        self.replaces = OWN
        self.first = asyncio.Event()
        """Set once credentials were looked for."""
        self._name = name
        self._log = log
        self._frozen: Any = None
        self._region = config.region
        self._session = botocore.session.Session(profile=config.profile)
        if config.access_key_id is not None and config.secret_access_key is not None:
            self._session.set_credentials(config.access_key_id, config.secret_access_key, config.session_token)
            self.renew()

    def renew(self) -> bool:
        """Find the credentials (given, or of the standard chain: environment, files, instance role), or new ones where
        they end soon. False where they never end. May block. What it raises leaves the known ones in use."""
        credentials = self._session.get_credentials()
        self._frozen = credentials.get_frozen_credentials() if credentials is not None else None
        return credentials is None or hasattr(credentials, "refresh_needed")

    async def run(self) -> None:
        """Keep the credentials fresh until cancelled."""
        while True:
            try:
                if not await asyncio.to_thread(self.renew):
                    return
            except Exception as error:  # noqa: BLE001 - any failure is retried; its text may hold a secret, its type not
                self._log.warning(f"the AWS credentials of {self._name} could not be renewed ({type(error).__name__})")
            finally:
                self.first.set()
            await asyncio.sleep(REFRESH_SECONDS)

    def headers(
        self, method: bytes, host: bytes, target: bytes, headers: Sequence[Header], body: bytes
    ) -> Sequence[Header]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        credentials = self._frozen
        if credentials is None:
            raise CredentialUnavailable("no AWS credentials were found for the gateway")
        signed = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if (name.lower() in SIGNED or name.lower().startswith(b"x-amz-")) and name.lower() not in OWN
        }
        url = f"https://{host.decode('latin-1')}{target.decode('latin-1')}"
        request = AWSRequest(method=method.decode("latin-1"), url=url, data=body, headers=signed)
        try:
            SigV4Auth(credentials, service_of(host), self._region).add_auth(request)
        except Exception as error:
            raise CredentialUnavailable(f"signing failed: {type(error).__name__}") from error
        own = [(name.encode(), value.encode("latin-1")) for name, value in request.headers.items()]
        return [(name, value) for name, value in own if name.lower() in OWN]

    def __repr__(self) -> str:
        return f"SigV4(region={self._region!r})"


def service_of(host: bytes) -> str:
    """The service that a signature for this host names: ``bedrock-mantle.REGION.api.aws`` says it itself."""
    labels = host.decode("latin-1").lower().split(".")
    return next((label for label in labels if label in SERVICES), "bedrock")

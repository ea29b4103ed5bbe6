"""AWS Signature Version 4, by botocore's own signer: the gateway signs for the real host with its own credentials.

Source: AWS General Reference, "Signing AWS API requests". Needs the extra ``aws``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.config.schema import AwsConfig
from gateway.ports import CredentialUnavailable, Header

SIGNED = frozenset((b"content-type", b"x-amzn-bedrock-guardrailidentifier", b"x-amzn-bedrock-guardrailversion"))
"""Fields beside host and x-amz-* that are part of the signature."""
OWN = frozenset((b"authorization", b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256"))
"""Fields that carry a signature: the caller's own go, the gateway's come."""


class SigV4:
    """Signs each request for one region's Bedrock."""

    def __init__(self, config: AwsConfig, session: Any = None) -> None:
        """Raises ``ModuleNotFoundError`` without botocore."""
        import botocore.session

        self.replaces = OWN
        self._region = config.region
        self._session = session or botocore.session.Session(profile=config.profile)
        if config.access_key_id is not None and config.secret_access_key is not None:
            self._session.set_credentials(config.access_key_id, config.secret_access_key, config.session_token)

    def prepare(self) -> None:
        """Find the credentials of the standard chain (environment, files, instance role). May block; run at start."""
        self._session.get_credentials()

    def headers(
        self, method: bytes, host: bytes, target: bytes, headers: Sequence[Header], body: bytes
    ) -> Sequence[Header]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        credentials = self._session.get_credentials()
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
            SigV4Auth(credentials.get_frozen_credentials(), "bedrock", self._region).add_auth(request)
        except Exception as error:
            raise CredentialUnavailable(f"signing failed: {type(error).__name__}") from error
        own = [(name.encode(), value.encode("latin-1")) for name, value in request.headers.items()]
        return [(name, value) for name, value in own if name.lower() in OWN]

    def __repr__(self) -> str:
        return f"SigV4(region={self._region!r})"

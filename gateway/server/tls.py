"""TLS contexts: for what listens, and towards providers. TLS 1.2 and newer, HTTP/1.1 alone."""

from __future__ import annotations

import ssl
from pathlib import Path


def server_context(cert: str | Path, key: str | Path, client_ca: str | Path | None = None) -> ssl.SSLContext:
    """For a listening port; with ``client_ca``, clients must show a certificate of that authority.

    Raises ``OSError`` or ``ssl.SSLError`` where a file can't be read or used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(cert, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    return context


def reload(context: ssl.SSLContext, cert: str | Path, key: str | Path) -> None:
    """New handshakes use the files' new certificate; connections go on with theirs. A pair that can't be used raises
    and changes nothing."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    context.load_cert_chain(cert, key)


def upstream_context(ca_file: str | Path | None = None) -> ssl.SSLContext:
    """Towards providers: certificate and host name are always verified, by the system's authorities or by
    ``ca_file``'s alone."""
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context

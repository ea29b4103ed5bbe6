"""Certificate files: whether a port could be served with them, and until when. Nothing is kept open."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from gateway.config.schema import ServerConfig, TlsConfig

MAX_FILE = 1 << 20
SOON_DAYS = 14
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


def refused(cert: Path, key: Path, client_ca: Path | None) -> Iterator[tuple[str, str, str]]:
    """What is wrong with readable files: the key of the configuration, what, a hint."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if b"-----BEGIN CERTIFICATE-----" not in cert.read_bytes()[:MAX_FILE]:
        yield (
            "cert",
            f"the file {cert.name} holds no certificate in PEM form",
            'It begins "-----BEGIN CERTIFICATE-----".',
        )
    elif b"PRIVATE KEY-----" not in key.read_bytes()[:MAX_FILE]:
        yield "key", f"the file {key.name} holds no private key in PEM form", ""
    else:
        asked = False

        def password() -> str:
            nonlocal asked
            asked = True
            return "-"

        try:
            # without an answer at hand, OpenSSL would ask the terminal
            context.load_cert_chain(cert, key, password)
        except (ssl.SSLError, ValueError) as error:
            if asked:
                yield (
                    "key",
                    f"the key in {key.name} is encrypted",
                    "Keep it unencrypted, readable by the gateway alone.",
                )
            elif getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
                yield "key", f"the key in {key.name} is not the one of the certificate in {cert.name}", ""
            else:
                reason = getattr(error, "reason", None) or error
                yield "cert", f"{cert.name} and {key.name} can't be used: {reason}", ""
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            yield "client_ca", f"the file {client_ca.name} holds no authority's certificate: {reason}", ""


def fingerprint(tls: TlsConfig | None) -> bytes:
    """Changes where a file's content does. Raises ``OSError``."""
    if tls is None:
        return b""
    paths = [path for path in (tls.cert, tls.key, tls.client_ca) if path is not None]
    return b"".join(sha256(Path(path).read_bytes()).digest() for path in paths)


def ends_at(cert: str | Path) -> float:
    """When the chain's first certificate ends, in seconds since the epoch. Raises ``OSError``, and ``ValueError`` where
    it is no certificate."""
    found = _PEM.search(Path(cert).read_bytes())
    if found is None:
        raise ValueError("no certificate")
    return _not_after(base64.b64decode(found[1]))


def certificate_remarks(server: ServerConfig, now: float) -> Iterator[str]:
    """A line for each port whose certificate is over, or soon will be."""
    for key, tls in (("server.tls", server.tls), ("server.admin_tls", server.admin_tls)):
        if tls is None:
            continue
        left = int(ends_at(tls.cert) - now) // 86_400
        if left < SOON_DAYS:
            yield f"{key}: the certificate {'has expired' if left < 0 else f'ends in {left} days'}"


def _not_after(der: bytes) -> float:
    """RFC 5280 section 4.1: Certificate → tbsCertificate → [version], serial, signature, issuer, validity."""
    fields = list(_parts(_content(_content(der))))
    validity = fields[4 if fields[0][0] == 0xA0 else 3][1]
    kind, value = list(_parts(validity))[1]
    text = value.decode("ascii")
    if kind == _UTC_TIME:
        # RFC 5280 section 4.1.2.5.1: 50 to 99 are years of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    elif kind != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _content(der: bytes) -> bytes:
    """The inside of the first element."""
    return next(_parts(der))[1]


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element."""
    at = 0
    while at + 2 <= len(der):
        tag, size = der[at], der[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(der[at : at + count], "big")
            at += count
        if at + size > len(der):
            raise ValueError("cut off")
        yield tag, der[at : at + size]
        at += size

"""Which provider a request is for.

``/{provider}/…`` names it in its first segment; ``/v1/…`` is the OpenAI-compatible API, routed by the model's name.
The bytes behind the provider's name reach the provider as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import msgspec

from gateway.ports import Credential, Endpoint, Header, Upstreams
from gateway.wire.cors import Remembered
from gateway.wire.dialect import Dialect

ROUTED = b"v1"
"""The first segment that is routed by model instead of by provider name."""
PORTS = {b"https": 443, b"http": 80}
UPLOADS = b"upload"
"""The first segment of the second request of an upload by Google's SDK for JavaScript: it takes the path from the
address that Google gave it, and the host alone from its base URL, without ``/{provider}``. Source: googleapis/js-genai,
``uploadBlobInternal``."""


class Provider(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One configured provider, ready to be called."""

    name: str
    kind: str
    dialect: Dialect
    endpoint: Endpoint
    base_path: bytes = b""
    """Path of the base URL, without a trailing slash."""
    credential: Credential | None = None
    """None: the caller's own provider credential passes through."""
    price_as: str = ""
    models: tuple[str, ...] = ()
    """Globs of the models that may be called; empty: all."""
    unpriced: str = "allow"
    """``allow`` or ``block`` calls of models that have no price."""
    unpriced_as: str = ""
    """The model as which they are priced; empty: none."""
    unmetered: tuple[str, ...] | None = None
    """Globs of the paths whose calls may be made though nobody can count them; None: all."""
    region: str = ""
    """Where its host serves; empty: the call tells, or the answer, or anywhere."""
    usage_unasked: bool = False
    """Streams report their usage unasked: nothing is asked for and nothing taken out."""
    upstreams: Upstreams
    preflights: Remembered = msgspec.field(default_factory=Remembered)


def redirected(provider: Provider, headers: Sequence[Header]) -> list[Header]:
    """A redirect's fields. A ``Location`` that is an address below the provider's base URL becomes the gateway's path
    for it: who followed it would leave the gateway, with a key that no provider must see. Any other passes as it is."""
    return [(name, _below(provider, to)) if name.lower() == b"location" else (name, to) for name, to in headers]


def _below(provider: Provider, location: bytes) -> bytes:
    endpoint, base = provider.endpoint, provider.base_path
    try:
        url = urlsplit(location)
        scheme = url.scheme or (b"https" if endpoint.tls is not None else b"http")
        place = (url.hostname, url.port or PORTS.get(scheme))
    except ValueError:
        return location
    path = location.partition(b"//")[2][len(url.netloc) :]
    if scheme not in PORTS or place != (endpoint.host.encode(), endpoint.port) or not path.startswith(base + b"/"):
        return location
    return b"/" + provider.name.encode() + path[len(base) :]


class ModelRoute(msgspec.Struct, frozen=True):
    """``model`` (a glob) goes to ``provider``, under the name ``rename`` where one is given."""

    model: str
    provider: str
    rename: str = ""


class Router:
    """An immutable table; a reload makes a new one."""

    def __init__(self, providers: Mapping[str, Provider], routes: Sequence[ModelRoute]) -> None:
        self._by_segment = {name.encode(): provider for name, provider in providers.items()}
        self._providers = dict(providers)
        self._routes = tuple(routes)
        self.default = next((p for p in providers.values() if p.kind == "openai"), None)
        self._uploads = next((p for p in providers.values() if p.kind == "gemini"), None)

    def split(self, target: bytes) -> tuple[Provider | None, bytes]:
        """Provider named by the path, and the target below it. ``(None, target)``: none is named. An upload to Google
        that has begun is the first one's of kind ``gemini``."""
        end = target.find(b"/", 1)
        segment = target[1:] if end < 0 else target[1:end]
        provider = self._by_segment.get(segment)
        if provider is not None:
            return provider, b"/" if end < 0 else target[end:]
        if end < 0 and b"?" in segment:
            name, _, query = segment.partition(b"?")
            provider = self._by_segment.get(name)
            if provider is not None:
                return provider, b"/?" + query
        if segment == UPLOADS and b"upload_id=" in target:
            return self._uploads, target
        return None, target

    def is_routed(self, target: bytes) -> bool:
        """True for the OpenAI-compatible API that is routed by model."""
        return target.startswith(b"/v1/")

    def by_model(self, model: str) -> tuple[Provider | None, str]:
        """Provider for ``model`` on ``/v1/…`` and the name to send; the first matching route wins, else the
        first provider of kind ``openai``."""
        for route in self._routes:
            if fnmatchcase(model, route.model):
                return self._providers[route.provider], route.rename or model
        return self.default, model

    def names(self) -> list[str]:
        return list(self._providers)

    def providers(self) -> list[Provider]:
        return list(self._providers.values())


def allowed(model: str, globs: Sequence[str], match: Callable[[str, str], bool] = fnmatchcase) -> bool:
    """True where ``globs`` is empty or one of them matches ``model``."""
    return not globs or any(match(model, glob) for glob in globs)

"""From a checked configuration to the parts of a gateway. Opens nothing but files that the configuration names."""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from gateway.config.catalogue import load_catalogue
from gateway.config.check_priced import check_priced
from gateway.config.price_lists import price_lists
from gateway.config.prices import entry_of
from gateway.config.schema import Config, LedgerConfig, ProviderConfig, ServerConfig
from gateway.config.values import DIRECT, is_loopback, split_address
from gateway.credentials.keeper import Keeper
from gateway.descriptors import shares
from gateway.identity.guard import GuardLimits
from gateway.ledger.prompts import key_of, prompt_hasher
from gateway.ports import Clock, Credential, Endpoint, Upstreams
from gateway.quota.rule import Rule, from_config
from gateway.routing import ModelRoute, Provider, Router
from gateway.server.limits import Limits
from gateway.server.tls import upstream_context
from gateway.simulated.upstream import SimulatedUpstreams
from gateway.tokens.vocabulary import Vocabularies, VocabularyDamaged
from gateway.wire import dialects
from pricing.book import PriceBook
from pricing.catalogue import Catalogue
from pricing.models import ModelEntry, ModelTable, load_models

if TYPE_CHECKING:
    from gateway.tracing_otlp import Spans

SQLITE = "sqlite:///"


class AssemblyError(Exception):
    """The configuration is well-formed but can't be put to work. One line for a person."""


def ledger_path(config: Config, base: Path) -> Path:
    """The ledger's file; a relative path is taken from the configuration's directory. Raises ``AssemblyError``."""
    url = config.ledger.url
    if not url.startswith(SQLITE):
        raise AssemblyError(f'ledger.url must be {SQLITE}PATH, not "{url.split(":", 1)[0]}:…"')
    path = base / url.removeprefix(SQLITE)
    if path.is_dir():
        raise AssemblyError(
            f"ledger.url names {path}, which is a directory: name a file in it, like {SQLITE}{path}/ledger.db"
        )
    return path


def vocabularies_of(config: Config) -> Vocabularies:
    """With those that models of the configured providers have. Blocking. Raises ``AssemblyError``."""
    kinds = {provider.kind for provider in config.providers.values()}
    try:
        return Vocabularies(name for kind in kinds for name in dialects.get(kind).vocabularies)
    except VocabularyDamaged as error:
        raise AssemblyError(str(error)) from error


def prompt_hash_of(config: Config, ledger: Path) -> Callable[[bytes], int] | None:
    """What tells that a prompt was sent before; None: nothing is to. Raises ``AssemblyError``, ``OSError``."""
    if not config.ledger.prompt_hash:
        return None
    try:
        return prompt_hasher(key_of(ledger))
    except ValueError as error:
        raise AssemblyError(str(error)) from error


def router_of(config: Config, upstreams: Upstreams, clock: Clock, keeper: Keeper, environ: Mapping[str, str]) -> Router:
    """All providers and routes. Raises ``AssemblyError``."""
    contexts: dict[str | None, ssl.SSLContext] = {}
    lists = price_lists(config)
    providers = {
        name: _provider(name, provider, lists[name], upstreams, clock, contexts, keeper, environ)
        for name, provider in config.providers.items()
    }
    routes = [ModelRoute(route.model, route.provider, route.rename or "") for route in config.routes]
    return Router(providers, routes)


def _provider(
    name: str,
    config: ProviderConfig,
    price_list: str,
    upstreams: Upstreams,
    clock: Clock,
    contexts: dict[str | None, ssl.SSLContext],
    keeper: Keeper,
    environ: Mapping[str, str],
) -> Provider:
    dialect = dialects.get(config.kind)
    if config.kind == "simulated":
        upstreams = SimulatedUpstreams(clock, config.first_token_seconds, config.token_seconds)
    url = urlsplit(config.base_url or dialect.base_url or "http://simulated")
    tls = None
    if url.scheme == "https":
        if config.ca_file not in contexts:
            contexts[config.ca_file] = _tls(name, config.ca_file)
        tls = contexts[config.ca_file]
    host = url.hostname or ""
    policy = config.unpriced_models
    endpoint = Endpoint(
        host=host,
        port=url.port or (443 if tls else 80),
        tls=tls,
        # as it is signed: AWS takes a host's letters as small ones
        host_header=url.netloc.rpartition("@")[2].lower().encode(),
        connect_seconds=config.connect_seconds,
        head_seconds=config.head_seconds,
        idle_seconds=config.idle_seconds,
        max_connections=config.max_connections,
        breaker_failures=config.breaker_failures,
        breaker_seconds=config.breaker_seconds,
        proxy=_proxy(name, config.proxy, url.hostname or "", environ) if tls is not None else _own_proxy(config.proxy),
    )
    return Provider(
        name=name,
        kind=config.kind,
        dialect=dialect,
        endpoint=endpoint,
        base_path=url.path.rstrip("/").encode(),
        credential=_credential(name, config, keeper),
        price_as=price_list,
        models=config.models,
        unpriced=policy if isinstance(policy, str) else "allow",
        unpriced_as=policy.price_as if not isinstance(policy, str) else "",
        unmetered=config.unmetered_calls,
        region=_region(dialect.regional_host, host),
        usage_unasked=config.usage_unasked,
        upstreams=upstreams,
    )


def _region(pattern: str, host: str) -> str:
    """The region that a host's name names."""
    found = re.fullmatch(pattern, host)
    return next(filter(None, found.groups()), "") if found else ""


def _own_proxy(proxy: str | None) -> str:
    return proxy if proxy is not None and proxy != DIRECT else ""


def _proxy(name: str, own: str | None, host: str, environ: Mapping[str, str]) -> str:
    """The provider's own proxy, else the environment's: ``HTTPS_PROXY``, but for what ``NO_PROXY`` names and for this
    machine."""
    found = environ.get("https_proxy") or environ.get("HTTPS_PROXY") or ""
    if own is not None or not found or is_loopback(host):
        return _own_proxy(own)
    if proxy_bypass_environment(host, {"no": environ.get("no_proxy") or environ.get("NO_PROXY") or ""}):
        return ""
    parts = urlsplit(found if "://" in found else f"http://{found}")
    if parts.scheme != "http" or not parts.hostname:
        raise AssemblyError(
            f'providers.{name}: HTTPS_PROXY must be the address of an HTTP proxy; set proxy = "direct" to go without'
        )
    return parts.geturl()


def _tls(name: str, ca_file: str | None) -> ssl.SSLContext:
    try:
        return upstream_context(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise AssemblyError(f"providers.{name}.ca_file: {ca_file} can't be used: {error}") from error


def _credential(name: str, config: ProviderConfig, keeper: Keeper) -> Credential | None:
    try:
        return keeper.credential(name, config, dialects.get(config.kind).auth)
    except ModuleNotFoundError as error:
        extra = "aws" if config.aws is not None else "google"
        raise AssemblyError(
            f"providers.{name} needs a package that is not installed: pip install 'spendgate[{extra}]'"
        ) from error
    except Exception as error:
        raise AssemblyError(f"providers.{name}: its credential can't be used ({type(error).__name__})") from error


def spans_of(config: Config, log: logging.Logger) -> Spans | None:
    """What makes spans of calls; None where none are asked for, and then no SDK is imported."""
    if config.tracing.otlp_endpoint is None:
        return None
    try:
        from gateway.tracing_otlp import Spans, log_to
    except ModuleNotFoundError as error:
        raise AssemblyError("[tracing] needs a package that is not installed: pip install 'spendgate[otel]'") from error
    log_to(log)
    return Spans(config.tracing, kinds_of(config))


def kinds_of(config: Config) -> dict[str, str]:
    """Provider → kind."""
    return {name: provider.kind for name, provider in config.providers.items()}


def rules_of(config: Config) -> list[Rule]:
    """The quota rules."""
    return [from_config(quota) for quota in config.quotas]


def book_of(config: Config, catalogue: Catalogue) -> PriceBook:
    """The configuration's prices on top of the catalogue."""
    entries = [entry_of(index, price) for index, price in enumerate(config.prices)]
    return PriceBook(entries, catalogue)


def catalogue_of(config: Config, path: Path) -> Catalogue:
    """The price catalogue, in which all that the configuration at ``path`` rests on has a price. Raises
    ``ConfigErrors``, ``CatalogueUnusable`` or ``OSError``."""
    catalogue = load_catalogue(config, path.resolve().parent)
    check_priced(config, book_of(config, catalogue), str(path), time.time_ns())
    return catalogue


def models_of(config: Config, catalogue: Catalogue) -> ModelTable:
    """Context windows and output limits, the configuration's first."""
    overrides = [
        ModelEntry(
            provider=model.provider, model=model.model, context_window=model.context_window, max_output=model.max_output
        )
        for model in config.models
    ]
    return load_models(overrides, catalogue)


def guard_limits_of(config: Config) -> GuardLimits:
    """What one address may do."""
    limits = config.server.limits
    return GuardLimits(
        calls_per_second=limits.calls_per_second_per_peer,
        unknown_keys_per_minute=limits.unknown_keys_per_minute_per_peer,
    )


def limits_of(config: Config) -> Limits:
    """The data plane's bounds: the configuration's, and no more connections than there are descriptors for."""
    limits, most = config.server.limits, shares()
    return Limits(
        max_head_bytes=limits.head_bytes,
        max_headers=limits.headers,
        max_body_bytes=config.server.max_body_bytes,
        head_seconds=limits.head_seconds,
        body_seconds=limits.body_seconds,
        idle_seconds=limits.idle_seconds,
        max_connections=min(limits.connections, most.clients),
        told_connections=most.told,
        max_connections_per_peer=limits.connections_per_peer,
    )


def check_admin(server: ServerConfig) -> None:
    """Raises ``AssemblyError`` where strangers could use the admin port, or a package for signing in is missing."""
    guarded = server.admin_token is not None or server.oidc is not None
    if not guarded and not is_loopback(split_address(server.admin_listen)[0]):
        raise AssemblyError(
            "server.admin_listen is reachable from other machines: set server.admin_token, or listen on 127.0.0.1"
        )
    if server.oidc is not None and find_spec("authlib") is None:
        raise AssemblyError("[server.oidc] needs a package that is not installed: pip install 'spendgate[oidc]'")


def check_replica(ledger: LedgerConfig) -> None:
    """Raises ``AssemblyError`` where the package for PostgreSQL is missing."""
    if ledger.replica is not None and find_spec("asyncpg") is None:
        raise AssemblyError(
            "[ledger.replica] needs a package that is not installed: pip install 'spendgate[postgresql]'"
        )

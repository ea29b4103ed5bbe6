"""What the types can't say: references, duplicates, rules that contradict each other or are never reached."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from gateway.config.check_quotas import check_quotas
from gateway.config.check_shared import check_exports, check_shared
from gateway.config.price_lists import price_lists
from gateway.config.prices import PriceConfig, entry_of
from gateway.config.problems import near
from gateway.config.schema import Config, KeyConfig, ProviderConfig
from gateway.config.values import is_loopback, moment_ns, split_address
from gateway.wire import dialects
from pricing.entry import problems as entry_problems

Found = tuple[tuple[str | int, ...], str, str]
"""Path of the key, what is wrong, a hint."""
RESERVED_NAMES = ("v1", "healthz", "readyz")
EVENTS = ("threshold", "exhausted", "reopened", "rule_changed", "granted")
_LEDGERS = ("sqlite:///",)
_QUOTA_STORES = ("postgresql://", "postgres://", "redis://", "rediss://", "unix://")
_MEMORY = "sqlite:///:memory:"


def check_references(config: Config, providers: frozenset[str] = frozenset()) -> list[Found]:
    """Everything wrong with a configuration whose types are right. ``providers``: names that exist besides its own."""
    names = providers | frozenset(config.providers)
    return [
        *_workers(config),
        *_quota_store(config),
        *_server(config),
        *_providers(config),
        *_keys(config, names),
        *check_quotas(config.quotas, names),
        *check_shared(config.shared_costs, names),
        *check_exports(config.exports),
        *_prices(config),
        *_models(config),
        *_routes(config, names),
        *_webhooks(config),
    ]


def _workers(config: Config) -> Iterator[Found]:
    """What several processes can't do together yet: better refused than not exact."""
    if config.server.workers == 1 and config.quota_store is None:
        return
    sharing = "server.workers > 1" if config.quota_store is None else "[quota_store]"
    for place, quota in enumerate(config.quotas):
        if quota.extend:
            yield (
                ("quotas", place, "extend"),
                f"can't be had with {sharing}",
                "Leave it out, or use clamp = true.",
            )
        if quota.overflow == "shared":
            yield ("quotas", place, "overflow"), f'can\'t be "shared" with {sharing}', 'Set "refuse".'


def _quota_store(config: Config) -> Iterator[Found]:
    if config.quota_store is not None and not config.quota_store.url.startswith(_QUOTA_STORES):
        message = f"must begin with {', '.join(_QUOTA_STORES[:-1])} or {_QUOTA_STORES[-1]}"
        yield ("quota_store", "url"), message, 'Like "postgresql://spendgate@db.internal/spendgate".'


def _server(config: Config) -> Iterator[Found]:
    server = config.server
    if server.listen == server.admin_listen and split_address(server.listen)[1]:
        yield (
            ("server", "admin_listen"),
            "is the data plane's address too",
            "Give the admin port an address of its own.",
        )
    if server.admin_token is None and server.oidc is None and not is_loopback(split_address(server.admin_listen)[0]):
        message = "is reachable from other machines, which needs an admin_token"
        yield ("server", "admin_listen"), message, "Set server.admin_token or [server.oidc], or listen on 127.0.0.1."
    if not config.ledger.url.startswith(_LEDGERS) or config.ledger.url in _LEDGERS:
        yield ("ledger", "url"), "must be sqlite:/// and a path", 'Like "sqlite:///data/ledger.db".'
    elif config.ledger.url == _MEMORY:
        yield ("ledger", "url"), "a ledger in memory would be lost: must be a file", 'Like "sqlite:///data/ledger.db".'


def _providers(config: Config) -> Iterator[Found]:
    kinds = dialects.kinds()
    for name, provider in config.providers.items():
        path = ("providers", name)
        if name in RESERVED_NAMES:
            yield path, f'"{name}" is a path of the gateway itself', "Choose another name."
        if provider.kind not in kinds:
            yield (*path, "kind"), f'unknown kind "{provider.kind}"', near(provider.kind, kinds) or _one_of(kinds)
        elif provider.base_url is None and not dialects.get(provider.kind).base_url and provider.kind != "simulated":
            yield (*path, "base_url"), f'is missing: kind "{provider.kind}" has no public address', ""
        yield from _credentials(path, provider)


def _credentials(path: tuple[str, str], provider: ProviderConfig) -> Iterator[Found]:
    tables = [name for name in ("api_key", "aws", "google", "azure") if getattr(provider, name) is not None]
    if len(tables) > 1:
        yield (*path, tables[-1]), f"is a second credential beside {tables[0]}", "Keep one."
    aws = provider.aws
    if aws is not None and (aws.access_key_id is None) != (aws.secret_access_key is None):
        yield (*path, "aws"), "needs access_key_id and secret_access_key, or neither", ""


def _keys(config: Config, providers: frozenset[str]) -> Iterator[Found]:
    ids: set[str] = set()
    hashes: dict[str, str] = {}
    own = {provider.api_key: name for name, provider in config.providers.items() if provider.api_key}
    for index, key in enumerate(config.keys):
        path = ("keys", index)
        if (key.secret is None) == (key.hash is None):
            hint = 'Write secret = "env:NAME" or hash = "sha256:…".'
            yield path, "needs either secret or hash", hint
        olds = [name for name in ("old_secret", "old_hash") if getattr(key, name) is not None]
        if len(olds) > 1:
            yield (*path, "old_hash"), "is a second old secret beside old_secret", "Keep one."
        if (key.old_expires is None) == bool(olds):
            message = "needs old_expires: when the old secret ends" if olds else "ends an old secret that is not there"
            yield (*path, olds[0] if olds else "old_expires"), message, "Write both, or neither."
        if key.id in ids:
            yield (*path, "id"), f'the id "{key.id}" is used twice', "Give each key its own."
        ids.add(key.id)
        for hashed in _hashes(key):
            if hashed in hashes:
                yield (*path, "secret" if key.secret else "hash"), f'is the secret of key "{hashes[hashed]}" too', ""
            hashes.setdefault(hashed, key.id)
        if key.secret is not None and key.secret in own:
            message = f'is the credential of provider "{own[key.secret]}": a virtual key must be no provider\'s key'
            yield (*path, "secret"), message, ""
        yield from _unknown_names((*path, "providers"), key.providers, providers)


def _hashes(key: KeyConfig) -> Iterator[str]:
    if key.secret is not None:
        yield "sha256:" + hashlib.sha256(key.secret.encode()).hexdigest()
    if key.hash is not None:
        yield key.hash
    if key.old_secret is not None:
        yield "sha256:" + hashlib.sha256(key.old_secret.encode()).hexdigest()
    if key.old_hash is not None:
        yield key.old_hash


def _unknown_names(path: tuple[str | int, ...], globs: Iterable[str], names: Iterable[str]) -> Iterator[Found]:
    known = list(names)
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in known):
            yield path, f'no provider is called "{glob}"', near(glob, known)


def _prices(config: Config) -> Iterator[Found]:
    used = {p.price_as: ("providers", n, "price_as") for n, p in config.providers.items() if p.price_as is not None}
    if not config.prices and not used:
        return
    from pricing.catalogue import load

    catalogue = load()
    own = {price.provider.lower() for price in config.prices}
    kinds = {"simulated", *dialects.kinds()}
    known = kinds | own | set(catalogue.lists)
    for name, path in used.items():
        base = name.removeprefix("reported:") if name != "reported" else "openai"
        if base.lower() not in kinds | own and catalogue.list_id(base) is None:
            yield path, f'there is no price list "{name}", and no [[prices]] for it', near(name, known)
    lists = (
        kinds | {(p.price_as or "").lower() for p in config.providers.values()} | {p.lower() for p in config.providers}
    )
    for index, price in enumerate(config.prices):
        provider = price.provider.lower()
        if not any(fnmatchcase(name, provider) for name in lists) and catalogue.list_id(provider) is None:
            message = f'no provider has the price list "{price.provider}"'
            yield ("prices", index, "provider"), message, near(price.provider, lists | set(catalogue.lists))
        yield from _price(index, price, config.prices[:index])


def _price(index: int, price: PriceConfig, before: Iterable[PriceConfig]) -> Iterator[Found]:
    path = ("prices", index)
    for message in entry_problems(entry_of(index, price)):
        yield path, message, ""
    rates = _rates(price)
    if not rates and not price.tiers and not price.aliases:
        yield path, "sets no price", "Write input_per_mtok and output_per_mtok, per_request or another price."
    for place, earlier in enumerate(before):
        if _scope(earlier) == _scope(price) and _same_time(earlier, price) and rates and rates <= _rates(earlier):
            yield path, f"is never used: prices[{place}] sets the same for the same model and time", "Keep one."
            break


def _rates(price: PriceConfig) -> set[str]:
    return {name for name in type(price).model_fields if _is_rate(name) and getattr(price, name) is not None}


def _is_rate(name: str) -> bool:
    return "per_" in name or name.endswith("_percent")


def _scope(price: PriceConfig) -> tuple[str, ...]:
    daily = f"{price.daily_from}-{price.daily_until}" if price.daily_from is not None else ""
    return (price.provider.lower(), price.model.lower(), price.service_tier, price.region, daily)


def _same_time(earlier: PriceConfig, price: PriceConfig) -> bool:
    """True where ``earlier`` holds whenever ``price`` does."""
    starts = earlier.from_ is None or (price.from_ is not None and moment_ns(earlier.from_) <= moment_ns(price.from_))
    ends = earlier.until is None or (price.until is not None and moment_ns(earlier.until) >= moment_ns(price.until))
    return starts and ends


def _models(config: Config) -> Iterator[Found]:
    if not config.models:
        return
    from pricing.catalogue import load

    catalogue = load()
    kinds = {"simulated", *dialects.kinds()}
    known = {name: provider for name, provider in config.providers.items() if provider.kind in kinds}
    lists = price_lists(config.model_copy(update={"providers": known}))
    used = {part for one in lists.values() for part in one.lower().split(":")}
    for index, model in enumerate(config.models):
        named = model.provider.lower()
        if not any(fnmatchcase(one, named) for one in kinds | used) and catalogue.list_id(named) is None:
            message = f'no provider has the price list "{model.provider}"'
            yield ("models", index, "provider"), message, _list_of(named, lists) or near(named, kinds | used)
        if model.context_window is None and model.max_output is None:
            yield ("models", index), "sets nothing", "Write context_window, max_output or both."


def _list_of(named: str, lists: Mapping[str, str]) -> str:
    """A hint for who wrote a provider's own name."""
    found = next((listed for name, listed in lists.items() if name.lower() == named), "")
    return f'The price list of that provider is "{found}".' if found else ""


def _routes(config: Config, providers: frozenset[str]) -> Iterator[Found]:
    for index, route in enumerate(config.routes):
        if route.provider not in providers:
            message = f'no provider is called "{route.provider}"'
            yield ("routes", index, "provider"), message, near(route.provider, providers)
        for earlier in config.routes[:index]:
            if earlier.model in (route.model, "*") or (
                _is_plain(route.model) and fnmatchcase(route.model, earlier.model)
            ):
                message = f'is never reached: "{earlier.model}" stands before it'
                yield ("routes", index, "model"), message, "Put the narrower route first."
                break


def _is_plain(glob: str) -> bool:
    return not any(character in glob for character in "*?[")


def _webhooks(config: Config) -> Iterator[Found]:
    for index, webhook in enumerate(config.webhooks):
        for event in webhook.events:
            if event not in EVENTS:
                yield ("webhooks", index, "events"), f'unknown event "{event}"', near(event, EVENTS) or _one_of(EVENTS)


def _one_of(words: Iterable[str]) -> str:
    return "One of: " + ", ".join(words) + "."

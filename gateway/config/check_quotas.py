"""Quota rules that refer to nothing, contradict themselves, or never have a say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from gateway.config.problems import near
from gateway.config.quotas import UNITS, QuotaConfig
from gateway.config.schema import KeyConfig
from gateway.config.values import moment_ns

Scope = tuple[object, ...]
Found = tuple[tuple[str | int, ...], str, str]
_INPUT_UNITS = frozenset(("usd", "tokens", "input_tokens"))
"""Limits that a loop of the provider's tools can pass."""
_OUTPUT_UNITS = frozenset(("usd", "tokens", "output_tokens"))
"""Limits that a smaller output limit can meet."""
_GLOB = frozenset("*?[")
MOST_COMPARED = 500_000
"""Names in all that a check looks through for spellings that are nearly right."""


def check_quotas(quotas: Sequence[QuotaConfig], providers: Iterable[str]) -> Iterator[Found]:
    """Problems of ``[[quotas]]``, by path."""
    known = list(providers)
    names: dict[str, int] = {}
    for index, quota in enumerate(quotas):
        path = ("quotas", index)
        if quota.name in names:
            yield (*path, "name"), f'the name "{quota.name}" is used by quotas[{names[quota.name]}] too', ""
        names.setdefault(quota.name, index)
        wanted = quota.match.get("provider", ())
        for glob in (wanted,) if isinstance(wanted, str) else wanted:
            if not any(fnmatchcase(name, glob) for name in known):
                yield (*path, "match", "provider"), f'no provider is called "{glob}"', near(glob, known)
        yield from _contradictions(path, quota)
        yield from _overrides(path, quota)


def quota_remarks(quotas: Sequence[QuotaConfig]) -> Iterator[str]:
    """Rules that can never be the first to refuse: harmless, but maybe not meant."""
    alike: dict[Scope, list[int]] = {}
    for index, quota in enumerate(quotas):
        before = alike.setdefault(_scope(quota), [])
        before.append(index)
        for place in before[:-1]:
            other = quotas[place]
            silent = _silent(quota, other)
            if silent is not None:
                first, second = (place, index) if silent is quota else (index, place)
                yield (
                    f"quotas[{second}] never refuses a call: quotas[{first}] has the same scope and window, and limits "
                    "that are no higher"
                )
                break


def name_remarks(quotas: Sequence[QuotaConfig], keys: Sequence[KeyConfig]) -> Iterator[str]:
    """Teams and keys of rules that no key is or has, but that one nearly has: such a rule holds nobody. Others may be
    keys of the ledger."""
    known = {"team": ("team", {key.team for key in keys}), "key": ("id", {key.id for key in keys})}
    compared = 0
    for index, quota in enumerate(quotas):
        for dimension, (what, names) in known.items():
            wanted = quota.match.get(dimension, ())
            for glob in (wanted,) if isinstance(wanted, str) else wanted:
                if _meant(glob, names) or compared > MOST_COMPARED:
                    continue
                compared += len(names)
                hint = near(glob, sorted(names))
                if hint:
                    yield f'quotas[{index}].match.{dimension}: no key of this file has the {what} "{glob}". {hint}'


def _meant(glob: str, names: set[str]) -> bool:
    if glob in names:
        return True
    return not _GLOB.isdisjoint(glob) and any(fnmatchcase(name, glob) for name in names)


def _contradictions(path: tuple[str, int], quota: QuotaConfig) -> Iterator[Found]:
    units = _units(quota)
    if quota.action == "warn":
        for key in ("clamp", "extend", "queue_seconds"):
            if getattr(quota, key):
                yield (*path, key), "has no effect on a rule that only warns", 'Drop it, or set action = "block".'
    if quota.unbounded == "refuse" and (quota.action == "warn" or not units & _INPUT_UNITS):
        message = f"has no effect on a rule that only warns, or has no limit on {', '.join(sorted(_INPUT_UNITS))}"
        yield (*path, "unbounded"), message, ""
    for key in ("clamp", "extend"):
        if getattr(quota, key) and not units & _OUTPUT_UNITS:
            message = f"needs a limit on {', '.join(sorted(_OUTPUT_UNITS))}: a shorter answer can't meet the others"
            yield (*path, key), message, ""
    if quota.queue_seconds and "concurrent" not in units and quota.window != "minute":
        yield (*path, "queue_seconds"), "calls can only wait for concurrent or per-minute limits", ""
    if len(set(quota.per)) < len(quota.per):
        yield (*path, "per"), "names a dimension twice", ""


def _overrides(path: tuple[str, int], quota: QuotaConfig) -> Iterator[Found]:
    units = _units(quota)
    for number, override in enumerate(quota.overrides):
        where = (*path, "overrides", number)
        raised = [unit for unit in UNITS if getattr(override, unit) is not None]
        if not raised:
            yield where, f"raises nothing: write one or more of {', '.join(sorted(units))}", ""
        for unit in raised:
            if unit not in units:
                yield (*where, unit), f"raises a limit that the quota does not have ({', '.join(sorted(units))})", ""
        if override.from_ is not None and moment_ns(override.until) <= moment_ns(override.from_):
            yield (*where, "until"), "is not after from", ""


def _silent(quota: QuotaConfig, other: QuotaConfig) -> QuotaConfig | None:
    """Of two rules with one scope, the one that never refuses first; None where both may."""
    if quota.action != "block" or other.action != "block":
        return None
    if quota.overrides or other.overrides:
        return None
    for loose, strict in ((quota, other), (other, quota)):
        units = _units(loose)
        if units <= _units(strict) and all(getattr(loose, unit) >= getattr(strict, unit) for unit in units):
            return loose
    return None


def _scope(quota: QuotaConfig) -> Scope:
    match = {key: (value,) if isinstance(value, str) else tuple(sorted(value)) for key, value in quota.match.items()}
    return (tuple(sorted(match.items())), tuple(sorted(quota.per)), quota.window, quota.timezone, quota.week_start)


def _units(quota: QuotaConfig) -> set[str]:
    return {unit for unit in UNITS if getattr(quota, unit) is not None}

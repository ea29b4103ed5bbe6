"""What each rule would say to a call, and how every counter stands: the same answers for the API and the command
line."""

from __future__ import annotations

from typing import Any

from gateway.ledger.rows import rfc3339
from gateway.quota.counter import Counter
from gateway.quota.engine import Quotas
from gateway.quota.matcher import failing
from gateway.quota.rule import CONCURRENT, UNITS, Rule, Subject
from gateway.quota.terms import Amounts
from gateway.quota.windows import FOREVER
from pricing.money import NANO


def standing(counter: Counter, position: int, now_ns: int) -> dict[str, Any]:
    """One limit of one counter: limit, used, reserved, what is left, when it resets. ``usd``: dollars."""
    rule = counter.rule
    unit = rule.units[position]
    limit, used, reserved = rule.limit(position, now_ns), counter.used(position), counter.reserved(position)
    timeless = unit == CONCURRENT or counter.span.end_ns >= FOREVER
    return {
        "quota": rule.name,
        "bucket": counter.bucket,
        "unit": UNITS[unit],
        "window": rule.window_name,
        "limit": shown(unit, limit),
        "used": shown(unit, used),
        "reserved": shown(unit, reserved),
        "left": shown(unit, max(0, limit - used - reserved)),
        "share": round((used + reserved) / limit, 6) if limit else 1.0,
        "near": bool(rule.warn_at) and unit != CONCURRENT and _near(rule, used, limit),
        "action": "block" if rule.blocking else "warn",
        "resets_at": None if timeless else rfc3339(counter.reopens_ns(now_ns)),
        "raised_by": shown(unit, limit - rule.limits[position]),
    }


def standings(quotas: Quotas, now_ns: int) -> list[dict[str, Any]]:
    """All counters, the fullest first."""
    found = [standing(counter, position, now_ns) for counter, position in quotas.snapshot(now_ns)]
    return sorted(found, key=lambda row: (-row["share"], row["quota"], row["bucket"], row["unit"]))


def explain(quotas: Quotas, subject: Subject, amounts: Amounts, now_ns: int) -> dict[str, Any]:
    """What a call of ``subject`` that may use ``amounts`` would be told, rule by rule."""
    vector = amounts.vector()
    matching = {counter.rule.name: counter for counter in quotas.counters.plan(subject, now_ns).counters}
    rules: list[dict[str, Any]] = []
    refused_by = None
    for rule in quotas.rules:
        counter = matching.get(rule.name)
        if counter is None:
            rules.append({"quota": rule.name, "matches": False, "because": failing(rule, subject)})
            continue
        counter.current(now_ns)
        limits = []
        for position, unit in enumerate(rule.units):
            fits = counter.taken(position) + vector[unit] <= rule.limit(position, now_ns)
            limits.append({**standing(counter, position, now_ns), "wanted": shown(unit, vector[unit]), "fits": fits})
            if not fits and rule.blocking and refused_by is None:
                refused_by = rule.name
        says = "yes" if all(limit["fits"] for limit in limits) else "no" if rule.blocking else "warn"
        rules.append({"quota": rule.name, "matches": True, "says": says, "limits": limits})
    return {"allowed": refused_by is None, "refused_by": refused_by, "rules": rules}


def shown(unit: int, amount: int) -> int | float:
    """Dollars for ``usd``, else the count."""
    return amount / NANO if UNITS[unit] == "usd" else amount


def _near(rule: Rule, used: int, limit: int) -> bool:
    top, bottom = rule.warn_at[0]
    return used * bottom >= limit * top

"""What people ask of quotas, in words and numbers: read with one clear error, answered as JSON."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from gateway.config.values import moment_ns, nanousd
from gateway.ledger.rows import rfc3339
from gateway.quota.explain import shown
from gateway.quota.grants import Grant
from gateway.quota.rule import UNITS
from gateway.quota.terms import Amounts

MAX_TEXT = 500


def asked(query: dict[str, str]) -> Amounts:
    """The amounts of a call that is asked about. Raises ``ValueError``."""
    tokens = {}
    for name in ("input_tokens", "output_tokens"):
        text = query.get(name, "0")
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise ValueError(f"{name} is a whole number from 0")
        tokens[name] = int(text)
    return Amounts(usd(query.get("usd", "0")), tokens["input_tokens"], tokens["output_tokens"])


def usd(text: str) -> int:
    """Nanodollars of a decimal number of dollars. Raises ``ValueError``."""
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f'usd is a number of dollars, not "{text[:40]}"') from error
    if not amount.is_finite() or not 0 <= amount < 10**9:
        raise ValueError("usd is between 0 and a billion")
    return nanousd(amount)


def grant_of(quota: str, said: dict[str, Any], now_ns: int) -> Grant:
    """A grant from what a caller says: one unit with its amount, ``until``, ``who``, ``why``. Raises ``ValueError``."""
    units = [unit for unit in UNITS if unit in said]
    unknown = set(said) - {*UNITS, "from", "until", "who", "why"}
    if len(units) != 1:
        raise ValueError(f"say how much more, by one of {', '.join(UNITS)}")
    if unknown:
        raise ValueError(f"there are {', '.join(UNITS)}, from, until, who and why; not {', '.join(sorted(unknown))}")
    unit = units[0]
    amount = usd(str(said[unit])) if unit == "usd" else _whole(unit, said[unit])
    if not amount:
        raise ValueError(f"{unit} is more than 0")
    if "until" not in said:
        raise ValueError("until is missing: a raise ends, like 2026-12-01")
    until, begin = _when(str(said["until"])), _when(str(said["from"])) if "from" in said else now_ns
    if until <= now_ns or until <= begin:
        raise ValueError("until is in the past, or before from")
    who, why = str(said.get("who", "")), str(said.get("why", ""))
    if len(who) > MAX_TEXT or len(why) > MAX_TEXT:
        raise ValueError(f"who and why are at most {MAX_TEXT} characters")
    return Grant(
        quota=quota, unit=unit, amount=amount, from_ns=begin, until_ns=until, who=who, why=why, created_ns=now_ns
    )


def _whole(unit: str, value: object) -> int:
    """An amount of a unit that is counted. Raises ``ValueError``."""
    text = str(value).replace("_", "").replace(",", "") if isinstance(value, str | int) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ValueError(f"{unit} is a whole number, more than 0")
    return int(text)


def granted(grant: Grant) -> dict[str, Any]:
    """A grant as JSON."""
    return {
        "id": grant.id,
        "quota": grant.quota,
        grant.unit: shown(UNITS.index(grant.unit), grant.amount),
        "from": rfc3339(grant.from_ns),
        "until": rfc3339(grant.until_ns),
        "who": grant.who,
        "why": grant.why,
        "created_at": rfc3339(grant.created_ns),
    }


def _when(text: str) -> int:
    try:
        return moment_ns(datetime.fromisoformat(text))
    except ValueError as error:
        raise ValueError(f'"{text[:40]}" is no date or time, like 2026-12-01 or 2026-12-01T12:00Z') from error

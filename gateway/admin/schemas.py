"""What the admin API answers and takes, as JSON Schema. Objects are closed: they have these fields and no others."""

from __future__ import annotations

from typing import Any

from gateway.admin.spend import MEASURES
from gateway.ledger.record import OUTCOMES
from gateway.quota.rule import UNITS

TEXT, WHOLE, NUMBER, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}


def _object(*optional: str, **properties: Any) -> dict[str, Any]:
    """An object whose fields are all there, but for the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _each(*names: str, type: str) -> dict[str, Any]:
    """The same type, or null, for each name."""
    return {name: {"type": [type, "null"]} for name in names}


_MAP = {"type": "object", "additionalProperties": True}
_TEXTS = {"type": "object", "additionalProperties": TEXT}
_COUNTS = {"type": "object", "additionalProperties": WHOLE}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_WHEN = {"type": "string", "format": "date-time"}
_MEASURED: dict[str, Any] = {
    **{name: WHOLE for name in MEASURES if not name.endswith("_us")},
    "cost_usd": TEXT,
    **_each("latency_ms", "gateway_ms", "ttft_ms", "output_tokens_per_second", type="number"),
}
_PRICED = {"oneOf": [{"type": "null"}, _object(source=TEXT, rates=_list(_ref("Rate")))]}
_STANDING: dict[str, Any] = {
    "quota": TEXT, "bucket": TEXT, "unit": {"enum": list(UNITS)}, "window": TEXT, "limit": NUMBER, "used": NUMBER,
    "reserved": NUMBER, "left": NUMBER, "share": NUMBER, "near": FLAG, "action": {"enum": ["block", "warn"]},
    "resets_at": _TEXT_OR_NULL, "raised_by": NUMBER,
}  # fmt: skip
SCHEMAS: dict[str, Any] = {
    "Me": _object(name=TEXT, role={"enum": ["read", "operate"]}, team=_TEXT_OR_NULL),
    "Measures": _object(*_MEASURED, **_MEASURED),
    "Spend": _object(
        since=TEXT, until=TEXT, by=_list(TEXT), groups=WHOLE, cursor=_TEXT_OR_NULL,
        rows=_list(_object(*_MEASURED, group=_TEXTS, **_MEASURED)), total=_ref("Measures"),
    ),
    "Record": _object(
        "adjustments",
        request_id=TEXT, started_at=_WHEN, ended_at=_WHEN, team=TEXT, workflow=TEXT, key_id=TEXT, tags=_TEXTS,
        provider=TEXT, api=TEXT, method=TEXT, path=TEXT, model_requested=TEXT, model=TEXT, stream=FLAG, status=WHOLE,
        outcome={"enum": list(OUTCOMES)}, usage=_COUNTS,
        usage_source={"enum": ["response", "headers", "estimated", "none"]}, cost_nanousd=WHOLE,
        cost_lines=_list(_object(item=TEXT, quantity=WHOLE, unit=TEXT, nanousd=WHOLE)), price=TEXT, priced=FLAG,
        quotas=_list(TEXT), refused_by=TEXT, reserved_nanousd=WHOLE, reserved_input_tokens=WHOLE,
        reserved_output_tokens=WHOLE, latency_ms=NUMBER, gateway_ms=NUMBER, request_bytes=WHOLE, response_bytes=WHOLE,
        trace_id=TEXT, service_tier=TEXT, region=TEXT, prompt_hash=TEXT, **_each("ttft_ms", type="number"),
        **_each("reported_cost_nanousd", type="integer"),
        adjustments=_list(_object(at=_WHEN, kind=TEXT, reason=TEXT, who=TEXT, delta_nanousd=WHOLE, price=TEXT)),
    ),
    "Settled": _object(requests=_list(_ref("Record")), after=WHOLE),
    "Records": _object(requests=_list(_ref("Record")), cursor=_TEXT_OR_NULL),
    "Key": _object(
        id=TEXT, name=TEXT, team=TEXT, workflow=TEXT, tags=_TEXTS, models=_list(TEXT), providers=_list(TEXT),
        configured=FLAG, state={"enum": ["active", "expired", "revoked"]},
        **_each("created_at", "expires_at", "revoked_at", type="string"),
    ),
    "Keys": _object(keys=_list(_ref("Key")), cursor=_TEXT_OR_NULL),
    "NewKey": _object(
        "tags", "name", "models", "providers", "expires",
        team=TEXT, workflow=TEXT, tags=_TEXTS, name=TEXT, models=_list(TEXT), providers=_list(TEXT), expires=TEXT,
    ),
    "Rotation": _object("expires", "old_expires", expires=TEXT, old_expires=TEXT),
    "Secret": _object("replaces", id=TEXT, secret=TEXT, replaces=TEXT),
    "Rate": _object(item=TEXT, usd=TEXT, per=TEXT, above=_list(_object(input_tokens=WHOLE, usd=TEXT))),
    "Models": _object(
        since=TEXT, until=TEXT,
        models=_list(_object(provider=TEXT, model=TEXT, price=_PRICED, list_price=_PRICED, **_MEASURED)),
    ),
    "Prices": {
        "oneOf": [
            _object(provider=TEXT, model=TEXT, price=TEXT, since=_TEXT_OR_NULL, until=_TEXT_OR_NULL,
                    rates=_list(_ref("Rate"))),
            _object(catalogue=_MAP, entries=_list(_MAP), lists=_COUNTS, providers=_TEXTS),
        ],
    },
    "Forecast": _object(
        since=TEXT, until=TEXT, so_far_nanousd=WHOLE, expected_nanousd=WHOLE, low_nanousd=WHOLE,
        high_nanousd=WHOLE, days_left=NUMBER, history_days=WHOLE,
    ),
    "Anomalies": _object(
        since=TEXT, until=TEXT,
        anomalies=_list(_object(
            day=TEXT, team=TEXT, workflow=TEXT, cost_nanousd=WHOLE, usual_nanousd=WHOLE, score=NUMBER,
            models=_list(TEXT),
            drivers=_object(change=WHOLE, volume=WHOLE, mix=WHOLE, tokens_per_call=WHOLE, price=WHOLE),
        )),
    ),
    "Waste": _object(
        since=TEXT, until=TEXT,
        findings=_list(_object(
            kind=TEXT, team=TEXT, workflow=TEXT, provider=TEXT, model=TEXT, calls=WHOLE, nanousd=WHOLE,
            nanousd_a_month=WHOLE, at_most=FLAG, because=TEXT, examples=_list(TEXT),
        )),
    ),
    "Allocation": _object(
        month=TEXT, by=_list(TEXT), total_nanousd=WHOLE,
        rows=_list(_object(group=_MAP, direct_nanousd=WHOLE, shared_nanousd=_COUNTS, total_nanousd=WHOLE)),
    ),
    "Quotas": _object(quotas=_list(_object(**_STANDING, match=_MAP, per=_list(TEXT)))),
    "Explained": _object(
        allowed=FLAG, refused_by=_TEXT_OR_NULL,
        rules=_list({
            "oneOf": [
                _object(quota=TEXT, matches={"const": False}, because=TEXT),
                _object(quota=TEXT, matches={"const": True}, says={"enum": ["yes", "no", "warn"]},
                        limits=_list(_object(**_STANDING, wanted=NUMBER, fits=FLAG))),
            ],
        }),
    ),
    "Verified": _object(
        counters=WHOLE,
        differences=_list(_object(quota=TEXT, bucket=TEXT, unit=TEXT, counted=NUMBER, ledger=NUMBER)),
    ),
    "Grant": _object(
        *UNITS, **dict.fromkeys(UNITS, NUMBER), id=WHOLE, quota=TEXT, who=TEXT, why=TEXT, created_at=_WHEN,
        until=_WHEN, **{"from": _WHEN},
    ),
    "Grants": _object(grants=_list(_ref("Grant"))),
    "NewGrant": _object(
        *UNITS, "from", "who", "why", **dict.fromkeys(UNITS, NUMBER), until=TEXT, who=TEXT, why=TEXT,
        **{"from": TEXT},
    ),
    "Events": _object(
        cursor=WHOLE,
        events=_list(_object(id=WHOLE, at=_WHEN, kind=TEXT, quota=TEXT, bucket=TEXT, unit=TEXT, limit=NUMBER,
                             used=NUMBER, wanted=NUMBER, detail=TEXT, who=TEXT)),
    ),
    "Reloaded": _object(changed=_list(TEXT)),
    "Problem": _object(type=TEXT, title=TEXT, status=WHOLE, detail=TEXT),
    "Any": _MAP,
}  # fmt: skip

"""``/api/openapi.json``: the admin API, described for programs. A test compares it with the routes."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.admin.query import answer
from gateway.admin.spend import MEASURES

_TEXT, _WHOLE, _NUMBER, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}
_PERIOD = {
    "since": "First moment: a date or an RFC 3339 time. Default: the first of this month, UTC.",
    "until": "First moment that no longer counts. Default: all up to now.",
}
_FILTERS = {
    name: f"Only this {name}; may be repeated." for name in ("team", "workflow", "key", "provider", "model")
} | {"tag.NAME": "Only calls with this value of the tag; may be repeated."}
_RECORD_FILTERS = {name: f"Only this {name}." for name in ("team", "workflow", "key", "provider", "model", "outcome")}
_PAGES = {"limit": "Rows of a page.", "cursor": "The cursor of the page before."}


def add(app: web.Application) -> None:
    """Add the route."""
    document = describe()

    async def openapi(request: web.Request) -> web.Response:
        return answer(document)

    app.router.add_get("/api/openapi.json", openapi)


def describe() -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, summary, query, body, schema in _OPERATIONS:
        paths.setdefault(path, {})[method] = _operation(method, path, summary, query, body, schema)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Spendgate admin API",
            "version": "1",
            "description": "Money: integer nanodollars (`_nanousd`) or decimal dollars (`_usd`). Times: RFC 3339, UTC.",
        },
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**_SCHEMAS, "Problem": _object(type=_TEXT, title=_TEXT, status=_WHOLE, detail=_TEXT)},
            "responses": {
                "Problem": {
                    "description": "What is wrong, and what to do about it.",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
        },
    }


def _operation(method: str, path: str, summary: str, query: dict[str, str], body: str, schema: str) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]
    parameters += [{"name": name, "in": "query", "description": said, "schema": _TEXT} for name, said in query.items()]
    made = method == "post" and not path.endswith(("/verify", "/reload"))
    status = "204" if method == "delete" else "201" if made else "200"
    answered: dict[str, Any] = {"description": "Done."}
    if status != "204":
        answered["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    out: dict[str, Any] = {
        "summary": summary,
        "operationId": f"{method}{''.join(part.strip('{}').title() for part in path.split('/')[2:])}".replace(".", ""),
        "parameters": parameters,
        "responses": {status: answered, "default": {"$ref": "#/components/responses/Problem"}},
    }
    if body:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}}}
        out["requestBody"] = {"required": True, "content": content}
    return out


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _each(*names: str, type: str) -> dict[str, Any]:
    """The same type, or null, for each name."""
    return {name: {"type": [type, "null"]} for name in names}


_MAP = {"type": "object", "additionalProperties": True}
_MEASURED: dict[str, Any] = {
    **{name: _WHOLE for name in MEASURES if not name.endswith("_us")},
    "cost_usd": _TEXT,
    **_each("latency_ms", "gateway_ms", "ttft_ms", "output_tokens_per_second", type="number"),
}
_PRICED = {"type": ["object", "null"], "properties": {"source": _TEXT, "rates": _list(_ref("Rate"))}}
_SCHEMAS: dict[str, Any] = {
    "Me": _object(name=_TEXT, role={"enum": ["read", "operate"]}, team={"type": ["string", "null"]}),
    "Measures": _object(**_MEASURED),
    "Spend": _object(
        since=_TEXT, until=_TEXT, by=_list(_TEXT), groups=_WHOLE, cursor={"type": ["string", "null"]},
        rows=_list(_object(group=_MAP, **_MEASURED)), total=_ref("Measures"),
    ),
    "Record": _object(
        request_id=_TEXT, started_at=_TEXT, ended_at=_TEXT, team=_TEXT, workflow=_TEXT, key_id=_TEXT, tags=_MAP,
        provider=_TEXT, api=_TEXT, method=_TEXT, path=_TEXT, model_requested=_TEXT, model=_TEXT, stream=_FLAG,
        status=_WHOLE, outcome=_TEXT, usage=_MAP, usage_source=_TEXT, cost_nanousd=_WHOLE,
        cost_lines=_list(_object(item=_TEXT, quantity=_WHOLE, unit=_TEXT, nanousd=_WHOLE)), price=_TEXT, priced=_FLAG,
        quotas=_list(_TEXT), refused_by=_TEXT, latency_ms=_NUMBER, ttft_ms={"type": ["number", "null"]},
        gateway_ms=_NUMBER, trace_id=_TEXT, adjustments=_list(_MAP),
    ),
    "Settled": _object(requests=_list(_ref("Record")), after=_WHOLE),
    "Records": _object(requests=_list(_ref("Record")), cursor={"type": ["string", "null"]}),
    "Key": _object(
        id=_TEXT, name=_TEXT, team=_TEXT, workflow=_TEXT, tags=_MAP, models=_list(_TEXT), providers=_list(_TEXT),
        configured=_FLAG, state={"enum": ["active", "expired", "revoked"]},
        **_each("created_at", "expires_at", "revoked_at", type="string"),
    ),
    "Keys": _object(keys=_list(_ref("Key"))),
    "NewKey": {
        **_object(
            team=_TEXT, workflow=_TEXT, tags=_MAP, name=_TEXT, models=_list(_TEXT), providers=_list(_TEXT),
            expires=_TEXT,
        ),
        "required": ["team", "workflow"],
        "additionalProperties": False,
    },
    "Secret": _object(id=_TEXT, secret=_TEXT, replaces=_TEXT),
    "Rate": _object(item=_TEXT, usd=_TEXT, per=_TEXT, above=_list(_object(input_tokens=_WHOLE, usd=_TEXT))),
    "Models": _object(
        since=_TEXT, until=_TEXT,
        models=_list(_object(provider=_TEXT, model=_TEXT, price=_PRICED, list_price=_PRICED, **_MEASURED)),
    ),
    "Prices": _object(
        provider=_TEXT, model=_TEXT, price=_TEXT, rates=_list(_ref("Rate")), catalogue=_MAP, entries=_list(_MAP),
        lists=_MAP, providers=_MAP,
    ),
    "Forecast": _object(
        since=_TEXT, until=_TEXT, so_far_nanousd=_WHOLE, expected_nanousd=_WHOLE, low_nanousd=_WHOLE,
        high_nanousd=_WHOLE, days_left=_NUMBER, history_days=_WHOLE,
    ),
    "Anomalies": _object(
        since=_TEXT, until=_TEXT,
        anomalies=_list(_object(
            day=_TEXT, team=_TEXT, workflow=_TEXT, cost_nanousd=_WHOLE, usual_nanousd=_WHOLE, score=_NUMBER,
            models=_list(_TEXT),
            drivers=_object(change=_WHOLE, volume=_WHOLE, mix=_WHOLE, tokens_per_call=_WHOLE, price=_WHOLE),
        )),
    ),
    "Waste": _object(
        since=_TEXT, until=_TEXT,
        findings=_list(_object(
            kind=_TEXT, team=_TEXT, workflow=_TEXT, provider=_TEXT, model=_TEXT, calls=_WHOLE, nanousd=_WHOLE,
            nanousd_a_month=_WHOLE, at_most=_FLAG, because=_TEXT, examples=_list(_TEXT),
        )),
    ),
    "Allocation": _object(
        month=_TEXT, by=_list(_TEXT), total_nanousd=_WHOLE,
        rows=_list(_object(group=_MAP, direct_nanousd=_WHOLE, shared_nanousd=_MAP, total_nanousd=_WHOLE)),
    ),
    "Quotas": _object(
        quotas=_list(_object(
            quota=_TEXT, bucket=_TEXT, unit=_TEXT, window=_TEXT, limit=_NUMBER, used=_NUMBER, reserved=_NUMBER,
            left=_NUMBER, share=_NUMBER, near=_FLAG, action=_TEXT, resets_at={"type": ["string", "null"]},
            raised_by=_NUMBER, match=_MAP, per=_list(_TEXT),
        )),
    ),
    "Reloaded": _object(changed=_list(_TEXT)),
    "Any": _MAP,
}  # fmt: skip
_SUBJECT = {
    **{name: f"The call's {name}." for name in ("team", "workflow", "key", "provider", "model")},
    "usd": "Dollars the call may cost.",
    "input_tokens": "Its input.",
    "output_tokens": "Its output.",
}
_NONE: dict[str, str] = {}
_Operation = tuple[str, str, str, dict[str, str], str, str]
_OPERATIONS: tuple[_Operation, ...] = (
    ("get", "/api/me", "Who the caller is", _NONE, "", "Me"),
    ("get", "/api/openapi.json", "This document", _NONE, "", "Any"),
    (
        "get", "/api/spend", "Spend, tokens and speed of any group of calls",
        {"by": "Dimensions, by commas: team, workflow, key, provider, model, tag.NAME, hour, day, week, month.",
         **_PERIOD, **_FILTERS, **_PAGES, "format": "json or csv",
         "measures": "Only these numbers, by commas; the fewer, the quicker. Default: all."},
        "", "Spend",
    ),
    (
        "get", "/api/requests", "Records, newest first",
        {**_PERIOD, **_PAGES, **_RECORD_FILTERS}, "", "Records",
    ),
    (
        "get", "/api/requests/settled", "Records in the order of their settlement, to follow them",
        {"after": "What the answer before gave. Default: the newest records.", "limit": "At most so many.",
         **_RECORD_FILTERS},
        "", "Settled",
    ),
    ("get", "/api/requests/{request_id}", "One record", _NONE, "", "Record"),
    ("get", "/api/keys", "Virtual keys", {"team": "Only this team's; may be repeated."}, "", "Keys"),
    ("post", "/api/keys", "Make a key; the secret stands in this answer only", _NONE, "NewKey", "Secret"),
    ("post", "/api/keys/{id}/rotate", "A new key for the owner; the old one works until it is revoked", _NONE, "",
     "Secret"),
    ("delete", "/api/keys/{id}", "Revoke a key, for good", _NONE, "", "Any"),
    ("get", "/api/models", "Price, speed and use of each model", {**_PERIOD, **_FILTERS}, "", "Models"),
    (
        "get", "/api/prices", "The price book, or one price with all its rates",
        {"provider": "A provider of the configuration, or a price list.", "model": "With it: one price.",
         "at": "When. Default: now.", "service_tier": "batch, flex, priority…", "region": "Where it was served."},
        "", "Prices",
    ),
    ("get", "/api/forecast", "What this month will cost, with an interval for 8 of 10 cases", _FILTERS, "", "Forecast"),
    ("get", "/api/anomalies", "Unusual days, with what drove them", {"days": "How far back, 1 to 90.", **_FILTERS}, "",
     "Anomalies"),
    ("get", "/api/waste", "Money that bought little", _PERIOD, "", "Waste"),
    ("get", "/api/allocation", "A month's direct and shared costs",
     {"month": "Like 2026-11.", "by": "team or team,workflow"}, "", "Allocation"),
    ("get", "/api/quotas", "How every quota stands", {"quota": "Only this quota."}, "", "Quotas"),
    ("get", "/api/quotas/explain", "What each quota would say to a call", _SUBJECT, "", "Any"),
    ("post", "/api/quotas/verify", "Compare the counters with the ledger", _NONE, "", "Any"),
    ("get", "/api/quotas/grants", "Raises that hold", _NONE, "", "Any"),
    ("post", "/api/quotas/{quota}/grants", "Raise a quota for a time", _NONE, "Any", "Any"),
    ("delete", "/api/quotas/grants/{id}", "End a raise", _NONE, "", "Any"),
    ("post", "/api/reload", "Read the configuration again; 422 and no change where something is wrong", _NONE, "",
     "Reloaded"),
    ("get", "/api/events", "Events about quotas",
     {"after": "The id of the last known event.", "limit": "At most so many."}, "", "Any"),
)  # fmt: skip

"""``/api/openapi.json``: the admin API, described for programs. A test compares it with the routes."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.admin.query import answer
from gateway.admin.schemas import SCHEMAS, TEXT

REPEATED = "may be repeated"
_PERIOD = {
    "since": "First moment: a date or an RFC 3339 time. Default: the first of this month, UTC.",
    "until": "First moment that no longer counts. Default: all up to now.",
}
_FILTERS = {
    name: f"Only this {name}; {REPEATED}." for name in ("team", "workflow", "key", "provider", "model", "outcome")
} | {"tag.NAME": "Only calls with this value of the tag; may be repeated."}
_RECORD_FILTERS = {name: f"Only this {name}." for name in ("team", "workflow", "key", "provider", "model", "outcome")}
_PAGES = {"limit": "Rows of a page.", "cursor": "The cursor of the page before."}


def add(app: web.Application) -> None:
    """Add the route."""
    document = describe()

    async def openapi(request: web.Request) -> web.Response:
        return answer(document)

    app.router.add_get("/api/openapi.json", openapi)


def parameters() -> dict[tuple[str, str], dict[str, bool]]:
    """By method and path, the query's parameters, and whether each may be given several times, as their text says."""
    return {
        (method, path): {name: REPEATED in said for name, said in query.items()}
        for method, path, _, query, _, _ in _OPERATIONS
    }


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
            "schemas": SCHEMAS,
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
    parameters = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in names]
    parameters += [
        {
            "name": name,
            "in": "query",
            "description": said,
            "schema": _QUERY.get((path, name)) or _QUERY.get(("", name), TEXT),
        }
        for name, said in query.items()
    ]
    made = method == "post" and not path.endswith(("/verify", "/reload"))
    status = "204" if method == "delete" else "201" if made else "200"
    answered: dict[str, Any] = {"description": "Done."}
    if status != "204":
        answered["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    if "format" in query:
        answered["content"]["text/csv"] = {}
    out: dict[str, Any] = {
        "summary": summary,
        "operationId": f"{method}{''.join(part.strip('{}').title() for part in path.split('/')[2:])}".replace(".", ""),
        "parameters": parameters,
        "responses": {status: answered, **dict.fromkeys(_refusals(method, path, names), _PROBLEM)},
    }
    if body:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}}}
        out["requestBody"] = {"required": body not in OPTIONAL, "content": content}
    return out


def _refusals(method: str, path: str, names: list[str]) -> list[str]:
    """The statuses that an operation may answer instead."""
    found = ["400", "401", "403", "429", "503"]
    if names or path == "/api/prices":
        found.append("404")
    if "/keys/{id}" in path:
        found.append("409")
    if path.endswith("/reload"):
        found.append("422")
    return found


_PROBLEM = {"$ref": "#/components/responses/Problem"}
_TIME = {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}
_ID = {"type": "integer", "minimum": 0, "maximum": (1 << 62) - 1}
_QUERY: dict[tuple[str, str], dict[str, Any]] = {
    ("", "since"): _TIME,
    ("", "until"): _TIME,
    ("", "at"): _TIME,
    ("", "limit"): {"type": "integer", "minimum": 1, "maximum": 1000},
    ("/api/spend", "limit"): {"type": "integer", "minimum": 1, "maximum": 10_000},
    ("/api/keys", "limit"): {"type": "integer", "minimum": 1, "maximum": 10_000},
    ("", "days"): {"type": "integer", "minimum": 1, "maximum": 90},
    ("", "format"): {"enum": ["json", "csv"]},
    ("", "month"): {"type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$"},
    ("", "usd"): {"type": "number", "minimum": 0},
    ("", "input_tokens"): {"type": "integer", "minimum": 0},
    ("", "output_tokens"): {"type": "integer", "minimum": 0},
    ("/api/allocation", "by"): {"enum": ["team", "team,workflow"]},
    ("/api/events", "after"): _ID,
    ("/api/events", "cursor"): _ID,
}
"""What a parameter may hold, by path and name, or by name alone."""
_SUBJECT = {
    **{name: f"The call's {name}." for name in ("team", "workflow", "key", "provider", "model")},
    "usd": "Dollars the call may cost.",
    "input_tokens": "Its input.",
    "output_tokens": "Its output.",
    "tag.NAME": "The call's value of the tag.",
}
OPTIONAL = ("Rotation",)
"""Bodies that need not be sent."""
_NONE: dict[str, str] = {}
_Operation = tuple[str, str, str, dict[str, str], str, str]
_OPERATIONS: tuple[_Operation, ...] = (
    ("get", "/api/me", "Who the caller is", _NONE, "", "Me"),
    ("get", "/api/openapi.json", "This document", _NONE, "", "Any"),
    (
        "get", "/api/spend", "Spend, tokens and speed of any group of calls",
        {"by": "By commas: team, workflow, key, provider, model, outcome, tag.NAME, hour, day, week, month.",
         **_PERIOD, **_FILTERS, **_PAGES, "format": "json or csv",
         "measures": "Only these numbers, by commas; the fewer, the quicker. Default: all."},
        "", "Spend",
    ),
    (
        "get", "/api/requests", "Records, newest first",
        {**_PERIOD, **_PAGES, **_RECORD_FILTERS,
         "prompt_hash": "Only calls with this prompt; with a period of at most a day."}, "", "Records",
    ),
    (
        "get", "/api/requests/settled", "Records in the order of their settlement, to follow them",
        {"after": "What the answer before gave. Default: the newest records.", "limit": "At most so many.",
         **_RECORD_FILTERS},
        "", "Settled",
    ),
    ("get", "/api/requests/{request_id}", "One record", _NONE, "", "Record"),
    ("get", "/api/keys", "Virtual keys", {"team": "Only this team's; may be repeated.", **_PAGES},
     "", "Keys"),
    ("post", "/api/keys", "Make a key; the secret stands in this answer only", _NONE, "NewKey", "Secret"),
    ("post", "/api/keys/{id}/rotate", "A new key for the owner; the old one works until old_expires, or is revoked",
     _NONE, "Rotation", "Secret"),
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
    ("get", "/api/quotas/explain", "What each quota would say to a call", _SUBJECT, "", "Explained"),
    ("post", "/api/quotas/verify", "Compare the counters with the ledger", _NONE, "", "Verified"),
    ("get", "/api/quotas/grants", "Raises that hold", _NONE, "", "Grants"),
    ("post", "/api/quotas/{quota}/grants", "Raise a quota for a time", _NONE, "NewGrant", "Grant"),
    ("delete", "/api/quotas/grants/{id}", "End a raise", _NONE, "", "Any"),
    ("post", "/api/reload", "Read the configuration again; 422 and no change where something is wrong", _NONE, "",
     "Reloaded"),
    ("get", "/api/events", "Events about quotas",
     {"after": "The id of the last known event.", "cursor": "The same: what the answer before gave.",
      "limit": "At most so many."}, "", "Events"),
)  # fmt: skip

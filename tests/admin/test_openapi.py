"""Every documented operation of the admin API, called at a live gateway; each answer is checked against its schema."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest
from support.admin import TEAM, Answer, Caller

if TYPE_CHECKING:
    from openapi_core import OpenAPI

PERIOD = "since=2026-09-21T00:00:00Z&until=2026-09-22T12:00:00Z"
UNTIL = time.strftime("%Y-12-31", time.gmtime(time.time() + 366 * 86400))
CALLS: tuple[tuple[str, str, str, Any], ...] = (
    ("get", "/api/me", "", None),
    ("get", "/api/openapi.json", "", None),
    ("get", "/api/spend", f"by=team,model,day&{PERIOD}&limit=5", None),
    ("get", "/api/spend", f"by=team&team=search&measures=requests,ttft_ms&{PERIOD}", None),
    ("get", "/api/spend", f"by=team&format=csv&{PERIOD}", None),
    ("get", "/api/requests", "limit=50", None),
    ("get", "/api/requests", "outcome=rejected", None),
    ("get", "/api/requests/{request_id}", "", None),
    ("get", "/api/requests/settled", "limit=3", None),
    ("get", "/api/keys", "", None),
    ("post", "/api/keys", "", {"team": "search", "workflow": "w", "tags": {"env": "dev"}, "expires": UNTIL}),
    ("post", "/api/keys/{id}/rotate", "", None),
    ("delete", "/api/keys/{id}", "", None),
    ("get", "/api/models", PERIOD, None),
    ("get", "/api/prices", "", None),
    ("get", "/api/prices", "provider=simulated&model=gpt-4o", None),
    ("get", "/api/forecast", "team=search", None),
    ("get", "/api/anomalies", "days=90", None),
    ("get", "/api/waste", "since=2026-09-21&until=2026-09-23", None),
    ("get", "/api/allocation", "month=2026-09&by=team,workflow", None),
    ("get", "/api/quotas", "", None),
    ("get", "/api/quotas/explain", "team=search&workflow=w&usd=1", None),
    ("post", "/api/quotas/verify", "", None),
    ("post", "/api/quotas/{quota}/grants", "", {"usd": 5, "until": UNTIL, "who": "me", "why": "a launch"}),
    ("get", "/api/quotas/grants", "", None),
    ("get", "/api/events", "", None),
    ("delete", "/api/quotas/grants/{id}", "", None),
    ("post", "/api/reload", "", None),
)
WRONG = (
    ("get", "/api/spend", "by=nothing", None, 400),
    ("get", "/api/requests", "cursor=x", None, 400),
    ("get", "/api/requests/{request_id}", "", None, 404),
    ("get", "/api/prices", "provider=openai&model=none", None, 404),
    ("post", "/api/keys", "", {"team": "t"}, 400),
    ("delete", "/api/keys/{id}", "", None, 404),
    ("post", "/api/quotas/{quota}/grants", "", {"usd": 5}, 404),
    ("get", "/api/events", "limit=x", None, 400),
)


@pytest.fixture(scope="module")
def document(open_caller: Caller) -> Any:
    return open_caller.get("/api/openapi.json")


@pytest.fixture(scope="module")
def api(document: Any) -> OpenAPI:
    # two seconds, which not every worker of the tests needs to spend
    from openapi_core import Config, OpenAPI

    readers = {"application/problem+json": json.loads}
    return OpenAPI.from_dict(document, config=Config(extra_media_type_deserializers=readers))


def filled(caller: Caller, method: str, path: str, known: dict[str, str]) -> str:
    """A path with what it names; the things named are made by the calls before."""
    values = {
        "request_id": lambda: caller.get("/api/requests?limit=1")["requests"][0]["request_id"],
        "quota": lambda: "search-month",
        "id": lambda: known["grant" if "grants" in path else "key"],
    }
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]](), path)


def check(api: OpenAPI, document: Any, method: str, target: str, query: str, body: Any, answer: Answer) -> None:
    """Raises where the request or the answer is not as the document says."""
    from openapi_core.testing import MockRequest, MockResponse

    arguments = {name: value[0] for name, value in urllib.parse.parse_qs(query).items()}
    known = {one["name"] for operation in document["paths"].values() for each in operation.values()
             for one in each.get("parameters", ())}  # fmt: skip
    assert set(arguments) <= known
    request = MockRequest("http://localhost", method, target, args=arguments,
                          data=json.dumps(body).encode() if body is not None else None)  # fmt: skip
    content = answer.headers.get("Content-Type", "application/json").split(";")[0]
    response = MockResponse(answer.body, status_code=answer.status, content_type=content)
    if answer.status < 400:
        api.validate_request(request)
    api.validate_response(request, response)


def test_every_operation_answers_as_it_is_described(open_caller: Caller, document: Any, api: OpenAPI) -> None:
    known: dict[str, str] = {}
    for method, path, query, body in CALLS:
        target = filled(open_caller, method, path, known)
        answer = open_caller(method.upper(), target + (f"?{query}" if query else ""), body)
        assert answer.status < 300, (path, answer.body)
        check(api, document, method, target, query, body, answer)
        if answer.status == 201:
            known["grant" if "grants" in path else "key"] = str(answer.json()["id"])
    called = {(method, path) for method, path, *_ in CALLS}
    assert called == {(method, path) for path, operations in document["paths"].items() for method in operations}


def test_every_error_is_a_problem_as_it_is_described(
    open_caller: Caller, guarded: Caller, document: Any, api: OpenAPI
) -> None:
    nothing = {"request_id": "req_none", "quota": "none", "id": "none"}
    for method, path, query, body, status in WRONG:
        target = re.sub(r"\{(\w+)\}", lambda found: nothing[found[1]], path)
        answer = open_caller(method.upper(), target + (f"?{query}" if query else ""), body)
        assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), path
        check(api, document, method, target, "", body, answer)
    for caller, status in ((guarded, 401), (guarded.as_(TEAM), 403)):
        answer = caller("GET", "/api/events")
        assert answer.status == status
        check(api, document, "get", "/api/events", "", None, answer)


def test_an_answer_that_is_not_as_described_is_noticed(open_caller: Caller, document: Any, api: OpenAPI) -> None:
    answer = open_caller("GET", "/api/me")
    answer.body = answer.body.replace(b'"role"', b'"rule"')
    with pytest.raises(Exception, match="InvalidData"):
        check(api, document, "get", "/api/me", "", None, answer)


def test_the_document_is_openapi(document: Any) -> None:
    from openapi_spec_validator import validate

    validate(document)
    names = [each["operationId"] for operations in document["paths"].values() for each in operations.values()]
    assert len(set(names)) == len(names)

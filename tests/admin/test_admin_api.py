"""The admin API as a program uses it: the numbers are those of the records, pages lead on, mistakes are told."""

from __future__ import annotations

import csv
import io
import json
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import book
import pytest
from support.admin import NASTY, Caller, records

from gateway.ledger.record import Record

FIRST, LAST = book.START_NS, book.START_NS + 402 * 60 * 10**9
PERIOD = "since=2026-09-21T00:00Z&until=2026-09-22T12:00Z"


def cost(chosen: list[Record]) -> int:
    return sum(one.cost_nanousd for one in chosen)


def test_spend_by_any_dimension_is_the_sum_of_the_records(open_caller: Caller) -> None:
    answer = open_caller.get(f"/api/spend?by=team,tag.env&{PERIOD}")
    for row in answer["rows"]:
        group = row["group"]
        own = [one for one in records() if one.team == group["team"] and one.tags["env"] == group["tag.env"]]
        assert row["cost_nanousd"] == cost(own)
        assert row["requests"] + row["rejected"] == len(own)
        assert row["input_tokens"] == sum(one.usage.input_tokens_total for one in own)
        assert row["latency_ms"] == pytest.approx(sum(one.latency_us for one in own) / len(own) / 1000, abs=0.001)
    assert answer["total"]["cost_nanousd"] == cost(records())


def test_measures_that_are_asked_for_are_those_of_the_whole_answer(open_caller: Caller) -> None:
    for by in ("team", "day,tag.env", "hour"):
        whole = open_caller.get(f"/api/spend?by={by}&{PERIOD}")
        names = "requests,output_tokens,cost_usd,latency_ms,ttft_ms,output_tokens_per_second,cost_nanousd"
        few = open_caller.get(f"/api/spend?by={by}&{PERIOD}&measures={names}")
        kept = [{"group": row["group"], **{name: row[name] for name in names.split(",")}} for row in whole["rows"]]
        assert few["rows"] == kept
        assert few["total"] == {name: whole["total"][name] for name in names.split(",")}
    asked = f"/api/spend?by=team&measures=ttft_ms,requests,latency_ms&{PERIOD}"
    rows = csv.DictReader(io.StringIO(open_caller("GET", f"{asked}&format=csv").body.decode()))
    assert rows.fieldnames == ["team", "ttft_ms", "requests", "latency_ms"]
    shown = [{"team": row.pop("group")["team"], **row} for row in open_caller.get(asked)["rows"]]
    assert list(rows) == [{name: "" if value is None else str(value) for name, value in row.items()} for row in shown]


def test_filters_of_one_dimension_are_alternatives_and_of_two_are_conditions(open_caller: Caller) -> None:
    answer = open_caller.get(f"/api/spend?by=model&{PERIOD}&team=search&workflow=ranking&workflow=bot")
    own = [one for one in records() if one.team == "search" and one.workflow in ("ranking", "bot")]
    assert answer["total"]["cost_nanousd"] == cost(own)


def test_time_buckets_sum_to_the_whole(open_caller: Caller) -> None:
    for bucket in ("hour", "day", "week", "month"):
        answer = open_caller.get(f"/api/spend?by={bucket}&{PERIOD}")
        assert sum(row["cost_nanousd"] for row in answer["rows"]) == cost(records())


def test_a_period_that_begins_within_an_hour_counts_exactly_its_calls(open_caller: Caller) -> None:
    since, until = "2026-09-21T14:17:00Z", "2026-09-21T16:43:30Z"
    answer = open_caller.get(f"/api/spend?since={since}&until={until}")
    begin, end = (time.mktime(time.strptime(t, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone for t in (since, until))
    own = [one for one in records() if begin * 1e9 <= one.started_ns < end * 1e9]
    assert own
    assert answer["total"]["cost_nanousd"] == cost(own)


def test_spend_pages_by_cursor_without_loss_or_repetition(open_caller: Caller) -> None:
    whole = open_caller.get(f"/api/spend?by=hour,workflow&{PERIOD}")["rows"]
    rows: list[Any] = []
    cursor = ""
    while cursor is not None:
        page = open_caller.get(
            f"/api/spend?by=hour,workflow&limit=3&{PERIOD}" + (f"&cursor={cursor}" if cursor else "")
        )
        assert len(page["rows"]) <= 3
        rows += page["rows"]
        cursor = page["cursor"]
    assert rows == whole


def test_spend_as_csv_holds_the_same_numbers_and_no_formula(open_caller: Caller) -> None:
    answer = open_caller("GET", f"/api/spend?by=model&format=csv&{PERIOD}")
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert sum(int(row["cost_nanousd"]) for row in rows) == cost(records())
    assert "'=cmd()" in {row["model"] for row in rows}


def test_requests_can_be_filtered_by_everything_that_names_them(open_caller: Caller) -> None:
    found = open_caller.get("/api/requests?outcome=rejected")["requests"]
    assert [one["workflow"] for one in found] == ["refused"]
    page = open_caller.get("/api/requests?limit=1000&provider=openai&key=k&team=support")["requests"]
    assert len(page) == sum(one.team == "support" for one in records())
    one = open_caller.get(f"/api/requests/{page[0]['request_id']}")
    assert sum(line["nanousd"] for line in one["cost_lines"]) == one["cost_nanousd"]
    assert one["adjustments"] == []
    assert open_caller.get("/api/requests?until=1970-01-01")["requests"] == []


def test_records_are_followed_by_the_model_that_was_asked_for_too(open_caller: Caller) -> None:
    for model in {name for one in records() for name in (one.model, one.model_requested)}:
        query = urllib.parse.urlencode({"limit": 1000, "model": model})
        page = open_caller.get(f"/api/requests?{query}")["requests"]
        followed = open_caller.get(f"/api/requests/settled?{query}")["requests"]
        assert {one["request_id"] for one in followed} == {one["request_id"] for one in page} != set()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/api/spend?by=nonsense", 'no report by "nonsense"'),
        ("/api/spend?since=yesterday", '"yesterday" is no date or time'),
        ("/api/spend?since=2026-11-02&until=2026-11-01", "until must be after since"),
        ("/api/spend?limit=0", "limit is a whole number between 1 and"),
        ("/api/spend?cursor=%21%21", "this cursor was not given by this API"),
        ("/api/spend?measures=money", 'no measure "money": measures are requests,'),
        ("/api/spend?format=xml", "format is json or csv"),
        ("/api/spend?by=" + ",".join(["team"] * 9), "at most 8 dimensions"),
        ("/api/spend?by=team,model,team", "team is named twice"),
        ("/api/requests?limit=many", "limit is a whole number"),
        ("/api/requests?outcome=lost", "outcome is one of"),
        ("/api/requests?cursor=x", "this cursor was not given by this API"),
        ("/api/anomalies?days=1000", "days is a whole number"),
        ("/api/waste?since=2026-01-01", "at most 31 days"),
        ("/api/allocation?month=November", "month is like 2026-11"),
        ("/api/allocation?month=9999-12", "month is like 2026-11"),
        ("/api/allocation?month=0001-01", "month is like 2026-11"),
        ("/api/prices?model=gpt-4o", "name the provider"),
        ("/api/spend?tem=search", 'no parameter "tem": there are by, since, until, team,'),
        ("/api/forecast?since=2026-11-01", 'no parameter "since": there are team,'),
        ("/api/requests?tag.env=prod", 'no parameter "tag.env"'),
        ("/api/requests?team=search&team=support", "team may be given once"),
        ("/api/requests?since=2026-11-02&until=2026-11-01", "until must be after since"),
        ("/api/requests/settled?cursor=5", 'no parameter "cursor": there are after,'),
        ("/api/quotas/grants?limit=5", 'no parameter "limit": there are none here'),
        ("/api/events?cursor=x", "after, cursor and limit are numbers"),
        ("/api/events?after=1&cursor=-1", "after and cursor are an event's id"),
    ],
)
def test_a_mistake_is_a_problem_that_says_what_is_wrong(open_caller: Caller, path: str, told: str) -> None:
    answer = open_caller("GET", path)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert told in answer.json()["detail"]


def test_events_are_followed_by_the_cursor_that_an_answer_gives(open_caller: Caller) -> None:
    end = f"{time.gmtime().tm_year + 2}-01-01"
    for reason in ("one", "two"):
        open_caller("POST", "/api/quotas/search-month/grants", {"usd": 1, "until": end, "why": reason})
    deadline = time.monotonic() + 20
    told: list[str] = []
    while {"one", "two"} - set(told) and time.monotonic() < deadline:
        told, cursor = [], 0
        for _ in range(50):
            answered = open_caller.get(f"/api/events?limit=1&cursor={cursor}")
            told += [event["detail"] for event in answered["events"]]
            cursor = answered["cursor"]
    assert told.count("one") == told.count("two") == 1


def test_what_is_not_there_is_a_problem_too(open_caller: Caller) -> None:
    for method, path, status in (
        ("GET", "/api/nothing", 404),
        ("GET", "/api/requests/req_0", 404),
        ("PUT", "/api/spend", 405),
        ("DELETE", "/api/keys/key_none", 404),
        ("DELETE", "/api/keys/configured", 409),
        ("GET", "/api/prices?provider=simulated-not&model=none", 404),
    ):
        answer = open_caller(method, path)
        assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), path
        assert answer.json()["status"] == status


def call(caller: Caller, secret: str) -> int:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    request = urllib.request.Request(caller.gateway.url + "/simulated/v1/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def until(caller: Caller, secret: str, status: int) -> None:
    """A running gateway takes up a change within a second."""
    deadline = time.monotonic() + 10
    while call(caller, secret) != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_key_is_made_used_rotated_and_revoked(open_caller: Caller) -> None:
    asked = {"team": "search", "workflow": "nightly", "tags": {"env": "prod"}, "name": "job", "models": ["m*"]}
    answer = open_caller("POST", "/api/keys", asked)
    assert answer.status == 201
    made = answer.json()
    until(open_caller, made["secret"], 200)
    new = open_caller("POST", f"/api/keys/{made['id']}/rotate").json()
    assert new["replaces"] == made["id"]
    until(open_caller, new["secret"], 200)
    assert call(open_caller, made["secret"]) == 200
    assert open_caller("DELETE", f"/api/keys/{made['id']}").status == 204
    until(open_caller, made["secret"], 401)
    assert call(open_caller, new["secret"]) == 200
    assert open_caller("POST", f"/api/keys/{made['id']}/rotate").status == 404
    keys = {key["id"]: key for key in open_caller.get("/api/keys")["keys"]}
    assert keys[made["id"]]["state"] == "revoked"
    assert keys[new["id"]]["tags"] == {"env": "prod"}
    assert keys[new["id"]]["models"] == ["m*"]
    assert keys["configured"]["configured"]
    listed = json.dumps(list(keys.values()))
    assert made["secret"] not in listed
    assert "sha256" not in listed


def test_a_rotated_key_ends_when_it_was_said_and_not_before(open_caller: Caller) -> None:
    made = open_caller("POST", "/api/keys", {"team": "search", "workflow": "nightly"}).json()
    until(open_caller, made["secret"], 200)
    path = f"/api/keys/{made['id']}/rotate"
    assert open_caller("POST", path, {"old_expires": "2020-01-01"}).status == 400
    assert open_caller("POST", path, {"ends": "2099-01-01"}).status == 400
    soon = datetime.now(UTC) + timedelta(seconds=3)
    answer = open_caller("POST", path, {"old_expires": soon.isoformat(), "expires": "2099-01-01"})
    assert answer.status == 201
    new = answer.json()
    until(open_caller, new["secret"], 200)
    keys = {key["id"]: key for key in open_caller.get("/api/keys")["keys"]}
    assert keys[new["id"]]["expires_at"].startswith("2099-01-01")
    until(open_caller, made["secret"], 401)
    assert datetime.now(UTC) >= soon
    assert call(open_caller, new["secret"]) == 200


def test_keys_page_by_cursor_without_loss_or_repetition(open_caller: Caller) -> None:
    for number in range(3):
        assert open_caller("POST", "/api/keys", {"team": "search", "workflow": f"p{number}"}).status == 201
    whole = [key["id"] for key in open_caller.get("/api/keys")["keys"]]
    ids: list[str] = []
    cursor = ""
    while cursor is not None:
        page = open_caller.get("/api/keys?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        assert len(page["keys"]) <= 2
        ids += [key["id"] for key in page["keys"]]
        cursor = page["cursor"]
    assert ids == whole


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"workflow": "w"}, "team is needed"),
        ({"team": "t", "workflow": ""}, "workflow must be"),
        ({"team": "t", "workflow": "w", "tags": {"a b": "c"}}, "tag must be"),
        ({"team": "t", "workflow": "w", "expires": "2020-01-01"}, "expires is in the past"),
        ({"team": "t", "workflow": "w", "secret": "mine"}, 'unknown field "secret"'),
        ({"team": "t", "workflow": "w", "models": "all"}, "models is a list"),
        (b"{", "the body is no JSON"),
        (b"[]", "the body is a JSON object"),
    ],
)
def test_a_key_that_can_not_be_is_refused(open_caller: Caller, body: object, told: str) -> None:
    answer = open_caller("POST", "/api/keys", body)
    assert answer.status == 400
    assert told in answer.json()["detail"]


def test_models_show_the_contract_beside_the_list(open_caller: Caller) -> None:
    models = open_caller.get(f"/api/models?{PERIOD}")["models"]
    found = next(one for one in models if one["model"] == "gpt-4o-mini")
    rates = {rate["item"]: rate["usd"] for rate in found["list_price"]["rates"]}
    assert rates["input"] == "0.15"
    price = open_caller.get("/api/prices?provider=simulated&model=any")
    assert price["rates"][0] == {"item": "input", "usd": "2.5", "per": "million tokens", "above": []}
    whole = open_caller.get("/api/prices")
    assert whole["entries"][0]["model"] == "*"
    assert whole["lists"]["openai"] > 10


def test_the_description_for_programs_names_every_route(open_caller: Caller) -> None:
    from aiohttp import web

    from gateway.admin import quotas as quotas_api
    from gateway.admin.access import Access
    from gateway.admin.app import make_app
    from gateway.admin.services import Services
    from gateway.config.schema import ServerConfig

    routes = [quotas_api.routes(None, None, time.time_ns)]  # type: ignore[arg-type]
    unused = dict.fromkeys(("samples", "reload", "audit", "reader", "config", "book", "write"))
    access = Access(ServerConfig(), b"key", time.time)
    given = {"access": access, "not_ready": str, "now_ns": time.time_ns, "routes": routes}
    services = Services(**given, **unused)  # type: ignore[arg-type]
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in make_app(services).router.routes()
        if isinstance(route.resource, web.Resource) and route.resource.canonical.startswith("/api")
    }
    document = open_caller.get("/api/openapi.json")
    told = {(method, path) for path, operations in document["paths"].items() for method in operations}
    assert told == {(method, path) for method, path in served if method != "head"}
    for path, operations in document["paths"].items():
        if "get" in operations and "{" not in path:
            assert open_caller("GET", path).status in (200, 400), path


def test_answers_have_the_fields_that_the_description_tells(open_caller: Caller) -> None:
    schemas = open_caller.get("/api/openapi.json")["components"]["schemas"]
    for path, name in (("/api/spend?by=team", "Spend"), ("/api/me", "Me"), ("/api/keys", "Keys"),
                       (f"/api/models?{PERIOD}", "Models"), ("/api/forecast", "Forecast"), ("/api/quotas", "Quotas"),
                       ("/api/allocation?month=2026-09", "Allocation"),
                       ("/api/requests?limit=1", "Records")):  # fmt: skip
        answer = open_caller.get(path)
        assert set(answer) == set(schemas[name]["properties"]), path
    row = open_caller.get(f"/api/spend?by=team&{PERIOD}")["rows"][0]
    assert set(row) == set(schemas["Spend"]["properties"]["rows"]["items"]["properties"])


def test_a_hostile_name_stays_text(open_caller: Caller) -> None:
    found = open_caller("GET", f"/api/spend?by=workflow&workflow={urllib.parse.quote(NASTY)}&{PERIOD}")
    assert found.headers["Content-Type"].startswith("application/json")
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert [row["group"]["workflow"] for row in found.json()["rows"]] == [NASTY]
    odd = open_caller("GET", "/api/spend?by=tag." + urllib.parse.quote("x') OR 1=1 --\"\\"))
    assert odd.status == 200
    assert open_caller("GET", "/api/spend?by=tag." + "x" * 8000).status == 400

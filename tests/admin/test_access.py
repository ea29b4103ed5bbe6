"""Who may do what on the admin port, and what a foreign page can't make a browser do."""

from __future__ import annotations

import urllib.parse

import pytest
from support.admin import ADMIN, READ, TEAM, Caller

PERIOD = "since=2026-09-21&until=2026-09-23"


@pytest.mark.parametrize("path", ["/api/spend", "/api/requests", "/api/keys", "/api/me", "/ui/"])
def test_without_a_token_nothing_is_told(guarded: Caller, path: str) -> None:
    for caller in (guarded, guarded.as_("a-wrong-token-of-16"), guarded.as_("")):
        answer = caller("GET", path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert b"search" not in answer.body


def test_health_and_metrics_need_none(guarded: Caller) -> None:
    assert [guarded("GET", path).status for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]


def test_a_reading_token_sees_everything_and_changes_nothing(guarded: Caller) -> None:
    reader = guarded.as_(READ)
    assert {row["group"]["team"] for row in reader.get(f"/api/spend?by=team&{PERIOD}")["rows"]} == {"search", "support"}
    for method, path, body in (
        ("POST", "/api/keys", {"team": "search", "workflow": "w"}),
        ("DELETE", "/api/keys/any", None),
        ("POST", "/api/quotas/search-month/grants", {"usd": 5, "until": "2030-01-01"}),
        ("POST", "/api/quotas/verify", None),
    ):
        assert reader(method, path, body).status == 403
    assert guarded.as_(ADMIN)("POST", "/api/keys", {"team": "search", "workflow": "w"}).status == 201


def test_a_teams_token_sees_that_team_only(guarded: Caller) -> None:
    team = guarded.as_(TEAM)
    assert team.get("/api/me") == {"name": "search-lead", "role": "read", "team": "search"}
    assert {row["group"]["team"] for row in team.get(f"/api/spend?by=team&{PERIOD}")["rows"]} == {"search"}
    assert {one["team"] for one in team.get("/api/requests?limit=1000")["requests"]} == {"search"}
    assert {key["team"] for key in team.get("/api/keys")["keys"]} == {"search"}
    assert {row["quota"] for row in team.get("/api/quotas")["quotas"]} == {"search-month"}
    whole = guarded.as_(ADMIN).get(f"/api/models?team=search&{PERIOD}")
    assert team.get(f"/api/models?{PERIOD}") == whole


def test_a_teams_token_that_asks_for_another_team_is_refused(guarded: Caller) -> None:
    team = guarded.as_(TEAM)
    for path in (
        "/api/spend?team=support",
        "/api/spend?team=search&team=support",
        "/api/requests?team=support",
        "/api/keys?team=support",
        "/api/models?team=support",
        "/api/forecast",
        "/api/anomalies",
        "/api/waste",
        "/api/allocation",
        "/api/prices",
        "/api/events",
        "/api/quotas/grants",
        "/api/quotas/explain?team=support",
    ):
        assert team("GET", path).status == 403, path
    theirs = guarded.as_(ADMIN).get("/api/requests?team=support&limit=1")["requests"][0]["request_id"]
    assert team("GET", f"/api/requests/{theirs}").status == 404
    assert team("POST", "/api/keys", {"team": "search", "workflow": "w"}).status == 403


def log_in(caller: Caller, token: str) -> str:
    form = urllib.parse.urlencode({"token": token}).encode()
    answer = caller("POST", "/ui/login", form, Content_Type="application/x-www-form-urlencoded")
    assert answer.status == 303
    return str(answer.headers.get("Set-Cookie", ""))


def test_a_browser_logs_in_with_a_token_and_has_its_role(guarded: Caller) -> None:
    led = guarded("GET", "/ui/", Accept="text/html")
    assert (led.status, led.headers["Location"]) == (303, "/ui/login")
    assert guarded("GET", "/ui/login").status == 200
    cookie = log_in(guarded, TEAM)
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TEAM not in cookie
    session = Caller(guarded.gateway, {"Cookie": cookie.split(";")[0]})
    assert session.get("/api/me")["team"] == "search"
    assert session("GET", "/ui/").status == 200
    assert session("GET", "/api/spend?team=support").status == 403
    assert log_in(guarded, "wrong") == ""


def test_a_forged_or_changed_session_is_none(guarded: Caller) -> None:
    cookie = log_in(guarded, TEAM).split(";")[0]
    for forged in (
        cookie.replace("search-lead", "reader"),
        cookie.replace("token:search-lead", "admin"),
        cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
        "spendgate_session=admin|99999999999|",
        "spendgate_session=||",
        "spendgate_session=x",
    ):
        assert Caller(guarded.gateway, {"Cookie": forged})("GET", "/api/me").status == 401, forged


def test_a_foreign_page_can_change_nothing(open_caller: Caller, guarded: Caller) -> None:
    body = {"team": "search", "workflow": "w"}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        assert open_caller("POST", "/api/keys", body, **headers).status == 403, headers
        cookie = log_in(guarded, ADMIN).split(";")[0]
        assert guarded("POST", "/api/keys", body, Cookie=cookie, **headers).status == 403
        form = urllib.parse.urlencode({"token": TEAM}).encode()
        kind = "application/x-www-form-urlencoded"
        assert guarded("POST", "/ui/login", form, Content_Type=kind, **headers).status == 403
    host = open_caller.gateway.admin
    assert open_caller("POST", "/api/keys", body, Origin=host, Sec_Fetch_Site="same-origin").status == 201
    plain = open_caller("POST", "/api/keys", b'{"team": "search", "workflow": "w"}', Content_Type="text/plain")
    assert plain.status == 400


def test_a_name_that_was_pointed_at_this_machine_opens_nothing(open_caller: Caller) -> None:
    for host in ("evil.example", f"evil.example:{open_caller.gateway.admin_port}", "127.0.0.1.evil.example"):
        for method, path in (("GET", "/api/spend"), ("POST", "/api/keys"), ("GET", "/ui/")):
            assert open_caller(method, path, Host=host).status == 403
    assert open_caller("GET", "/api/spend", Host=f"localhost:{open_caller.gateway.admin_port}").status == 200


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
def test_a_page_whose_name_was_pointed_at_this_machine_reads_nothing_and_a_scraper_does(
    open_caller: Caller, guarded: Caller, path: str
) -> None:
    evil = f"evil.example:{open_caller.gateway.admin_port}"
    for browser in (
        {"User_Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
        # a page may give its requests another name, and leave out where it comes from
        {"User_Agent": "Prometheus/3.5.0", "Accept_Language": "en-US,en;q=0.5"},
        {"User_Agent": "Prometheus/3.5.0", "Sec_Fetch_Mode": "cors"},
    ):
        assert open_caller("GET", path, Host=evil, **browser).status == 403, browser
        here = f"localhost:{open_caller.gateway.admin_port}"
        assert open_caller("GET", path, Host=here, **browser).status == 200, browser
        # where a token is needed, browsers may come by any name: an operator's proxy has one
        assert guarded("GET", path, Host=evil, **browser).status == 200, browser
    scraper = {"User_Agent": "Prometheus/3.5.0", "Accept_Encoding": "gzip"}
    assert open_caller("GET", path, Host="spendgate:8081", **scraper).status == 200


@pytest.mark.parametrize("path", ["/ui/", "/ui/login", "/api/me", "/api/nothing", "/healthz"])
def test_no_page_may_frame_or_extend_what_is_answered(open_caller: Caller, path: str) -> None:
    headers = open_caller("GET", path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == ("same-origin" if path.startswith("/ui") else "no-referrer")


def test_no_file_outside_the_page_is_served(open_caller: Caller) -> None:
    for name in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "index.html", "/etc/passwd"):
        assert open_caller("GET", f"/ui/assets/{name}").status in (403, 404), name


def test_a_browser_finds_an_icon_before_any_page_has_named_one(guarded: Caller) -> None:
    found = guarded("GET", "/favicon.ico")
    assert (found.status, found.headers["Content-Type"].split(";")[0]) == (200, "image/svg+xml")

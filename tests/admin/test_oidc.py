"""Signing in at an identity provider: who gets in with which role, and every answer that must not be believed."""

from __future__ import annotations

import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from support.admin import ADMIN, CONFIG, Answer, Caller, records, with_records
from support.identity import Identity, unsigned, with_other_key, with_secret

PERIOD = "since=2026-09-21&until=2026-09-23"


@pytest.fixture(scope="module")
def provider() -> Iterator[Identity]:
    with Identity() as running:
        yield running


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, provider: Identity) -> Iterator[Caller]:
    gateway = with_records(tmp_path_factory.mktemp("oidc"), CONFIG, records())
    gateway.write(f'[server]\nadmin_token = "{ADMIN}"\n' + provider.config(gateway.admin) + CONFIG)
    with gateway:
        yield Caller(gateway)


@pytest.fixture(autouse=True)
def honest(provider: Identity) -> None:
    provider.person = {"email": "ada@example.com", "groups": ["everybody", "finops"]}
    provider.twist = lambda claims, header: None
    provider.sign = None
    provider.others = []


def location(url: str) -> str:
    """Where an address leads, without going there."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    try:
        urllib.request.build_opener(Stay).open(url, timeout=20)
    except urllib.error.HTTPError as error:
        return str(error.headers["Location"])
    raise AssertionError(url)


def cookie(answer: Answer, name: str) -> str:
    for line in answer.headers.get_all("Set-Cookie") or []:
        if line.startswith(name + "=") and not line.startswith(name + '="";'):
            return str(line.split(";")[0])
    return ""


def begin(office: Caller) -> tuple[str, str]:
    """The browser goes to the provider and is sent back: its cookie, and where it comes back to."""
    answer = office("GET", "/ui/oidc/login")
    assert answer.status == 303
    return cookie(answer, "spendgate_signin"), location(answer.headers["Location"]).removeprefix(office.gateway.admin)


def sign_in(office: Caller) -> Answer:
    pending, back = begin(office)
    return office("GET", back, Cookie=pending)


def session(office: Caller) -> Caller:
    answer = sign_in(office)
    assert answer.status == 200, answer.headers
    return Caller(office.gateway, {"Cookie": cookie(answer, "spendgate_session")})


def refused(answer: Answer, told: str = "refused") -> bool:
    return (answer.status, answer.headers["Location"]) == (303, f"/ui/login?{told}") and not cookie(
        answer, "spendgate_session"
    )


def test_a_role_comes_from_a_claim(office: Caller, provider: Identity) -> None:
    ada = session(office)
    assert ada.get("/api/me") == {"name": "ada@example.com", "role": "operate", "team": None}
    assert ada("POST", "/api/keys", {"team": "search", "workflow": "w"}).status == 201
    provider.person = {"email": "bob@example.com", "realm_access": {"roles": ["auditor"]}}
    bob = session(office)
    assert bob.get("/api/me") == {"name": "bob@example.com", "role": "read", "team": None}
    assert bob("POST", "/api/keys", {"team": "search", "workflow": "w"}).status == 403
    provider.person = {"groups": "search-leads"}
    assert session(office).get("/api/me") == {"name": "somebody", "role": "read", "team": "search"}


def test_who_leads_one_team_sees_that_team_only(office: Caller, provider: Identity) -> None:
    provider.person = {"groups": ["search-leads"]}
    lead = session(office)
    assert {row["group"]["team"] for row in lead.get(f"/api/spend?by=team&{PERIOD}")["rows"]} == {"search"}
    assert lead("GET", f"/api/spend?team=support&{PERIOD}").status == 403
    assert lead("GET", "/api/forecast").status == 403


def test_who_has_no_role_is_told_so(office: Caller, provider: Identity) -> None:
    for groups in ([], ["finops-interns"], ["FINOPS"], None):
        provider.person = {"groups": groups}
        assert refused(sign_in(office), "norole"), groups


def test_what_is_asked_of_the_provider_is_new_each_time(office: Caller, provider: Identity) -> None:
    provider.asked.clear()
    for _ in range(2):
        sign_in(office)
    first, second = provider.asked
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name]) >= 43
    assert first["scope"] == "openid profile email"


def test_cookies_are_kept_from_scripts_and_the_session_from_other_sites(office: Caller) -> None:
    answer = office("GET", "/ui/oidc/login")
    pending = answer.headers["Set-Cookie"]
    assert "HttpOnly" in pending
    assert "SameSite=Lax" in pending
    assert "Path=/ui/oidc" in pending
    done = sign_in(office)
    (kept,) = [line for line in done.headers.get_all("Set-Cookie") if line.startswith("spendgate_session=")]
    assert "HttpOnly" in kept
    assert "SameSite=Strict" in kept


def test_a_sign_in_that_another_browser_began_is_refused(office: Caller) -> None:
    pending, _ = begin(office)
    _, back = begin(office)
    assert refused(office("GET", back, Cookie=pending))
    assert refused(office("GET", back))
    assert refused(office("GET", back, Cookie=pending[:-1] + ("0" if pending[-1] != "0" else "1")))


def test_a_wrong_state_issuer_or_code_is_refused(office: Caller) -> None:
    for name, value in (("state", "wrong"), ("iss", "https://evil.example"), ("code", "wrong")):
        pending, back = begin(office)
        path, query = back.split("?")
        asked = {**dict(urllib.parse.parse_qsl(query)), name: value}
        assert refused(office("GET", f"{path}?{urllib.parse.urlencode(asked)}", Cookie=pending)), name
    pending, back = begin(office)
    state = dict(urllib.parse.parse_qsl(back.split("?")[1]))["state"]
    assert refused(office("GET", f"/ui/oidc/callback?error=access_denied&state={state}", Cookie=pending))


def test_a_code_holds_once(office: Caller) -> None:
    pending, back = begin(office)
    assert office("GET", back, Cookie=pending).status == 200
    assert refused(office("GET", back, Cookie=pending))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nonce", "wrong"),
        ("nonce", None),
        pytest.param("exp", time.time() - 120, id="exp-past"),
        ("exp", None),
        pytest.param("iat", time.time() + 600, id="iat-to-come"),
        ("aud", "somebody-else"),
        ("aud", ["spendgate", "somebody-else"]),
        ("azp", "somebody-else"),
        ("iss", "https://evil.example"),
        ("iss", None),
        ("sub", None),
    ],
)
def test_a_token_that_says_something_else_is_refused(
    office: Caller, provider: Identity, name: str, value: object
) -> None:
    def twist(claims: dict[str, Any], header: dict[str, Any]) -> None:
        claims[name] = int(value) if isinstance(value, float) else value
        if value is None:
            del claims[name]

    provider.twist = twist
    assert refused(sign_in(office))


@pytest.mark.parametrize(
    "sign", [unsigned, with_secret, with_other_key, lambda claims, header: "no.token", lambda *_: ""]
)
def test_a_token_that_the_provider_did_not_sign_is_refused(office: Caller, provider: Identity, sign: Any) -> None:
    provider.sign = sign
    assert refused(sign_in(office))


def test_a_new_key_of_the_provider_is_fetched(office: Caller, provider: Identity) -> None:
    assert sign_in(office).status == 200
    provider.renew_key()
    assert sign_in(office).status == 200


def test_keys_that_nobody_here_understands_keep_nobody_out(office: Caller, provider: Identity) -> None:
    provider.others = [
        {"kty": "EC", "kid": "1", "use": "sig", "crv": "BP-256", "x": "AAAA", "y": "AAAA"},
        {"kty": "OKP", "kid": "2", "use": "sig", "crv": "Ed1", "x": "AAAA"},
        {"kty": "RSA", "kid": "3", "use": "enc", "n": "AAAA"},
        {"kty": "AKP", "kid": "4", "alg": "ML-DSA-65", "pub": "AAAA"},
        {},
        None,
    ]
    provider.renew_key()
    assert sign_in(office).status == 200


def test_a_changed_session_is_none(office: Caller) -> None:
    kept = session(office).headers["Cookie"]
    assert (
        Caller(office.gateway, {"Cookie": kept[:-1] + ("0" if kept[-1] != "0" else "1")})("GET", "/api/me").status
        == 401
    )
    pending, _ = begin(office)
    as_session = "spendgate_session=oidc:" + pending.split("=", 1)[1].strip('"')
    assert Caller(office.gateway, {"Cookie": as_session})("GET", "/api/me").status == 401


def test_a_token_opens_beside_it_and_the_login_page_offers_both(office: Caller) -> None:
    assert office.as_(ADMIN).get("/api/me")["name"] == "admin"
    assert office("GET", "/api/spend").status == 401
    assert b'id="oidc" hidden' not in office("GET", "/ui/login").body


def test_without_a_provider_there_is_no_such_door(guarded: Caller) -> None:
    assert guarded("GET", "/ui/oidc/login").status == 404
    assert guarded("GET", "/ui/oidc/callback?code=x&state=y").status == 404
    assert b'id="oidc" hidden' in guarded("GET", "/ui/login").body


def test_a_provider_that_does_not_answer_is_told_and_logged(tmp_path: Any, provider: Identity) -> None:
    gateway = with_records(tmp_path, CONFIG, [])
    table = provider.config(gateway.admin).replace(provider.issuer, "http://localhost:9")
    gateway.write("[server]\n" + table + CONFIG)
    with gateway:
        caller = Caller(gateway)
        assert caller("GET", "/api/spend").status == 401
        assert refused(caller("GET", "/ui/oidc/login"), "unreachable")
    assert "does not answer" in gateway.log()


def test_who_signed_in_is_in_the_log_and_no_token_is(office: Caller, provider: Identity) -> None:
    seen: list[str] = []

    def keep(claims: dict[str, Any], header: dict[str, Any]) -> None:
        seen.append(claims["nonce"])

    provider.twist = keep
    session(office)
    log = office.gateway.log()
    assert "ada@example.com" in log
    assert seen[0] not in log


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('issuer = "http://localhost', 'issuer = "http://idp.example', "issuer must be an https:// address"),
        ("/ui/oidc/callback", "/callback", "redirect_url must end with /ui/oidc/callback"),
        ('claim = "groups"\nvalue = "search-leads"', 'claim = "groups"\nvalue = "x"\nrole = "operate"', "role read"),
        ('client_id = "spendgate"', 'client_idd = "spendgate"', "client_id"),
    ],
)
def test_a_mistake_in_the_table_is_found_by_check(
    tmp_path: Any, provider: Identity, old: str, new: str, told: str
) -> None:
    gateway = with_records(tmp_path, CONFIG, [])
    table = provider.config(gateway.admin)
    assert old in table
    gateway.write("[server]\n" + table.replace(old, new) + CONFIG)
    done = gateway.cli("check", check=False)
    assert done.returncode == 1
    assert told in done.stdout + done.stderr

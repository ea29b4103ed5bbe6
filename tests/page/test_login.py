"""Login in a browser, and what a foreign page can't do with one that is logged in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from support.admin import ADMIN, CONFIG, READ, TEAM, TOKENS
from support.browser import VIEWS, Visitor, busy_gateway
from support.gateway import Gateway
from support.identity import Identity

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """An admin port that other machines can reach."""
    gateway = busy_gateway(tmp_path_factory.mktemp("public"), TOKENS + CONFIG, time.time_ns(), calls=600)
    local, open_ = f'admin_listen = "127.0.0.1:{gateway.admin_port}"', f'admin_listen = "0.0.0.0:{gateway.admin_port}"'
    gateway.path.write_text(gateway.path.read_text().replace(local, open_))
    with gateway:
        yield gateway


def log_in(visitor: Visitor, token: str) -> None:
    visitor.page.goto(visitor.base + "/ui/")
    expect(visitor.page).to_have_url(visitor.base + "/ui/login")
    visitor.page.get_by_label("Token").fill(token)
    visitor.page.get_by_role("button", name="Log in").click()


def test_a_port_that_others_can_reach_without_a_token_is_no_configuration(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, CONFIG)
    gateway.path.write_text(gateway.path.read_text().replace(f"127.0.0.1:{gateway.admin_port}", "0.0.0.0:1"))
    told = gateway.cli("check", check=False)
    assert told.returncode == 1
    assert "admin_token" in told.stdout + told.stderr


def test_a_person_logs_in_with_a_token_and_out_again(visit: Visit, public: Gateway) -> None:
    visitor = visit(public)
    log_in(visitor, "wrong-token-wrong")
    expect(visitor.page.get_by_role("alert")).to_have_text("This token is not known.")
    assert visitor.axe() == ""
    visitor.page.get_by_label("Token").fill(ADMIN)
    visitor.page.keyboard.press("Enter")
    expect(visitor.shown().get_by_role("heading", name="Overview")).to_be_visible()
    expect(visitor.page.locator("#who")).to_contain_text("admin")
    assert visitor.axe() == ""
    visitor.page.get_by_role("button", name="Log out").click()
    expect(visitor.page).to_have_url(visitor.base + "/ui/login")
    visitor.page.goto(visitor.base + "/ui/")
    expect(visitor.page).to_have_url(visitor.base + "/ui/login")


def test_a_session_is_a_cookie_that_no_script_reads_and_no_other_site_sends(visit: Visit, public: Gateway) -> None:
    visitor = visit(public)
    log_in(visitor, ADMIN)
    visitor.shown()
    (cookie,) = visitor.page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert 11 * 3600 < cookie["expires"] - time.time() <= 12 * 3600
    assert ADMIN not in cookie["value"]
    assert visitor.page.evaluate("document.cookie") == ""
    assert ADMIN not in visitor.page.evaluate("JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
    assert visitor.page.evaluate("fetch('/api/me').then((answer) => answer.json())")["role"] == "operate"


def test_who_may_only_read_is_offered_nothing_else(visit: Visit, public: Gateway) -> None:
    visitor = visit(public)
    log_in(visitor, READ)
    visitor.shown()
    main = visitor.open("keys")
    expect(main.get_by_role("row").first).to_be_visible()
    assert main.get_by_role("button", name="New key").count() == 0
    visitor.page.get_by_role("button", name="Log out").click()
    expect(visitor.page).to_have_url(visitor.base + "/ui/login")


def test_a_team_sees_itself_in_every_view(visit: Visit, public: Gateway) -> None:
    visitor = visit(public)
    log_in(visitor, TEAM)
    visitor.shown()
    expect(visitor.page.locator("#who")).to_contain_text("search-lead · team search")
    for view in (*VIEWS, "explore?by=team&period=90d"):
        main = visitor.open(view)
        text = main.inner_text()
        assert "could not be shown" not in text, view
        for other in ("support", "legal", "growth"):
            assert other not in text, view
    visitor.open("explore?team=support&period=90d")
    expect(visitor.page.locator("main")).to_contain_text("This token may see its own team only")
    assert all("403" in text for text in visitor.errors)
    assert visitor.errors
    visitor.errors.clear()


FOREIGN = """<!doctype html><title>elsewhere</title>
<iframe id="frame" src="{admin}/ui/" width="600" height="400"></iframe>
<form id="change" method="post" action="{admin}/api/keys" enctype="text/plain">
<input name='{{"team": "search", "workflow": "stolen", "name": "' value='"}}'></form>
<form id="login" method="post" action="{admin}/ui/login"><input name="token" value="{token}"></form>
"""


@pytest.fixture(scope="module")
def elsewhere(public: Gateway) -> Iterator[str]:
    """A page of somebody else, on another port of this machine: the same site, so that its requests carry cookies."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(FOREIGN.format(admin=public.admin, token=TEAM).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_a_foreign_page_can_neither_frame_nor_change_nor_read(visit: Visit, public: Gateway, elsewhere: str) -> None:
    visitor = visit(public)
    log_in(visitor, ADMIN)
    visitor.shown()
    page = visitor.page
    page.goto(elsewhere)
    frame = next(one for one in page.frames if one.name == "frame" or one.parent_frame is not None)
    assert "Spendgate" not in frame.content()
    for action in (
        "fetch('{0}/api/keys', {{method: 'POST', credentials: 'include', body: '{{}}'}})",
        "fetch('{0}/api/keys', {{method: 'POST', credentials: 'include', headers: "
        "{{'Content-Type': 'application/json'}}, body: '{{}}'}})",
        "fetch('{0}/api/spend', {{credentials: 'include'}})",
    ):
        done = page.evaluate(action.format(public.admin) + ".then(() => 'read', () => 'refused')")
        assert done == "refused", action
    for form in ("change", "login"):
        page.goto(elsewhere)
        with page.expect_navigation() as going:
            page.evaluate(f"document.getElementById('{form}').submit()")
        assert going.value.status == 403, form
    visitor.errors.clear()
    visitor.foreign.clear()
    visitor.page.goto(visitor.base + "/ui/")
    main = visitor.open("keys")
    assert "stolen" not in main.inner_text()
    expect(visitor.page.locator("#who")).to_contain_text("admin")


def test_a_person_signs_in_at_the_identity_provider_and_lands_on_the_page(
    visit: Visit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The provider is another site to the browser: ``localhost``, not ``127.0.0.1``."""
    with Identity({"email": "ada@example.com", "groups": ["search-leads"]}) as provider:
        gateway = busy_gateway(tmp_path_factory.mktemp("oidc"), CONFIG, time.time_ns(), calls=300)
        gateway.write("[server]\n" + provider.config(gateway.admin) + gateway.config)
        with gateway:
            visitor = visit(gateway)
            visitor.page.goto(visitor.base + "/ui/")
            assert visitor.axe() == ""
            visitor.page.get_by_role("link", name="Sign in with your account").click()
            expect(visitor.shown().get_by_role("heading", name="Overview")).to_be_visible()
            expect(visitor.page.locator("#who")).to_contain_text("ada@example.com · team search")
            assert all(url.startswith(provider.issuer) for url in visitor.foreign)
            visitor.foreign.clear()
            provider.person = {"email": "eve@example.com"}
            visitor.page.get_by_role("button", name="Log out").click()
            visitor.page.get_by_role("link", name="Sign in with your account").click()
            expect(visitor.page.get_by_role("alert")).to_contain_text("Your account has no role here")
            visitor.foreign.clear()
            # the browser fetches a page's icon when it likes: not after the gateway has ended
            visitor.page.goto("about:blank")

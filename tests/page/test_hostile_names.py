"""Names that callers choose are text on every view, whatever they say and however long they are."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator

import msgspec
import pytest
from support import history
from support.admin import CONFIG
from support.browser import PROVIDERS, VIEWS, Visitor
from support.gateway import Gateway

from gateway.ledger.record import Record

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
Visit = Callable[..., Visitor]
SCRIPT = "<script>window.hit = 1</script>"
NAMES = (
    SCRIPT,
    "\"><img src=x onerror='window.hit = 1'>",
    "<style>body { display: none }</style>",
    "javascript:window.hit=1",
    "{{7*7}} ${7*7} &lt;b&gt;",
    "عربي\u202eabc\u200b",
)
LONG = "<b>" + "ab" * 5000
QUOTA = """
[[quotas]]
name = "each"
per = ["workflow"]
usd = 1.0
window = "month"
"""


def records() -> Iterator[Record]:
    """Calls that bear the names, in every place that a caller may fill."""
    for number, one in enumerate(history.history(time.time_ns(), 30, 400)):
        name = NAMES[number % len(NAMES)]
        yield msgspec.structs.replace(
            one, workflow=name, team=name if number % 3 == 0 else one.team, model=LONG if number % 5 == 0 else name,
            model_requested=name, tags={"env": name, "long": LONG}, trace_id=name, price=name, key_id=name,
        )  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("hostile")
    gateway = Gateway(directory, PROVIDERS + CONFIG + QUOTA)
    (directory / "data").mkdir()
    history.write(directory / "data" / "ledger.db", records())
    with gateway:
        gateway.post("/api/keys", {"team": SCRIPT, "workflow": SCRIPT, "name": SCRIPT, "tags": {"a": NAMES[1]}})
        for name in (*NAMES[:5], LONG):
            call(gateway, name)
        yield gateway


def call(gateway: Gateway, name: str) -> None:
    """An application that says the name wherever it can."""
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {
        "Authorization": "Bearer sk-configured-key",
        "Content-Type": "application/json",
        "x-spendgate-workflow": name,
        "x-spendgate-tag-env": name,
    }
    request = urllib.request.Request(gateway.url + "/simulated/v1/chat/completions", body, headers)
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


@pytest.mark.parametrize("width", [375, 1280])
def test_a_name_that_is_markup_is_shown_as_text_and_never_run(visit: Visit, hostile: Gateway, width: int) -> None:
    visitor = visit(hostile, width=width)
    record = hostile.get(f"/api/requests?limit=1&workflow={urllib.parse.quote(SCRIPT)}")["requests"][0]["request_id"]
    views = [*VIEWS, "explore?by=workflow,model", "explore?by=tag.env", f"requests/{record}"]
    views.append("explore?by=" + urllib.parse.quote("tag." + SCRIPT))
    views.append("explore?" + urllib.parse.urlencode({"workflow": SCRIPT, "by": "model"}))
    views.append("quotas?" + urllib.parse.urlencode({"quota": SCRIPT}))
    for view in views:
        main = visitor.open(view)
        assert visitor.page.evaluate("window.hit") is None, view
        made = "main script, main style, main b, main img, main iframe, a[href^='javascript:' i]"
        assert visitor.page.locator(made).count() == 0, view
        assert main.is_visible()
        assert visitor.overflow() == 0, view
    for view in ("explore?by=workflow", "requests", "keys", "quotas", f"requests/{record}"):
        assert SCRIPT in visitor.open(view).inner_text(), view


def test_ten_thousand_letters_are_readable_and_break_no_view(visit: Visit, hostile: Gateway) -> None:
    visitor = visit(hostile)
    main = visitor.open("models")
    cell = main.get_by_role("link").filter(has_text="<b>abab").first
    expect(cell).to_be_visible()
    assert visitor.page.evaluate("document.documentElement.scrollHeight") < 4000
    cell.click()
    expect(visitor.page.get_by_role("button", name="Remove filter model")).to_be_visible()
    assert visitor.overflow() == 0
    assert visitor.axe() == ""

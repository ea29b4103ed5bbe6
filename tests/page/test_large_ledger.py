"""The page over a large ledger while calls come in: in full a million records, see ``make prove``."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from threading import Event, Thread

import pytest
from support.admin import CONFIG
from support.browser import VIEWS, Visitor, busy_gateway
from support.gateway import Gateway

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
Visit = Callable[..., Visitor]
FILTERS = (
    "explore?period=90d&by=team,model",
    "explore?period=90d&by=tag.env&team=search",
    "explore?by=outcome,team",
    "explore?outcome=client_disconnected&by=workflow",
    "requests?team=legal&outcome=rejected",
    "requests?workflow=contracts&model=o3-mini&outcome=client_disconnected",
    "models?period=90d",
    "insight?days=7",
)
KEY = """
[[keys]]
id = "live"
secret = "sk-the-live-traffic"
team = "live"
workflow = "live"
"""
"""No quota holds its calls up, however much the past has spent."""
pytestmark = pytest.mark.prove


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, prove: bool) -> Iterator[Gateway]:
    calls = 1_000_000 if prove else 5000
    with busy_gateway(tmp_path_factory.mktemp("large"), CONFIG + KEY, time.time_ns(), calls=calls, days=92) as gateway:
        yield gateway


@pytest.fixture
def traffic(large: Gateway) -> Iterator[list[int]]:
    """Calls of an application, one after the other; the statuses of their answers."""
    done, statuses = Event(), []

    def run() -> None:
        body = json.dumps({"model": "live", "messages": [{"role": "user", "content": "hi"}]}).encode()
        headers = {"Authorization": "Bearer sk-the-live-traffic", "Content-Type": "application/json"}
        while not done.wait(0.02):
            request = urllib.request.Request(large.url + "/simulated/v1/chat/completions", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    answer.read()
                    statuses.append(answer.status)
            except OSError:
                statuses.append(0)

    thread = Thread(target=run, daemon=True)
    thread.start()
    yield statuses
    done.set()
    thread.join(30)


def test_every_view_is_whole_and_quiet_while_calls_come_in(visit: Visit, large: Gateway, traffic: list[int]) -> None:
    visitor = visit(large)
    for view in (*VIEWS, *FILTERS):
        main = visitor.open(view)
        assert "could not be shown" not in main.inner_text(), view
        assert main.locator("table, .quotas, .empty").count() > 0, view
        assert visitor.axe() == "", view
    main = visitor.open("requests?model=live&live=1")
    newest = main.locator("tbody tr a").first.get_attribute("href")
    expect(main.locator("tbody tr a").first).not_to_have_attribute("href", newest, timeout=10_000)
    assert len(traffic) > 10
    assert set(traffic) == {200}
    record = large.get("/api/requests?model=live&limit=1")["requests"][0]
    assert record["outcome"] == "completed"

"""Chromium, a gateway with a past, and one without."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support import history
from support.admin import CONFIG
from support.browser import ARGUMENTS, CHROMIUM, Visitor, busy_gateway
from support.gateway import Gateway

from gateway.ledger.record import Record

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"Chromium is not installed at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield made
        made.close()


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two months of calls, quotas, keys."""
    with busy_gateway(tmp_path_factory.mktemp("busy"), CONFIG, time.time_ns()) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two months of calls, and a day on which one workflow went wild."""
    now = time.time_ns()
    gateway = busy_gateway(tmp_path_factory.mktemp("odd"), CONFIG, now, calls=12_000)
    history.write(gateway.directory / "data" / "ledger.db", wild_day(now))
    with gateway:
        yield gateway


def wild_day(now_ns: int) -> Iterator[Record]:
    """Many times the usual calls of the contracts' workflow, three days ago."""
    day = now_ns // history.DAY_NS - 3
    for number, one in enumerate(history.history((day + 1) * history.DAY_NS, 1, 9000, seed=7)):
        if one.workflow == "contracts":
            yield msgspec.structs.replace(one, request_id=f"{one.request_id[:-16]}9{number:015d}")


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Nothing was called yet, nothing is limited, there is no key."""
    config = '[providers.simulated]\nkind = "simulated"\n'
    with Gateway(tmp_path_factory.mktemp("fresh"), config) as gateway:
        yield gateway


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens the page of a gateway; in the end nothing may be wrong in the console, and no other host asked."""
    visitors: list[Visitor] = []

    def made(gateway: Gateway, width: int = 1280, height: int = 900, **options: Any) -> Visitor:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        visitor = Visitor(context.new_page(), gateway.admin)
        visitors.append(visitor)
        return visitor

    yield made
    for visitor in visitors:
        visitor.page.context.close()
    assert [visitor.errors for visitor in visitors if visitor.errors] == []
    assert [visitor.foreign for visitor in visitors if visitor.foreign] == []

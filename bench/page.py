"""The page over a large ledger: how long the gateway takes for each view and each filter, as Chromium asks for them.

    .venv/bin/python bench/page.py [RECORDS] [FOLDER]

Makes a ledger of RECORDS calls (1 million) over 92 days, starts a gateway on it, opens each view in Chromium and prints
what the server needed: the slowest answer of the view, and the time from the first request to the last answer. A ledger
that is already in FOLDER is used as it is.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "ledger")]

from support import history  # noqa: E402
from support.admin import CONFIG  # noqa: E402
from support.browser import ARGUMENTS, CHROMIUM, PROVIDERS  # noqa: E402
from support.gateway import Gateway  # noqa: E402

from gateway.ledger.connections import connect  # noqa: E402
from gateway.ledger.days import close_day  # noqa: E402

RECORDS = 1_000_000
DAYS = 92
ROUNDS = 5
FIRST_MS, FILTER_MS = 300.0, 200.0
VIEWS = (
    ("first view: overview", "overview", FIRST_MS),
    ("overview by key", "overview?by=key", FIRST_MS),
    ("explore, 30 days by team", "explore", FILTER_MS),
    ("explore, 90 days by team, model", "explore?period=90d&by=team,model", FILTER_MS),
    ("explore, 90 days by key, hour by hour", "explore?period=90d&by=key&bucket=hour", FILTER_MS),
    ("explore, last 24 hours by workflow", "explore?period=24h&by=workflow", FILTER_MS),
    ("explore, by tag", "explore?period=90d&by=tag.env", FILTER_MS),
    ("filter by team", "explore?period=90d&team=search", FILTER_MS),
    ("filter by workflow", "explore?period=90d&workflow=bot", FILTER_MS),
    ("filter by key", "explore?period=90d&key=legal-dev", FILTER_MS),
    ("filter by provider", "explore?period=90d&provider=gemini", FILTER_MS),
    ("filter by model", "explore?period=90d&model=o3-mini", FILTER_MS),
    ("filter by tag", "explore?period=90d&tag.region=eu", FILTER_MS),
    ("filter by outcome, 30 days", "explore?outcome=client_disconnected", FILTER_MS),
    ("by outcome, 30 days", "explore?by=outcome,team", FILTER_MS),
    ("filter by what does not exist", "explore?period=90d&team=none", FILTER_MS),
    ("quotas", "quotas", FILTER_MS),
    ("requests", "requests", FILTER_MS),
    ("requests of a team", "requests?team=legal", FILTER_MS),
    ("requests of a workflow and model", "requests?workflow=contracts&model=o3-mini", FILTER_MS),
    ("requests that were refused", "requests?outcome=rejected", FILTER_MS),
    ("requests, refused, of a rare kind", "requests?outcome=rejected&workflow=contracts&model=o3-mini", FILTER_MS),
    ("requests that do not exist", "requests?workflow=none", FILTER_MS),
    ("keys", "keys", FILTER_MS),
    ("models, 90 days", "models?period=90d", FILTER_MS),
)


def make(path: Path, count: int) -> None:
    """The ledger, with its days closed as a running gateway does."""
    began = time.perf_counter()
    history.write(path, history.history(time.time_ns(), DAYS, count))
    connection = connect(path)
    more = True
    while more:
        connection.execute("BEGIN IMMEDIATE")
        more = close_day(connection, time.time_ns())
        connection.execute("COMMIT")
    connection.close()
    print(
        f"{count:,} records made in {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1e9:.2f} GB", flush=True
    )


class Watch:
    """Answers of the API while a view is drawn."""

    def __init__(self, page: Any) -> None:
        self.answers: list[Any] = []
        page.on("requestfinished", lambda request: "/api/" in request.url and self.answers.append(request))

    def view(self) -> tuple[float, float, str]:
        """Milliseconds of the slowest answer, of all together, and which was the slowest."""
        spans, slowest = [], (0.0, "")
        for request in self.answers:
            answer = request.response()
            said = re.search(r"dur=([\d.]+)", answer.header_value("server-timing") or "")
            assert said, request.url
            slowest = max(slowest, (float(said[1]), request.url.split("/api/")[1][:60]))
            timing = request.timing
            spans.append((timing["startTime"] + timing["requestStart"], timing["startTime"] + timing["responseEnd"]))
        self.answers.clear()
        return slowest[0], max(end for _, end in spans) - min(start for start, _ in spans), slowest[1]


def measure(page: Any, base: str) -> bool:
    """Every view, several times; whether all were as fast as they should be."""
    watch, fine = Watch(page), True
    print(f"{'':42} slowest answer    all answers   slowest of them", flush=True)
    for text, view, limit in VIEWS:
        found = []
        for _ in range(ROUNDS):
            page.goto("about:blank")
            watch.answers.clear()
            page.goto(f"{base}/ui/#/{view}")
            page.locator("main[aria-busy=false]").wait_for(timeout=120_000)
            found.append(watch.view())
        worst, whole = median(one[0] for one in found), median(one[1] for one in found)
        late = "" if max(worst, whole if view == "overview" else 0.0) <= limit else f"  over {limit:.0f}"
        fine = fine and not late
        print(f"{text:42}{worst:12.1f} ms{whole:12.1f} ms   {max(found)[2]}{late}", flush=True)
    return fine


def with_browser(work: Callable[[Any], bool]) -> bool:
    """Chromium with one empty page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        try:
            return work(browser.new_page())
        finally:
            browser.close()


def main() -> int:
    """Measures and prints; exit 1 where a view is slower than it should be."""
    if not CHROMIUM.exists():
        print(f"bench/page.py needs Chromium at {CHROMIUM}", file=sys.stderr)
        return 1
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(sys.argv[2] if len(sys.argv) > 2 else name)
        (folder / "data").mkdir(parents=True, exist_ok=True)
        ledger = folder / "data" / "ledger.db"
        if not ledger.exists():
            make(ledger, count)
        with Gateway(folder, PROVIDERS + CONFIG) as gateway:
            return 0 if with_browser(lambda page: measure(page, gateway.admin)) else 1


if __name__ == "__main__":
    sys.exit(main())

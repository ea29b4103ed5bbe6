"""Makes the pictures of the page in ``docs/pictures``, from generated calls, in Chromium: ``make pictures``."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "ledger")]

from support import history  # noqa: E402
from support.browser import ARGUMENTS, CHROMIUM, PROVIDERS  # noqa: E402
from support.gateway import Gateway  # noqa: E402

from gateway.ledger.record import Record  # noqa: E402

CALLS, DAYS = 400_000, 70
CONFIG = """
[[quotas]]
name = "search-month"
match = { team = "search" }
usd = 220.0
window = "month"

[[quotas]]
name = "legal-month"
match = { team = "legal" }
usd = 320.0
window = "month"

[[quotas]]
name = "support-day"
match = { team = "support" }
per = ["workflow"]
usd = 4.0
window = "day"

[[prices]]
provider = "openai"
model = "gpt-4o*"
input_per_mtok = 2.0
output_per_mtok = 8.0

[[keys]]
id = "search-prod"
secret = "sk-a-secret-of-the-pictures"
team = "search"
workflow = "ranking"
tags = { env = "prod" }
"""
PICTURES = (
    ("overview", "overview", 1280, 980),
    ("explore", "explore?by=team,model&period=30d", 1280, 900),
    ("insight", "insight?days=14", 1280, 900),
    ("quotas", "quotas", 1280, 520),
    ("record", "requests/{record}", 1280, 900),
    ("models", "models", 1280, 420),
    ("phone", "overview", 390, 844),
)


def calls(now_ns: int) -> Iterator[Record]:
    """Generated calls; three days ago one workflow went wild."""
    yield from history.history(now_ns, DAYS, CALLS)
    day = now_ns // history.DAY_NS - 3
    for number, one in enumerate(history.history((day + 1) * history.DAY_NS, 1, 16_000, seed=7)):
        if one.workflow == "contracts":
            yield msgspec.structs.replace(one, request_id=f"{one.request_id[:-16]}9{number:015d}")


def shoot(browser: Any, gateway: Gateway, folder: Path) -> None:
    """Every picture."""
    record = gateway.get("/api/requests?limit=1&team=legal&outcome=completed")["requests"][0]["request_id"]
    for name, view, width, height in PICTURES:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
        page = context.new_page()
        page.goto(f"{gateway.admin}/ui/#/{view.format(record=record)}")
        page.locator("main[aria-busy=false]").wait_for()
        page.evaluate("document.fonts.ready")
        page.screenshot(path=str(folder / f"{name}.png"))
        context.close()
        print(f"{name}.png {(folder / f'{name}.png').stat().st_size / 1000:.0f} kB")


def main() -> int:
    """Makes the pictures; exit 1 where there is no Chromium."""
    if not CHROMIUM.exists():
        print(f"the pictures need Chromium at {CHROMIUM}", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    folder = ROOT / "docs" / "pictures"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        gateway = Gateway(Path(name), PROVIDERS + CONFIG)
        (gateway.directory / "data").mkdir()
        history.write(gateway.directory / "data" / "ledger.db", calls(time.time_ns()))
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        with gateway:
            shoot(browser, gateway, folder)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The page in the system's Chromium, used as a person would; what a person must never see is collected."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from support import history
from support.gateway import Gateway

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
VIEWS = ("overview", "explore", "insight", "quotas", "requests", "keys", "models")
PROVIDERS = """
[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:9"

[providers.anthropic]
kind = "anthropic"
base_url = "http://127.0.0.1:9"

[providers.gemini]
kind = "gemini"
base_url = "http://127.0.0.1:9"
"""
"""The providers of the generated calls; nothing listens there."""


@dataclass
class Visitor:
    """Somebody before the page. ``errors`` and ``foreign`` must be empty in the end."""

    page: Page
    base: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(10_000)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, message: Any) -> None:
        url = message.location["url"]
        # what another site's page lacks is not ours; that one was asked at all is in ``foreign``
        if message.type in ("error", "warning") and (not url.startswith("http") or url.startswith(self.base + "/")):
            self.errors.append(f"{message.type}: {message.text} ({urlsplit(url).path})")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base + "/", "data:", "blob:")):
            self.foreign.append(request.url)

    def open(self, view: str) -> Locator:
        """Go to a view by its link; answers its content once it is there."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.base}/ui/#/{view}")
        return self.shown()

    def shown(self) -> Locator:
        """The content, when the view is complete."""
        main = self.page.locator("main[aria-busy=false]")
        main.wait_for()
        return main

    def axe(self) -> str:
        """What axe-core finds wrong; empty where nothing is."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page)
        return "" if not found.violations_count else str(found.generate_report())

    def overflow(self) -> int:
        """Pixels by which the page is wider than the screen."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def busy_gateway(directory: Path, config: str, now_ns: int, calls: int = 3000, days: int = 60) -> Gateway:
    """A gateway over generated calls."""
    gateway = Gateway(directory, PROVIDERS + config)
    (directory / "data").mkdir()
    history.write(directory / "data" / "ledger.db", history.history(now_ns, days, calls))
    return gateway


def dollars(text: str) -> float:
    """The first amount in a text of the page."""
    found = re.search(r"(−?)\$([\d,]+\.?\d*)", text)
    assert found, text
    return (-1 if found[1] else 1) * float(found[2].replace(",", ""))

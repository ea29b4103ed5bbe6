"""How ``make test`` shares the tests among its workers."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

WHOLE = ("tests/page",)
"""Folders that one worker runs: what the tests share is dear to make (Chromium, two months of calls)."""


FIRST = ("tests/bench/", "tests/wire/test_wire_fuzz.py")
"""Long ones, which would be the last or leave others waiting for them."""


def long_first(items: list[Any]) -> None:
    """Files in their order but for the long ones: the last are many and short, and no worker is left with a long one
    when the others are done."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


class ByFile(LoadScopeScheduling):
    """A file's tests run in one worker in their order, so that what they share is made once; files in their order."""

    def __init__(self, config: Any, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        folder = path.rpartition("/")[0]
        return folder if folder in WHOLE else path

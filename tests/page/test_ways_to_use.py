"""Without a mouse, on a phone, in the dark."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from support.browser import VIEWS, Visitor
from support.gateway import Gateway

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
Visit = Callable[..., Visitor]


def focused(visitor: Visitor) -> str:
    """The name of what has the focus."""
    return str(
        visitor.page.evaluate(
            "() => { const e = document.activeElement; return e.getAttribute('aria-label') || "
            "(e.labels && e.labels[0] && e.labels[0].textContent) || e.textContent.trim(); }"
        )
    )


def tab_to(visitor: Visitor, name: str, key: str = "Tab") -> None:
    for _ in range(80):
        visitor.page.keyboard.press(key)
        if focused(visitor) == name:
            return
    raise AssertionError(f"{name} is not reached by {key}")


def test_every_view_is_reached_by_keyboard_and_takes_the_focus(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    visitor.open("overview")
    for name in ("Explore", "Insight", "Quotas", "Requests", "Keys", "Models", "Overview"):
        visitor.page.locator("body").evaluate("e => { document.activeElement.blur(); }")
        tab_to(visitor, name)
        visitor.page.keyboard.press("Enter")
        expect(visitor.shown().get_by_role("heading", name=name, exact=True)).to_be_visible()
        expect(visitor.page).to_have_title(f"{name} · Spendgate")
        expect(visitor.page.get_by_role("link", name=name, exact=True)).to_have_attribute("aria-current", "page")


def test_the_navigation_can_be_skipped(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    visitor.open("models")
    visitor.page.evaluate("document.activeElement.blur()")
    tab_to(visitor, "Skip to the content")
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.locator("main")).to_be_focused()
    expect(visitor.page).to_have_title("Models · Spendgate")
    expect(visitor.page).to_have_url(re.compile("#/models$"))


def test_a_filter_is_set_a_table_sorted_and_a_group_opened_by_keyboard(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    visitor.open("explore")
    keys = visitor.page.keyboard
    tab_to(visitor, "Group by")
    keys.press("m")  # one letter: between two a busy machine may pause, and the second begins another word
    expect(visitor.shown().get_by_role("heading", name="Cost by day and model")).to_be_visible()
    tab_to(visitor, "Value")
    keys.type("search")
    keys.press("Enter")
    expect(visitor.page.get_by_role("button", name="Remove filter team search")).to_be_visible()
    tab_to(visitor, "requests")
    keys.press("Enter")
    expect(visitor.page.get_by_role("columnheader", name="requests")).to_have_attribute("aria-sort", "descending")
    tab_to(visitor, "gpt-4o-mini")
    keys.press("Enter")
    expect(visitor.page.get_by_role("button", name="Remove filter model gpt-4o-mini")).to_be_visible()


def test_a_change_by_keyboard_leaves_the_focus_where_it_was(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    visitor.open("explore")
    tab_to(visitor, "Time step")
    visitor.page.keyboard.type("week")
    expect(visitor.shown().get_by_role("heading", name="Cost by week and team")).to_be_visible()
    assert focused(visitor) == "Time step"


def test_a_key_is_made_by_keyboard_and_the_dialog_gives_the_focus_back(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    visitor.open("keys")
    keys = visitor.page.keyboard
    tab_to(visitor, "New key")
    keys.press("Enter")
    expect(visitor.page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(visitor.page.get_by_role("dialog")).to_have_count(0)
    assert focused(visitor) == "New key"
    keys.press("Enter")
    keys.type("search")
    keys.press("Tab")
    keys.type("typed")
    keys.press("Enter")
    expect(visitor.page.get_by_role("alert").filter(has_text="shown this once")).to_be_visible()


def test_what_has_the_focus_can_be_seen(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    for view in VIEWS:
        visitor.open(view)
        for _ in range(25):
            visitor.page.keyboard.press("Tab")
            width = visitor.page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
            assert width >= 2, (view, focused(visitor))


@pytest.mark.parametrize("width", [320, 375])
def test_no_view_is_wider_than_a_phone(visit: Visit, busy: Gateway, width: int) -> None:
    visitor = visit(busy, width=width, height=700, has_touch=True, is_mobile=True)
    record = busy.get("/api/requests?limit=1&outcome=completed")["requests"][0]["request_id"]
    for view in (*VIEWS, "explore?by=workflow,model&team=search", f"requests/{record}"):
        visitor.open(view)
        assert visitor.overflow() == 0, view
        assert visitor.axe() == "", view


def test_the_theme_follows_the_system_until_it_is_chosen(visit: Visit, busy: Gateway) -> None:
    def background(visitor: Visitor) -> tuple[int, ...]:
        said = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return tuple(int(one) for one in re.findall(r"\d+", said))

    light, dark = visit(busy, color_scheme="light"), visit(busy, color_scheme="dark")
    light.open("overview")
    dark.open("overview")
    assert min(background(light)) > 200
    assert max(background(dark)) < 60
    light.page.get_by_role("button", name="Switch between dark and light").click()
    assert background(light) == background(dark)
    light.page.reload()
    light.shown()
    assert background(light) == background(dark)


@pytest.mark.parametrize(
    ("view", "heading"),
    [("requests", "cost"), ("overview", "change"), ("insight?days=30", "a month"), ("keys", "state")],
)
def test_on_a_phone_what_matters_is_in_sight(visit: Visit, busy: Gateway, view: str, heading: str) -> None:
    visitor = visit(busy, width=390, height=844)
    main = visitor.open(view)
    for one in (main.get_by_role("columnheader", name=heading).first, visitor.page.locator("nav [aria-current]")):
        box = one.bounding_box()
        assert box is not None
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390

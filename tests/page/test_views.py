"""Every view, used as a person would: what is read, clicked, typed, downloaded and shared."""

from __future__ import annotations

import csv
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from support.browser import VIEWS, Visitor, dollars
from support.gateway import Gateway

from gateway.ledger.connections import connect

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
Visit = Callable[..., Visitor]


def call(gateway: Gateway, secret: str, model: str = "m") -> int:
    """One call of an application."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    request = urllib.request.Request(gateway.url + "/simulated/v1/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def until(gateway: Gateway, secret: str, status: int) -> None:
    """A running gateway takes up a change within a second."""
    deadline = time.monotonic() + 10
    while call(gateway, secret) != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def cost_of(gateway: Gateway, query: str) -> float:
    return int(gateway.get(f"/api/spend?{query}")["total"]["cost_nanousd"]) / 1e9


def card(main: Any, title: str) -> str:
    return str(main.locator(".card", has_text=title).locator(".value").inner_text())


def test_the_overview_tells_the_month_its_forecast_and_what_moved(visit: Visit, busy: Gateway) -> None:
    main = visit(busy).open("overview")
    spent = cost_of(busy, f"since={time.strftime('%Y-%m-01', time.gmtime())}")
    assert dollars(card(main, "Month to date")) == pytest.approx(spent, abs=0.006)
    forecast = busy.get("/api/forecast")
    assert dollars(card(main, "Forecast")) == pytest.approx(forecast["expected_nanousd"] / 1e9, rel=0.01, abs=0.006)
    expect(main.get_by_role("img", name="Spend a day by team")).to_be_visible()
    for name in ("Top movers", "Budgets", "Unusual days"):
        expect(main.get_by_role("heading", name=name)).to_be_visible()
    meter = main.get_by_role("meter", name="search-month")
    assert 0 <= int(meter.get_attribute("aria-valuenow")) <= 100


def test_the_overview_is_stacked_by_any_dimension(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    main = visitor.open("overview")
    for name in ("workflow", "provider", "model", "key"):
        main.get_by_label("By", exact=True).select_option(name)
        expect(main.get_by_role("img", name=f"Spend a day by {name}")).to_be_visible()
    main.locator("summary").first.click()
    expect(main.get_by_role("region", name="Spend a day by key").get_by_role("row")).to_have_count(31)


def test_explore_groups_filters_and_answers_like_the_api(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    main = visitor.open("explore?period=90d")
    main.get_by_label("Group by").select_option("model")
    expect(main.get_by_role("heading", name="Cost by day and model")).to_be_visible()
    main.get_by_label("and by", exact=True).select_option("team")
    expect(main.get_by_role("columnheader", name="team")).to_be_visible()
    main.get_by_label("Filter", exact=True).select_option("team")
    main.get_by_label("Value").fill("support")
    main.get_by_role("button", name="Add filter").click()
    heading = main.get_by_role("heading", name=re.compile(r"groups, \$"))
    expect(main.get_by_role("button", name="Remove filter team support")).to_be_visible()
    since = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 89 * 86400))
    whole = cost_of(busy, f"since={since}&team=support")
    expect(heading).to_have_text(re.compile(r"^5 groups"))
    assert dollars(heading.inner_text()) == pytest.approx(whole, abs=0.006)
    main.get_by_role("button", name="Remove filter team support").click()
    expect(heading).to_have_text(re.compile(r"^(20|21) groups"))
    main.get_by_label("and by", exact=True).select_option("outcome")
    main.get_by_role("button", name="rejected").first.click()
    expect(main.get_by_role("button", name="Remove filter outcome rejected")).to_be_visible()
    expect(heading).to_have_text(re.compile(r", \$0\.00$"))
    main.get_by_role("button", name="Remove filter outcome rejected").click()
    main.get_by_label("or by tag").fill("env")
    main.get_by_label("or by tag").press("Enter")
    expect(main.get_by_role("rowheader", name="prod")).to_be_visible()


def test_a_view_of_explore_is_a_link_that_shows_the_same_to_others(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy, permissions=["clipboard-read", "clipboard-write"])
    main = visitor.open("explore?by=workflow&period=90d&team=search&measure=tokens&bucket=week")
    said = main.get_by_role("heading", name=re.compile("groups")).inner_text()
    main.get_by_role("button", name="Copy link").click()
    expect(visitor.page.get_by_role("status")).to_have_text("The link was copied.")
    link = visitor.page.evaluate("navigator.clipboard.readText()")
    other = visit(busy)
    other.page.goto(link)
    assert other.shown().get_by_role("heading", name=re.compile("groups")).inner_text() == said
    expect(other.shown().get_by_role("heading", name="Tokens by week and workflow")).to_be_visible()


def test_what_is_explored_is_downloaded_as_csv_with_the_same_sum(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    main = visitor.open("explore?by=team,model&period=last")
    with visitor.page.expect_download() as waiting:
        main.get_by_role("link", name="CSV").click()
    with open(waiting.value.path(), newline="") as file:
        rows = list(csv.DictReader(file))
    assert waiting.value.suggested_filename == "spend.csv"
    total = sum(int(row["cost_nanousd"]) for row in rows) / 1e9
    said = main.get_by_role("heading", name=re.compile(r"groups, \$")).inner_text()
    assert dollars(said) == pytest.approx(total, abs=0.006)
    assert said.startswith(f"{len(rows)} groups")


def test_a_table_is_sorted_by_its_headings(visit: Visit, busy: Gateway) -> None:
    main = visit(busy).open("explore?by=model")
    heading = main.get_by_role("columnheader", name="requests")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    place = main.get_by_role("columnheader").all_inner_texts().index("requests")
    cells = main.locator(f"tbody tr > :nth-child({place + 1})").all_inner_texts()
    numbers = [int(text.replace(",", "")) for text in cells]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 5


def test_insight_tells_the_forecast_unusual_days_that_sum_and_waste_with_its_calls(visit: Visit, odd: Gateway) -> None:
    visitor = visit(odd)
    main = visitor.open("insight?days=14")
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 14 * 86_400))
    month = odd.get("/api/forecast")
    facts = main.get_by_role("region", name="This month").locator("dd").all_inner_texts()
    assert dollars(facts[1]) == pytest.approx(month["expected_nanousd"] / 1e9, rel=0.01, abs=0.006)
    rows = main.get_by_role("region", name="Unusual days", exact=True).locator("tbody tr")
    cells = rows.filter(has_text="contracts").first.locator("th, td").all_inner_texts()
    cost, usual, change, *drivers = [dollars(text) for text in cells[3:10]]
    assert usual + change == pytest.approx(cost, abs=0.03)
    assert change > 0
    assert sum(drivers) == pytest.approx(change, abs=0.03)
    kinds = main.get_by_role("region", name="Waste by kind").locator("tbody tr")
    said = kinds.filter(has_text="Answers nobody received").locator("th, td").all_inner_texts()
    lost = [one for one in odd.get(f"/api/waste?since={since}")["findings"] if one["kind"] == "unreceived"]
    assert int(said[2].replace(",", "")) == sum(one["calls"] for one in lost)
    assert dollars(said[3]) == pytest.approx(sum(one["nanousd_a_month"] for one in lost) / 1e9, rel=0.02)
    kinds.get_by_role("button", name="Answers nobody received").click()
    waste = visitor.shown().get_by_role("region", name="Waste by workflow and model").locator("tbody tr")
    assert all("Answers nobody received" in text for text in waste.all_inner_texts())
    line = waste.first
    calls = int(line.locator("td").nth(3).inner_text())
    line.locator("td").nth(3).get_by_role("link").click()
    expect(visitor.shown().get_by_role("button", name="Remove since")).to_be_visible()
    expect(visitor.page.locator("main tbody tr")).to_have_count(calls)
    assert all("client disconnected" in text for text in visitor.page.locator("main tbody tr").all_inner_texts())


def test_a_prompt_that_was_sent_again_leads_from_its_dollars_to_the_calls(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    main = visitor.open("insight?days=30&kind=retries")
    waste = main.get_by_role("region", name="Waste by workflow and model").locator("tbody tr")
    waste.first.get_by_role("link", name="its retry").click()
    same = visitor.shown().get_by_role("region", name="The same prompt")
    assert same.locator("tbody tr").count() >= 2
    assert visitor.axe() == ""


def test_quotas_show_use_reserve_forecast_and_lead_to_who_uses_them(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    main = visitor.open("quotas")
    one = main.get_by_role("listitem").filter(has=visitor.page.get_by_role("heading", name="support-month"))
    row = next(row for row in busy.get("/api/quotas")["quotas"] if row["quota"] == "support-month")
    assert dollars(one.locator("dd").first.inner_text()) == pytest.approx(row["used"], abs=0.006)
    for name in ("used", "reserved", "limit", "left", "resets", "at this pace"):
        assert one.locator("dt", has_text=name).count() == 1
    one.get_by_role("link", name="Who uses it").click()
    expect(visitor.page.get_by_role("button", name="Remove filter team support")).to_be_visible()
    heading = visitor.shown().get_by_role("heading", name=re.compile(r"groups, \$"))
    # a quota also holds what broken-off calls had reserved
    spent = cost_of(busy, f"since={time.strftime('%Y-%m-01', time.gmtime())}&team=support")
    assert dollars(heading.inner_text()) == pytest.approx(spent, abs=0.006)
    assert spent <= row["used"]


def test_a_live_call_shows_up_in_the_list_and_its_record_explains_itself(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    main = visitor.open("requests?provider=simulated")
    main.get_by_role("button", name="Live: off").click()
    expect(main.get_by_role("button", name="Live: on")).to_be_visible()
    assert call(busy, "sk-configured-key", "live-one") == 200
    row = main.get_by_role("row").filter(has_text="live-one")
    expect(row).to_have_count(1)
    row.get_by_role("link").click()
    expect(visitor.page.get_by_role("heading", name="Request", exact=True)).to_be_visible()
    main = visitor.shown()
    identity = main.locator("p.mono").inner_text()
    record = busy.get(f"/api/requests/{identity}")
    times = main.locator(".waterfall li")
    assert times.locator(".name").all_inner_texts()[0] == "Gateway"
    lines = main.get_by_role("region", name="Lines of the bill").locator("tbody tr")
    told = [int(lines.nth(at).locator("td").nth(1).inner_text().replace(",", "")) for at in range(lines.count())]
    assert told == [line["nanousd"] for line in record["cost_lines"]]
    assert sum(told) == record["cost_nanousd"] > 0
    assert record["price"] in main.inner_text()
    assert "search-month" in main.locator(".facts.wide").inner_text()


def test_a_record_that_was_corrected_shows_one_cost_in_dollars_and_nanodollars(visit: Visit, busy: Gateway) -> None:
    (record,) = busy.get("/api/requests?outcome=completed&limit=1")["requests"]
    connection = connect(busy.directory / "data" / "ledger.db")
    connection.execute(
        "INSERT INTO adjustments (id, request_id, at_ns, hour, kind, reason, who, delta_nanousd, price, cost_lines, "
        "team, workflow, key_id, provider, model, model_requested, tags) SELECT 'adj_page', request_id, started_ns, "
        "started_ns / 3600000000000, 'reconcile', 'bill', '', 5000000000, '', '[]', team, workflow, key_id, provider, "
        "model, model_requested, tags FROM requests WHERE request_id = ?",
        (record["request_id"],),
    )
    connection.close()
    main = visit(busy).open(f"requests/{record['request_id']}")
    cost = record["cost_nanousd"] + 5 * 10**9
    assert dollars(card(main, "Cost")) == pytest.approx(cost / 1e9, abs=0.006)
    assert f"{cost:,} nanodollars, with adjustments" in main.locator(".cards").inner_text()


def test_requests_are_filtered_and_paged(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    main = visitor.open("requests")
    main.get_by_label("team").fill("legal")
    main.get_by_label("outcome").select_option("completed")
    main.get_by_role("button", name="Show").click()
    expect(visitor.page).to_have_url(re.compile("team=legal"))
    rows = visitor.shown().locator("tbody tr")
    expect(rows).to_have_count(50)
    main.get_by_role("button", name="Older").click()
    expect(rows).to_have_count(100)
    assert set(rows.locator("td:nth-child(2)").all_inner_texts()) == {"legal"}
    links = [row.get_attribute("href") for row in rows.get_by_role("link").all()]
    assert len(set(links)) == 100


def test_a_key_is_made_rotated_and_revoked_and_its_secret_is_shown_once(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    page, main = visitor.page, visitor.open("keys")
    main.get_by_role("button", name="New key").click()
    dialog = page.get_by_role("dialog", name="New key")
    dialog.get_by_label("Team").fill("search")
    dialog.get_by_label("Workflow").fill("by-hand")
    dialog.get_by_label("Tags").fill("env=prod, cost_center=4711")
    dialog.get_by_role("button", name="Make key").click()
    alert = page.get_by_role("alert").filter(has_text="shown this once")
    secret = alert.locator("code").inner_text()
    until(busy, secret, 200)
    main = visitor.open("keys")
    expect(main.get_by_role("row").filter(has_text="by-hand")).to_have_count(1)
    assert secret not in page.content()
    row = main.get_by_role("row").filter(has_text="by-hand")
    assert "cost_center=4711, env=prod" in row.inner_text()
    old = row.get_by_role("link").inner_text()
    row.get_by_role("button", name="Rotate").click()
    new = alert.locator("code").inner_text()
    assert new != secret
    until(busy, new, 200)
    assert call(busy, secret) == 200
    main.get_by_role("button", name=f"Revoke {old}").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    assert call(busy, secret) == 200
    main.get_by_role("button", name=f"Revoke {old}").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(main.get_by_role("row").filter(has_text=old)).to_contain_text("revoked")
    until(busy, secret, 401)
    assert call(busy, new) == 200


def test_a_key_that_can_not_be_made_says_why(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    visitor.open("keys").get_by_role("button", name="New key").click()
    dialog = visitor.page.get_by_role("dialog")
    dialog.get_by_label("Team").fill("search")
    dialog.get_by_label("Workflow").fill("w")
    dialog.get_by_label("Expires").fill("2020-01-01")
    dialog.get_by_role("button", name="Make key").click()
    expect(dialog.get_by_role("alert")).to_have_text("expires is in the past.")
    refused = [text for text in visitor.errors if "400" in text]
    assert len(refused) == 1
    visitor.errors.clear()


def test_models_stand_side_by_side_with_price_speed_and_use(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    main = visitor.open("models?period=90d")
    row = main.get_by_role("row").filter(has=visitor.page.get_by_role("link", name="gpt-4o-mini", exact=True))
    heads = main.get_by_role("columnheader").all_inner_texts()
    cells = dict(zip(heads, row.locator("th, td").all_inner_texts(), strict=True))
    assert cells["input"] == "$0.15"
    assert cells["output"] == "$0.60"
    assert int(cells["requests"].replace(",", "")) > 100
    assert cells["first token"].endswith("ms")
    assert "catalogue" in cells["price from"]
    row.get_by_role("link").click()
    expect(visitor.page.get_by_role("button", name="Remove filter model gpt-4o-mini")).to_be_visible()


@pytest.mark.parametrize(
    ("view", "told"),
    [
        ("overview", "Point an SDK at this gateway"),
        ("explore", "look further back"),
        ("insight", "Nothing was found"),
        ("quotas", "Add a [[quotas]] table"),
        ("requests", "A call shows up here as soon as it has ended"),
        ("keys", "Make one"),
        ("models", "make a first call"),
    ],
)
def test_an_empty_view_says_what_to_do_next(visit: Visit, fresh: Gateway, view: str, told: str) -> None:
    visitor = visit(fresh)
    expect(visitor.open(view)).to_contain_text(told)
    assert visitor.axe() == ""


def test_what_does_not_exist_is_told_in_one_line(visit: Visit, busy: Gateway) -> None:
    visitor = visit(busy)
    expect(visitor.open("requests/req_none")).to_contain_text("No record has this id")
    assert [text for text in visitor.errors if "404" not in text] == []
    visitor.errors.clear()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_passes_axe(visit: Visit, busy: Gateway, theme: str) -> None:
    visitor = visit(busy, color_scheme=theme)
    record = busy.get("/api/requests?limit=1&outcome=completed")["requests"][0]["request_id"]
    for view in (*VIEWS, "explore?by=team,model&team=search", f"requests/{record}"):
        visitor.open(view)
        assert visitor.axe() == "", view
    visitor.open("keys").get_by_role("button", name="New key").click()
    assert visitor.axe() == ""

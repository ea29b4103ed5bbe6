// What the month costs so far, what it will, what moved, what is odd.

import { get } from "../api.js";
import { bars, stack } from "../chart.js";
import { empty, field, fill, h, link, select, table } from "../dom.js";
import { count, named, percent, signed, usd } from "../format.js";
import { buckets, day, period } from "../periods.js";
import { oddTable } from "./insight.js";

const DIMENSIONS = [["team", "Team"], ["workflow", "Workflow"], ["provider", "Provider"], ["model", "Model"], ["key", "Key"]];
const WEEK = 7 * 86400e3;

export async function overview({ main, query, me, signal, go }) {
  const by = query.by || (me.team ? "workflow" : "team");
  const month = period({ period: "month" });
  const recent = period({ period: "30d" });
  const whole = !me.team;
  const [total, forecast, quotas, series, moved, odd] = await Promise.all([
    get("spend", { since: month.since, until: month.until, measures: "cost_nanousd,requests,rejected,estimated,unpriced" }, signal),
    whole ? get("forecast", {}, signal) : null,
    get("quotas", {}, signal),
    get("spend", { by: "day," + by, since: recent.since, until: recent.until, limit: 10000, measures: "cost_nanousd" }, signal),
    movers(by, signal),
    whole ? get("anomalies", { days: 7 }, signal) : null,
  ]);
  const place = h("div", { class: "chart" });
  const budget = quotas.quotas.filter((one) => one.unit === "usd");
  fill(main,
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Overview"),
      field("By", select(DIMENSIONS, by, (value) => go({ ...query, by: value })))),
    h("div", { class: "cards" },
      card("Month to date", usd(total.total.cost_nanousd), count(total.total.requests) + " requests"),
      forecast && card("Forecast of the month", usd(forecast.expected_nanousd),
        "8 of 10: " + usd(forecast.low_nanousd) + " to " + usd(forecast.high_nanousd)),
      card("Refused", count(total.total.rejected), "calls that no quota, key or rule let through"),
      card("Estimated", count(total.total.estimated), count(total.total.unpriced) + " without a price")),
    h("section", { class: "panel", "aria-labelledby": "over-time" },
      h("h2", { id: "over-time" }, "Spend a day, last 30 days"),
      series.rows.length ? place : empty("No calls yet.",
        "Point an SDK at this gateway: base_url http://HOST:PORT/PROVIDER/v1, with a key of this page's Keys view.")),
    h("div", { class: "two" },
      h("section", { class: "panel", "aria-labelledby": "movers" },
        h("h2", { id: "movers" }, "Top movers, last 7 days against the 7 before"), moversTable(moved, by)),
      h("section", { class: "panel", "aria-labelledby": "budgets" }, h("h2", { id: "budgets" }, "Budgets"),
        budget.length ? h("ul", { class: "plain" }, budget.slice(0, 8).map(budgetLine)) :
          empty("No quota in dollars.", "Add a [[quotas]] table with usd to the configuration."))),
    odd && h("section", { class: "panel", "aria-labelledby": "odd" }, h("h2", { id: "odd" }, "Unusual days, last 7 days"), oddTable(odd.anomalies)));
  if (series.rows.length) {
    const keys = buckets(recent.since, recent.until, "day");
    bars(place, { keys, series: stack(series.rows, keys, "day", by, (row) => row.cost_nanousd), label: "Spend a day by " + by });
  }
}

function card(title, value, below) {
  return h("div", { class: "card" }, h("p", { class: "muted" }, title), h("p", { class: "value" }, value), h("p", { class: "muted" }, below));
}

async function movers(by, signal) {
  const end = Date.parse(day(Date.now()));
  const [now, before] = await Promise.all([
    get("spend", { by, since: day(end - WEEK), until: day(end), measures: "cost_nanousd" }, signal),
    get("spend", { by, since: day(end - 2 * WEEK), until: day(end - WEEK), measures: "cost_nanousd" }, signal),
  ]);
  const rows = new Map();
  for (const row of now.rows) rows.set(row.group[by], { name: row.group[by], now: row.cost_nanousd, before: 0 });
  for (const row of before.rows) {
    const known = rows.get(row.group[by]) || { name: row.group[by], now: 0, before: 0 };
    known.before = row.cost_nanousd;
    rows.set(row.group[by], known);
  }
  const all = [...rows.values()].map((row) => ({ ...row, change: row.now - row.before })).filter((row) => row.change);
  return all.sort((a, b) => Math.abs(b.change) - Math.abs(a.change)).slice(0, 8);
}

function moversTable(rows, by) {
  return table({
    caption: "Top movers", rows,
    none: empty("Nothing moved.", "Two weeks of calls are needed for a comparison."),
    columns: [
      { label: by, cell: (row) => link("explore", { by, [by]: row.name, period: "30d" }, named(row.name)) },
      { label: "before", number: true, minor: true, cell: (row) => usd(row.before) },
      { label: "now", number: true, cell: (row) => usd(row.now) },
      { label: "change", number: true, cell: (row) => h("span", { class: row.change > 0 ? "up" : "down" }, signed(row.change),
        row.before ? " (" + (row.change > 0 ? "+" : "") + percent(row.change / row.before) + ")" : " (new)") },
    ],
  });
}

function budgetLine(one) {
  const share = Math.min(1, one.share);
  return h("li", {},
    h("div", { class: "split" }, link("quotas", { quota: one.quota }, one.quota + (one.bucket ? " · " + one.bucket : "")),
      h("span", {}, usd(one.used * 1e9) + " of " + usd(one.limit * 1e9))),
    h("div", { class: "meter", role: "meter", "aria-label": one.quota, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(share * 100) },
      h("div", { class: "fill" + (one.share >= 1 ? " full" : one.near ? " near" : ""), style: { width: share * 100 + "%" } })));
}

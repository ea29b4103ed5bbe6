// Any group of calls in any period, as picture, table, link and CSV.

import { get } from "../api.js";
import { bars, stack } from "../chart.js";
import { copy, empty, field, fill, h, search, select, table } from "../dom.js";
import { count, ms, named, percent, short, usd } from "../format.js";
import { PRESETS, buckets, period } from "../periods.js";

const DIMENSIONS = ["team", "workflow", "key", "provider", "model", "outcome"];
const MEASURES = {
  cost: ["Cost", (row) => row.cost_nanousd, true, "cost_nanousd"],
  requests: ["Requests", (row) => row.requests, false, "requests"],
  tokens: ["Tokens", (row) => row.input_tokens + row.output_tokens, false, "input_tokens,output_tokens"],
  errors: ["Errors", (row) => row.errors, false, "errors"],
  refused: ["Refused", (row) => row.rejected, false, "rejected"],
  gone: ["Clients gone", (row) => row.disconnected, false, "disconnected"],
};
const HOURS_DAYS = 14;
const list = (value) => [value || []].flat();

export async function explore({ main, query, signal, go }) {
  const by = (query.by || "team").split(",").filter(Boolean);
  const when = period(query);
  const hourly = Date.parse(when.until) - Date.parse(when.since) <= HOURS_DAYS * 86400e3;
  const bucket = query.bucket === "hour" && !hourly ? "day" : query.bucket || when.bucket;
  const measure = query.measure in MEASURES ? query.measure : "cost";
  const filters = {};
  for (const [name, value] of Object.entries(query)) if (DIMENSIONS.includes(name) || name.startsWith("tag.")) filters[name] = list(value);
  const asked = { ...filters, since: when.since, until: when.until };
  const [groups, series] = await Promise.all([
    get("spend", { ...asked, by: by.join(","), limit: 1000 }, signal),
    get("spend", { ...asked, by: bucket + "," + by[0], limit: 10000, measures: MEASURES[measure][3] }, signal),
  ]);
  const values = (name) => suggestions(name, asked, signal);
  const place = h("div", { class: "chart" });
  const csv = "/api/spend" + search({ ...asked, by: by.join(","), format: "csv" });
  fill(main,
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Explore"),
      h("div", { class: "row" },
        h("button", { type: "button", onclick: () => copy(location.href, "The link was copied.") }, "Copy link"),
        h("a", { class: "button", href: csv, download: "spend.csv" }, "CSV"))),
    controls({ query, by, bucket, hourly, measure, go }),
    filterBar({ query, filters, values, go }),
    h("section", { class: "panel", "aria-labelledby": "in-time" },
      h("h2", { id: "in-time" }, MEASURES[measure][0] + " by " + bucket + " and " + by[0]),
      series.rows.length ? place : empty("No calls match.", "Take a filter away, or look further back.")),
    h("section", { class: "panel", "aria-labelledby": "groups" },
      h("h2", { id: "groups" }, count(groups.groups) + " groups, " + usd(groups.total.cost_nanousd)),
      groupTable(groups, by, query, go),
      groups.cursor && h("p", { class: "muted" }, "The 1,000 dearest are shown; the CSV has all.")));
  if (series.rows.length) {
    const keys = buckets(when.since, when.until, bucket);
    const [label, value, money] = MEASURES[measure];
    bars(place, { keys, series: stack(series.rows, keys, bucket, by[0], value), label: label + " by " + bucket + " and " + by[0], money });
  }
}

function controls({ query, by, bucket, hourly, measure, go }) {
  const named = [...new Set([...DIMENSIONS, ...by])].map((name) => [name, name]);
  const tag = h("input", { placeholder: "env", size: 8, onchange: (event) => {
    if (event.target.value.trim()) go({ ...query, by: "tag." + event.target.value.trim() });
  } });
  const chosen = query.period || "30d";
  return h("div", { class: "controls" },
    field("Period", select(PRESETS, chosen, (value) => go({ ...query, period: value, since: null, until: null }))),
    chosen === "custom" && field("From", h("input", { type: "date", value: query.since || "", onchange: (event) => go({ ...query, since: event.target.value }) })),
    chosen === "custom" && field("To, included", h("input", { type: "date", value: query.until || "", onchange: (event) => go({ ...query, until: event.target.value }) })),
    field("Group by", select(named, by[0], (value) => go({ ...query, by: [value, ...by.slice(1)].filter((one, at, all) => all.indexOf(one) === at).join(",") }))),
    field("and by", select([["", "–"], ...named], by[1] || "", (value) => go({ ...query, by: value && value !== by[0] ? by[0] + "," + value : by[0] }))),
    field("or by tag", tag),
    field("Time step", select([...(hourly ? [["hour", "Hour"]] : []), ["day", "Day"], ["week", "Week"], ["month", "Month"]], bucket, (value) => go({ ...query, bucket: value }))),
    field("Show", select(Object.entries(MEASURES).map(([key, [label]]) => [key, label]), measure, (value) => go({ ...query, measure: value }))));
}

// Names that a filter may have, asked for only where somebody is about to filter.
async function suggestions(name, asked, signal) {
  if (!DIMENSIONS.includes(name)) return [];
  const answer = await get("spend", { since: asked.since, until: asked.until, by: name, limit: 200, measures: "cost_nanousd" }, signal);
  return answer.rows.map((row) => row.group[name]);
}

function filterBar({ query, filters, values, go }) {
  const options = h("datalist", { id: "values" });
  const dimension = select([...DIMENSIONS.map((name) => [name, name]), ["tag", "tag (NAME=VALUE)"]], "team", suggest);
  const value = h("input", { list: "values", autocomplete: "off", required: true, onfocus: suggest });
  let told = "";
  async function suggest() {
    const name = dimension.value;
    if (told === name) return;
    told = name;
    const names = await values(name).catch(() => []);
    if (told === name) fill(options, names.map((one) => h("option", { value: one })));
  }
  const form = h("form", { class: "controls", onsubmit: (event) => {
    event.preventDefault();
    let [name, text] = [dimension.value, value.value];
    if (name === "tag") {
      const at = text.indexOf("=");
      if (at < 1) return;
      [name, text] = ["tag." + text.slice(0, at), text.slice(at + 1)];
    }
    go({ ...query, [name]: [...new Set([...list(query[name]), text])] });
  } }, field("Filter", dimension), field("Value", value), options, h("button", { type: "submit" }, "Add filter"));
  const chips = Object.entries(filters).flatMap(([name, all]) => all.map((one) => h("li", {},
    h("button", { type: "button", class: "chip", "aria-label": "Remove filter " + name + " " + one,
      onclick: () => go({ ...query, [name]: all.filter((other) => other !== one) }) }, name + ": " + named(one) + " ×"))));
  return h("div", { class: "filters" }, form, chips.length ? h("ul", { class: "chips", "aria-label": "Filters" }, chips) : null);
}

function groupTable(groups, by, query, go) {
  const whole = groups.total.cost_nanousd;
  const number = (label, value, cell) => ({ label, number: true, sort: value, cell: (row) => cell(value(row)) });
  const ends = [number("refused", (row) => row.rejected, count), number("errors", (row) => row.errors, count),
    number("clients gone", (row) => row.disconnected, count)];
  return table({
    caption: "Spend by " + by.join(" and "), rows: groups.rows, sorted: by.length,
    none: empty("No calls match.", "Take a filter away, or look further back."),
    columns: [
      ...by.map((name) => ({ label: name, sort: (row) => row.group[name], cell: (row) =>
        h("button", { type: "button", class: "text", title: "Only this", onclick: () => go({ ...query, [name]: [row.group[name]] }) }, named(row.group[name])) })),
      number("cost", (row) => row.cost_nanousd, usd),
      number("share", (row) => (whole ? row.cost_nanousd / whole : null), percent),
      number("requests", (row) => row.requests + (by.includes("outcome") ? row.rejected : 0), count),
      ...(by.includes("outcome") ? [] : ends),
      number("input", (row) => row.input_tokens, short),
      number("cached", (row) => row.cache_read_tokens, short),
      number("output", (row) => row.output_tokens, short),
      number("reasoning", (row) => row.reasoning_tokens, short),
      number("a request", (row) => (row.requests ? row.cost_nanousd / row.requests : null), usd),
      number("a million tokens", (row) => (row.input_tokens + row.output_tokens ? row.cost_nanousd * 1e6 / (row.input_tokens + row.output_tokens) : null), usd),
      number("latency", (row) => row.latency_ms, ms),
      number("first token", (row) => row.ttft_ms, ms),
    ],
  });
}

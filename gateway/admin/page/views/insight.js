// What the month will be, what was unusual and why, what bought little.

import { get } from "../api.js";
import { empty, field, fill, h, link, select, table } from "../dom.js";
import { count, named, signed, usd } from "../format.js";

const DAYS = [["7", "Last 7 days"], ["14", "Last 14 days"], ["30", "Last 30 days"]];
const KINDS = {
  unreceived: "Answers nobody received", failed: "Failed, and charged", retries: "The same prompt again", reasoning: "Reasoning", small_tasks: "Small tasks on a dear model",
  uncached: "Input that is not cached", limits: "Limits far above use (held, not spent)",
};
const EXAMPLES = { retries: ["dearest", "its retry"] };
const OUTCOMES = { unreceived: "client_disconnected", failed: "upstream_error" };
const SHOWN = 15;

export async function insight({ main, query, me, signal, go }) {
  if (me.team) {
    fill(main, h("h1", { tabindex: "-1" }, "Insight"), empty("Insight is about all teams.", "This token may see team " + me.team + " only: see Explore."));
    return;
  }
  const days = query.days in Object.fromEntries(DAYS) ? query.days : "7";
  const since = new Date(Date.now() - Number(days) * 86400e3).toISOString().slice(0, 19) + "Z";
  const [month, odd, lost] = await Promise.all([
    get("forecast", {}, signal), get("anomalies", { days }, signal), get("waste", { since }, signal),
  ]);
  fill(main,
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Insight"), field("Period", select(DAYS, days, (value) => go({ ...query, days: value })))),
    h("section", { class: "panel", "aria-labelledby": "month" }, h("h2", { id: "month" }, "This month"), ahead(month)),
    h("section", { class: "panel", "aria-labelledby": "odd" }, h("h2", { id: "odd" }, "Unusual days, and what drove them"), oddTable(odd.anomalies)),
    h("section", { class: "panel", "aria-labelledby": "waste" }, h("h2", { id: "waste" }, "Money that bought little"), wasted({ found: lost.findings, since, query, go })));
}

function ahead(month) {
  if (!month.expected_nanousd) return empty("Nothing was spent yet.", "A forecast rests on the days before today.");
  const whole = Math.max(month.high_nanousd, 1);
  const part = (name, from, to) => h("span", { class: "part " + name, style: { left: (from / whole) * 100 + "%", width: ((to - from) / whole) * 100 + "%" } });
  return [
    h("div", { class: "track tall", "aria-hidden": "true" }, part("p2", 0, month.so_far_nanousd), part("p1", month.so_far_nanousd, month.low_nanousd),
      part("p0", month.low_nanousd, month.high_nanousd)),
    h("dl", { class: "facts" }, [
      ["so far", usd(month.so_far_nanousd)], ["expected at its end", usd(month.expected_nanousd)],
      ["in 8 of 10 cases", usd(month.low_nanousd) + " to " + usd(month.high_nanousd)],
      ["rests on", count(month.history_days) + " whole days"], ["days left", month.days_left.toFixed(1)],
    ].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))))];
}

export function oddTable(rows) {
  const driver = (label, name) => ({ label, number: true, sort: (row) => row.drivers[name], cell: (row) => signed(row.drivers[name]) });
  return table({
    caption: "Unusual days", rows,
    none: empty("Nothing unusual.", "Each workflow is compared with the same weekday of the four weeks before."),
    columns: [
      { label: "day", sort: (row) => row.day, cell: (row) => row.day },
      { label: "team", sort: (row) => row.team, cell: (row) => row.team },
      { label: "workflow", sort: (row) => row.workflow, cell: (row) => link("explore", { by: "model", team: row.team, workflow: row.workflow, period: "30d" }, named(row.workflow)) },
      { label: "cost", number: true, sort: (row) => row.cost_nanousd, cell: (row) => usd(row.cost_nanousd) },
      { label: "usual", number: true, sort: (row) => row.usual_nanousd, cell: (row) => usd(row.usual_nanousd) },
      driver("change", "change"), driver("volume", "volume"), driver("mix", "mix"), driver("tokens a call", "tokens_per_call"), driver("price", "price"),
      { label: "models", cell: (row) => row.models.join(", ") },
    ],
  });
}

// What each kind comes to, and the findings of all of them or of one.
function wasted({ found, since, query, go }) {
  if (!found.length) return empty("Nothing was found.", "Looked for: answers nobody received, failures that were charged, prompts that were sent again, reasoning, small tasks on dear models, input that is not cached, limits far above use.");
  const kind = query.kind in KINDS ? query.kind : "";
  const sums = Object.keys(KINDS).map((name) => {
    const rows = found.filter((row) => row.kind === name);
    const sum = (value) => rows.reduce((all, row) => all + value(row), 0);
    return { name, calls: sum((row) => row.calls), month: sum((row) => row.nanousd_a_month), most: rows.some((row) => row.at_most), found: rows.length };
  }).filter((row) => row.found).sort((a, b) => (a.name === "limits") - (b.name === "limits") || b.month - a.month);
  const only = (name) => go({ ...query, kind: name, all: "" });
  const rows = kind ? found.filter((row) => row.kind === kind) : found;
  const shown = query.all === "1" ? rows : rows.slice(0, SHOWN);
  return [
    table({
      caption: "Waste by kind", rows: sums,
      columns: [
        { label: "kind", cell: (row) => h("button", { type: "button", class: "text", "aria-pressed": row.name === kind ? "true" : "false", onclick: () => only(row.name === kind ? "" : row.name) }, KINDS[row.name]) },
        { label: "found", number: true, minor: true, sort: (row) => row.found, cell: (row) => count(row.found) },
        { label: "calls", number: true, sort: (row) => row.calls, cell: (row) => count(row.calls) },
        { label: "a month", number: true, sort: (row) => row.month, cell: (row) => [row.most ? "at most " : "", usd(row.month)] },
      ],
    }),
    h("p", { class: "muted gap" }, "A call may count under several kinds: they do not add up."),
    kind ? h("ul", { class: "chips", "aria-label": "Kind" }, h("li", {}, h("button", { type: "button", class: "chip", "aria-label": "Remove kind " + KINDS[kind], onclick: () => only("") }, KINDS[kind] + " ×"))) : null,
    wasteTable(shown, since),
    shown.length < rows.length ? h("button", { type: "button", onclick: () => go({ ...query, all: "1" }) }, "Show all " + count(rows.length)) : null,
  ];
}

function wasteTable(rows, since) {
  const calls = (row) => link("requests", { team: row.team, workflow: row.workflow, model: row.model, provider: row.provider, outcome: OUTCOMES[row.kind], since },
    count(row.calls));
  return table({
    caption: "Waste by workflow and model", rows,
    columns: [
      { label: "what", sort: (row) => KINDS[row.kind], cell: (row) => [KINDS[row.kind] || row.kind, h("span", { class: "muted block" }, row.because)], class: "wide-text" },
      { label: "team", minor: true, sort: (row) => row.team, cell: (row) => row.team },
      { label: "workflow", sort: (row) => row.workflow, cell: (row) => named(row.workflow) },
      { label: "model", minor: true, sort: (row) => row.model, cell: (row) => row.model },
      { label: "calls", minor: true, number: true, sort: (row) => row.calls, cell: calls },
      { label: "in the period", number: true, minor: true, sort: (row) => row.nanousd, cell: (row) => [row.at_most ? "at most " : "", usd(row.nanousd)] },
      { label: "a month", number: true, sort: (row) => row.nanousd_a_month, cell: (row) => usd(row.nanousd_a_month) },
      { label: "examples", cell: (row) => row.examples.map((id, index) => [index ? " " : "", h("a", { href: "#/requests/" + encodeURIComponent(id) }, (EXAMPLES[row.kind] || ["newest", "dearest"])[index])]) },
    ],
  });
}

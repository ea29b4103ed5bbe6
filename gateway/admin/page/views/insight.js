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
const SHOWN = 100;

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
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Insight"), field("Period", select(DAYS, days, (value) => go({ days: value })))),
    h("section", { class: "panel", "aria-labelledby": "month" }, h("h2", { id: "month" }, "This month"), ahead(month)),
    h("section", { class: "panel", "aria-labelledby": "odd" }, h("h2", { id: "odd" }, "Unusual days, and what drove them"), oddTable(odd.anomalies)),
    h("section", { class: "panel", "aria-labelledby": "waste" }, h("h2", { id: "waste" }, "Money that bought little"), wasteTable(lost.findings, since)));
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

function wasteTable(rows, since) {
  const calls = (row) => link("requests", { team: row.team, workflow: row.workflow, model: row.model, provider: row.provider, outcome: OUTCOMES[row.kind], since },
    count(row.calls));
  const shown = table({
    caption: "Waste by workflow and model", rows: rows.slice(0, SHOWN),
    none: empty("Nothing was found.", "Looked for: answers nobody received, failures that were charged, prompts that were sent again, reasoning, small tasks on dear models, input that is not cached, limits far above use."),
    columns: [
      { label: "what", sort: (row) => KINDS[row.kind], cell: (row) => [KINDS[row.kind] || row.kind, h("span", { class: "muted block" }, row.because)], class: "wide-text" },
      { label: "team", sort: (row) => row.team, cell: (row) => row.team },
      { label: "workflow", sort: (row) => row.workflow, cell: (row) => named(row.workflow) },
      { label: "model", sort: (row) => row.model, cell: (row) => row.model },
      { label: "calls", number: true, sort: (row) => row.calls, cell: calls },
      { label: "in the period", number: true, sort: (row) => row.nanousd, cell: (row) => [row.at_most ? "at most " : "", usd(row.nanousd)] },
      { label: "a month", number: true, sort: (row) => row.nanousd_a_month, cell: (row) => usd(row.nanousd_a_month) },
      { label: "examples", cell: (row) => row.examples.map((id, index) => [index ? " " : "", h("a", { href: "#/requests/" + encodeURIComponent(id) }, (EXAMPLES[row.kind] || ["newest", "dearest"])[index])]) },
    ],
  });
  return [shown, rows.length > SHOWN && h("p", { class: "muted" }, "The " + SHOWN + " dearest of " + count(rows.length) + " are shown.")];
}

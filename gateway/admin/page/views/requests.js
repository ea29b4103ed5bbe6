// The newest records, live if wanted; and one record with its lines, its price, its quotas and its times.

import { get } from "../api.js";
import { copy, empty, field, fill, h, link, select, table } from "../dom.js";
import { count, ms, named, short, time, usd } from "../format.js";

const OUTCOMES = ["completed", "client_disconnected", "upstream_error", "upstream_timeout", "rejected", "recovered"];
const FILTERS = ["team", "workflow", "model", "provider", "key"];
const LIVE_MS = 2000;

export async function requests(view) {
  if (view.rest.length) return one(view);
  const { main, query, signal, go } = view;
  const asked = {};
  for (const name of [...FILTERS, "outcome", "since", "until"]) if (query[name]) asked[name] = query[name];
  let page = await get("requests", { ...asked, limit: 50 }, signal);
  let rows = page.requests;
  const place = h("div");
  const more = h("button", { type: "button", onclick: older }, "Older");
  const live = h("button", { type: "button", "aria-pressed": query.live === "1" ? "true" : "false", onclick: () => go({ ...query, live: query.live === "1" ? "" : "1" }) },
    query.live === "1" ? "Live: on" : "Live: off");
  async function older() {
    page = await get("requests", { ...asked, limit: 50, cursor: page.cursor }, signal);
    rows = rows.concat(page.requests);
    draw();
  }
  function draw() {
    fill(place, list(rows));
    more.hidden = !page.cursor;
  }
  fill(main,
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Requests"), live),
    h("form", { class: "controls", onsubmit: (event) => {
      event.preventDefault();
      const next = { live: query.live, since: query.since, until: query.until };
      for (const control of event.target.elements) if (control.name) next[control.name] = control.value.trim();
      go(next);
    } }, FILTERS.map((name) => field(name, h("input", { name, value: query[name] || "", size: 12 }))),
    field("outcome", Object.assign(select([["", "all"], ...OUTCOMES.map((name) => [name, name.replace("_", " ")])], query.outcome || ""), { name: "outcome" })),
    h("button", { type: "submit" }, "Show")),
    query.since || query.until ? h("ul", { class: "chips", "aria-label": "Period" }, ["since", "until"].filter((name) => query[name]).map((name) =>
      h("li", {}, h("button", { type: "button", class: "chip", "aria-label": "Remove " + name, onclick: () => go({ ...query, [name]: "" }) }, name + " " + time(query[name]) + " ×")))) : null,
    h("section", { class: "panel", "aria-label": "Records" }, place, more));
  draw();
  if (query.live === "1") poll();
  function poll() {
    const timer = setTimeout(async () => {
      try {
        const fresh = await get("requests", { ...asked, limit: 50 }, signal);
        const known = new Set(fresh.requests.map((row) => row.request_id));
        rows = fresh.requests.concat(rows.filter((row) => !known.has(row.request_id))).slice(0, 500);
        const focused = document.activeElement && place.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        draw();
        if (focused) place.querySelector('a[href="' + CSS.escape(focused) + '"]')?.focus();
      } catch (error) {
        if (signal.aborted) return;
      }
      poll();
    }, LIVE_MS);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  }
}

function list(rows) {
  return table({
    caption: "Requests, the newest first", rows,
    none: empty("No requests match.", "A call shows up here as soon as it has ended."),
    columns: [
      { label: "started", cell: (row) => h("a", { href: "#/requests/" + encodeURIComponent(row.request_id) },
        time(row.started_at).split(" ").map((part, index) => [index ? " " : "", h("span", { class: "nowrap" }, part)])) },
      { label: "team", cell: (row) => row.team },
      { label: "workflow", minor: true, cell: (row) => named(row.workflow) },
      { label: "model", minor: true, cell: (row) => row.model || row.model_requested },
      { label: "outcome", cell: (row) => h("span", { class: "badge " + (row.outcome === "completed" && row.status < 400 ? "good" : "bad") }, row.outcome.replace("_", " ") + " " + row.status) },
      { label: "input", number: true, minor: true, cell: (row) => short(row.usage.input_tokens_total || 0) },
      { label: "output", number: true, minor: true, cell: (row) => short(row.usage.output_tokens_total || 0) },
      { label: "cost", number: true, cell: (row) => (row.priced ? usd(row.cost_nanousd) : "no price") },
      { label: "latency", number: true, minor: true, cell: (row) => ms(row.latency_ms) },
    ],
  });
}

async function one({ main, rest, signal }) {
  const row = await get("requests/" + encodeURIComponent(rest[0]), {}, signal);
  const same = row.prompt_hash ? (await get("requests", around(row), signal)).requests : [];
  const adjusted = row.adjustments.reduce((sum, each) => sum + each.delta_nanousd, 0);
  fill(main,
    h("p", {}, link("requests", {}, "← Requests")),
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Request"), h("button", { type: "button", onclick: () => copy(row.request_id, "The id was copied.") }, "Copy id")),
    h("p", { class: "mono" }, row.request_id),
    h("div", { class: "cards" },
      h("div", { class: "card" }, h("p", { class: "muted" }, "Cost"), h("p", { class: "value" }, row.priced || adjusted ? usd(row.cost_nanousd + adjusted) : "no price"), h("p", { class: "muted" }, count(row.cost_nanousd + adjusted) + " nanodollars" + (adjusted ? ", with adjustments" : ""))),
      h("div", { class: "card" }, h("p", { class: "muted" }, "Outcome"), h("p", { class: "value" }, row.outcome.replace("_", " ")), h("p", { class: "muted" }, "HTTP " + row.status + (row.refused_by ? ", refused by " + row.refused_by : ""))),
      h("div", { class: "card" }, h("p", { class: "muted" }, "Usage"), h("p", { class: "value" }, short(row.usage.input_tokens_total || 0) + " → " + short(row.usage.output_tokens_total || 0)), h("p", { class: "muted" }, "tokens, source: " + row.usage_source))),
    h("section", { class: "panel", "aria-labelledby": "times" }, h("h2", { id: "times" }, "Where the time went"), waterfall(row)),
    h("section", { class: "panel", "aria-labelledby": "bill" }, h("h2", { id: "bill" }, "Bill"),
      table({
        caption: "Lines of the bill", rows: row.cost_lines, none: empty("No line.", "The call cost nothing, or has no known price."),
        columns: [
          { label: "item", cell: (line) => line.item },
          { label: "quantity", number: true, cell: (line) => count(line.quantity) + " " + line.unit + (line.quantity === 1 ? "" : "s") },
          { label: "nanodollars", number: true, minor: true, cell: (line) => count(line.nanousd) },
          { label: "dollars", number: true, cell: (line) => usd(line.nanousd) },
        ],
      }),
      h("p", { class: "muted" }, "Price: ", row.price || "none"),
      row.adjustments.length ? table({
        caption: "Adjustments", rows: row.adjustments,
        columns: [
          { label: "booked", cell: (each) => time(each.at) }, { label: "why", cell: (each) => each.reason || each.kind },
          { label: "price", cell: (each) => each.price }, { label: "change", number: true, cell: (each) => usd(each.delta_nanousd) },
        ],
      }) : null),
    h("section", { class: "panel", "aria-labelledby": "facts" }, h("h2", { id: "facts" }, "Facts"), h("dl", { class: "facts wide" }, facts(row).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))))),
    same.length > 1 ? h("section", { class: "panel", "aria-labelledby": "same" }, h("h2", { id: "same" }, "The same prompt, an hour before to an hour after"), list(same)) : null);
}

function around(row) {
  const at = (hours) => new Date(Date.parse(row.started_at) + hours * 3600e3).toISOString();
  return { prompt_hash: row.prompt_hash, since: at(-1), until: at(1), limit: 50 };
}

function facts(row) {
  const tags = Object.entries(row.tags).map(([name, value]) => name + "=" + value).join(", ");
  const usage = Object.entries(row.usage).map(([name, value]) => name.replaceAll("_", " ") + ": " + count(value)).join(", ");
  return [
    ["team", row.team], ["workflow", named(row.workflow)], ["key", row.key_id], ["tags", tags || "–"], ["provider", row.provider],
    ["asked for", row.model_requested], ["answered by", row.model || "–"], ["call", row.method + " " + row.path], ["stream", row.stream ? "yes" : "no"],
    ["started", time(row.started_at)], ["ended", time(row.ended_at)], ["usage", usage || "–"], ["service tier", row.service_tier || "–"],
    ["quotas", row.quotas.join(", ") || "none"], ["reserved", usd(row.reserved_nanousd)], ["request", count(row.request_bytes) + " bytes"],
    ["answer", count(row.response_bytes) + " bytes"], ["trace", row.trace_id || "–"], ["prompt", row.prompt_hash || "–"],
  ];
}

function waterfall(row) {
  const whole = Math.max(row.latency_ms, 0.001);
  const own = Math.min(row.gateway_ms, whole);
  const first = row.ttft_ms === null ? null : Math.max(0, Math.min(row.ttft_ms, whole) - own);
  const parts = [["Gateway", 0, own, "p0"]];
  if (first === null) parts.push(["Provider", own, whole - own, "p1"]);
  else parts.push(["Provider, to the first token", own, first, "p1"], ["Provider, to the end", own + first, Math.max(0, whole - own - first), "p2"]);
  return h("ol", { class: "waterfall" }, parts.map(([name, start, length, paint]) => h("li", {},
    h("span", { class: "name" }, name), h("span", { class: "track", "aria-hidden": "true" },
      h("span", { class: "part " + paint, style: { left: (start / whole) * 100 + "%", width: Math.max(0.4, (length / whole) * 100) + "%" } })),
    h("span", { class: "num" }, ms(length)))));
}

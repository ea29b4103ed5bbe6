// Price, speed and use of each model, side by side.

import { get } from "../api.js";
import { empty, field, fill, h, link, select, table } from "../dom.js";
import { count, ms, short, usd } from "../format.js";
import { PRESETS, period } from "../periods.js";

export async function models({ main, query, signal, go }) {
  const when = period(query);
  const answer = await get("models", { since: when.since, until: when.until }, signal);
  const rate = (price, item) => {
    const found = price && price.rates.find((one) => one.item === item);
    return found ? Number(found.usd) : null;
  };
  const dollars = (value) => (value === null ? "–" : "$" + value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 4 }));
  const number = (label, value, cell) => ({ label, number: true, sort: value, cell: (row) => cell(value(row)) });
  const priced = (label, item) => ({
    label, number: true, sort: (row) => rate(row.price, item), cell: (row) => {
      const [own, listed] = [rate(row.price, item), rate(row.list_price, item)];
      return [dollars(own), listed !== null && listed !== own ? h("span", { class: "muted" }, " list " + dollars(listed)) : null];
    },
  });
  fill(main,
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Models"),
      field("Period", select(PRESETS.filter(([key]) => key !== "custom"), query.period || "30d", (value) => go({ period: value })))),
    h("section", { class: "panel", "aria-label": "Models" }, table({
      caption: "Models, prices in dollars a million tokens", rows: answer.models, sorted: 3,
      none: empty("No model was called in this period.", "Look further back, or make a first call."),
      columns: [
        { label: "model", sort: (row) => row.model, cell: (row) => link("explore", { by: "team", model: row.model, provider: row.provider, period: query.period }, row.model || "(none)") },
        { label: "provider", minor: true, sort: (row) => row.provider, cell: (row) => row.provider },
        number("requests", (row) => row.requests, count),
        number("cost", (row) => row.cost_nanousd, usd),
        priced("input", "input"), priced("cached", "cache_read"), priced("output", "output"),
        number("paid a million", (row) => (row.input_tokens + row.output_tokens ? row.cost_nanousd * 1e6 / (row.input_tokens + row.output_tokens) : null), usd),
        number("tokens in", (row) => row.input_tokens, short),
        number("tokens out", (row) => row.output_tokens, short),
        number("first token", (row) => row.ttft_ms, ms),
        number("latency", (row) => row.latency_ms, ms),
        number("tokens a second", (row) => row.output_tokens_per_second, (value) => (value === null ? "–" : count(Math.round(value)))),
        { label: "price from", class: "wide-text", cell: (row) => h("span", { class: "muted" }, row.price ? row.price.source : "no price is known") },
      ],
    })));
}

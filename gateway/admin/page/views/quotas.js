// How each quota stands, when it will be used up at this pace, and who uses it.

import { get } from "../api.js";
import { empty, fill, h, link } from "../dom.js";
import { count, named, percent, span, time, usd } from "../format.js";

const LENGTHS = { minute: 60, hour: 3600, day: 86400, week: 7 * 86400 };

export async function quotas({ main, query, signal }) {
  const answer = await get("quotas", query.quota ? { quota: query.quota } : {}, signal);
  const rows = answer.quotas;
  fill(main,
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Quotas"),
      query.quota && link("quotas", {}, "Show all")),
    rows.length ? h("ul", { class: "plain quotas" }, rows.slice(0, 500).map(one)) :
      empty("There are no quotas.", "Add a [[quotas]] table to the configuration and reload: what would otherwise be spent is then refused."),
    rows.length > 500 && h("p", { class: "muted" }, "The 500 fullest of " + count(rows.length) + " are shown."));
}

const amount = (unit, value) => (unit === "usd" ? usd(value * 1e9) : count(value));

function one(row) {
  const [used, held] = row.limit ? [row.used / row.limit, row.reserved / row.limit] : [1, 0];
  const unit = row.unit.replace("_", " ");
  const pace = forecast(row);
  return h("li", { class: "panel quota" },
    h("div", { class: "split" },
      h("h2", {}, row.quota, row.bucket && h("span", { class: "muted" }, " · " + named(row.bucket))),
      h("span", { class: "badge plain" }, row.action === "warn" ? "warns" : "blocks")),
    h("div", { class: "meter tall", role: "meter", "aria-label": row.quota + " " + row.bucket + " " + unit, "aria-valuemin": 0,
      "aria-valuemax": 100, "aria-valuenow": Math.min(100, Math.round(row.share * 100)),
      "aria-valuetext": amount(row.unit, row.used) + " used, " + amount(row.unit, row.reserved) + " reserved, of " + amount(row.unit, row.limit) },
      h("div", { class: "fill" + (row.share >= 1 ? " full" : row.near ? " near" : ""), style: { width: Math.min(100, used * 100) + "%" } }),
      h("div", { class: "fill held", style: { width: Math.min(100 - Math.min(100, used * 100), held * 100) + "%" } })),
    h("dl", { class: "facts" },
      fact("used", amount(row.unit, row.used) + " (" + percent(used) + ")"),
      fact("reserved", amount(row.unit, row.reserved)),
      fact("limit", amount(row.unit, row.limit) + " " + (row.unit === "usd" ? "" : unit) + " a " + row.window),
      fact("left", amount(row.unit, row.left)),
      fact("resets", row.resets_at ? time(row.resets_at).slice(0, 16) : "never"),
      fact("at this pace", pace)),
    h("p", {}, link("explore", eaters(row), "Who uses it")));
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function forecast(row) {
  if (row.left <= 0 && row.limit > 0) return "used up";
  if (!row.resets_at || row.unit === "concurrent") return "–";
  const end = Date.parse(row.resets_at) / 1000;
  const now = Date.now() / 1000;
  let length = LENGTHS[row.window];
  if (row.window === "month") {
    const at = new Date(end * 1000 - 1000);
    length = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 0)).getUTCDate() * 86400;
  }
  if (!length) return "–";
  const passed = now - (end - length);
  if (passed <= 0 || !row.used) return "not used up";
  const rate = row.used / passed;
  const left = row.left / rate;
  if (left < end - now) return "used up in " + span(left);
  return percent((row.used + rate * (end - now)) / row.limit) + " at the reset";
}

function eaters(row) {
  const query = { by: "workflow,model", period: row.window === "month" ? "month" : row.window === "week" ? "7d" : "24h" };
  for (const [name, patterns] of Object.entries(row.match || {})) {
    if (patterns.every((pattern) => !/[*?[]/.test(pattern))) query[name] = patterns;
  }
  (row.per || []).forEach((name, index) => {
    if (row.per.length === 1) query[name] = row.bucket;
    else if (row.bucket.split("|").length === row.per.length) query[name] = row.bucket.split("|")[index];
  });
  return query;
}

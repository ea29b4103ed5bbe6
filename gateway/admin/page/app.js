// The page: which view is shown, who looks, dark or light.

import { get } from "./api.js";
import { empty, fill, h } from "./dom.js";
import { explore } from "./views/explore.js";
import { insight } from "./views/insight.js";
import { keys } from "./views/keys.js";
import { models } from "./views/models.js";
import { overview } from "./views/overview.js";
import { quotas } from "./views/quotas.js";
import { requests } from "./views/requests.js";

const VIEWS = { overview, explore, insight, quotas, requests, keys, models };
const TITLES = { overview: "Overview", explore: "Explore", insight: "Insight", quotas: "Quotas", requests: "Requests", keys: "Keys", models: "Models" };
const main = document.getElementById("main");
let leave = null;
let me = { name: "", role: "read", team: null };
let shown = "";

function place() {
  const [path, query] = (location.hash.slice(2) || "overview").split("?");
  const [name, ...rest] = path.split("/");
  const values = {};
  for (const [key, value] of new URLSearchParams(query || "")) {
    if (key in values) values[key] = [values[key], value].flat();
    else values[key] = value;
  }
  return { name: name in VIEWS ? name : "overview", rest: rest.map(decodeURIComponent), query: values };
}

function navigation(name) {
  fill(document.getElementById("nav"), h("ul", {}, Object.entries(TITLES).map(([key, title]) =>
    h("li", {}, h("a", { href: "#/" + key, "aria-current": key === name ? "page" : null }, title)))));
  const nav = document.getElementById("nav");
  const current = nav.querySelector("[aria-current]");
  nav.scrollLeft = current.offsetLeft + current.offsetWidth / 2 - nav.offsetWidth / 2;
}

async function show() {
  const at = place();
  if (leave) leave.abort();
  leave = new AbortController();
  const signal = leave.signal;
  navigation(at.name);
  document.title = TITLES[at.name] + " · Spendgate";
  const key = at.name + "/" + at.rest.join("/");
  const moved = shown !== key;
  const focus = document.activeElement;
  const kept = !moved && main.contains(focus) ? { focus, tag: focus.tagName, name: named(focus) } : null;
  shown = key;
  main.setAttribute("aria-busy", "true");
  if (moved) fill(main, h("h1", { tabindex: "-1" }, TITLES[at.name]), h("p", { class: "muted" }, "Reading the ledger…"));
  try {
    await VIEWS[at.name]({ main, query: at.query, rest: at.rest, me, signal, go });
    if (kept && !kept.focus.isConnected) refocus(kept);
    else if (moved && document.activeElement === document.body) refocus(null);
    main.setAttribute("aria-busy", "false");
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    fill(main, h("h1", { tabindex: "-1" }, TITLES[at.name]), empty("This could not be shown.", error.message));
    main.setAttribute("aria-busy", "false");
    if (!error.status && error.status !== 0) throw error;
  }
}

const named = (element) => element.getAttribute("aria-label") || element.labels?.[0]?.textContent || element.textContent;

// The view was drawn again: the focus goes to what has the name of what had it, else to the heading.
function refocus(before) {
  const same = before && [...main.querySelectorAll(before.tag)].find((one) => named(one) === before.name);
  (same || main.querySelector("h1"))?.focus({ preventScroll: true });
}

// Change the query of the view that is shown; the link can be shared.
function go(query) {
  const [path] = location.hash.slice(2).split("?");
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== undefined && one !== null && one !== "") params.append(name, one);
  }
  location.hash = "#/" + (path || "overview") + (params.size ? "?" + params : "");
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("spendgate-theme", root.dataset.theme);
  show();
});
addEventListener("hashchange", show);
get("me").then((answer) => {
  me = answer;
  const who = answer.name === "local" ? "" : answer.name + (answer.team ? " · team " + answer.team : "");
  fill(document.getElementById("who"), who, answer.name === "local" ? null :
    h("form", { method: "post", action: "/ui/logout", class: "inline" }, h("button", { class: "quiet", type: "submit" }, "Log out")));
}).catch(() => {}).then(show);

// Virtual keys: made, rotated, revoked. A secret is shown once.

import { call, get } from "../api.js";
import { copy, empty, field, fill, h, link, say, table } from "../dom.js";
import { named, time } from "../format.js";

export async function keys(view) {
  const { main, me, signal } = view;
  const answer = await get("keys", {}, signal);
  const may = me.role === "operate";
  const news = h("div");
  const reload = async (children) => {
    await keys(view);
    main.querySelector("#news")?.replaceChildren(...children);
  };
  news.id = "news";
  fill(main,
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Keys"),
      may && h("button", { type: "button", class: "primary", onclick: () => create(reload) }, "New key")),
    news,
    answer.cursor && h("p", { class: "muted" }, "The first 10,000 keys are shown; the API has all."),
    h("section", { class: "panel", "aria-label": "Keys" }, table({
      caption: "Virtual keys", rows: answer.keys, sorted: 1,
      none: empty("There are no keys.", may ? "Make one: an application sends it instead of the provider's key." : "Ask an operator for one."),
      columns: [
        { label: "id", sort: (row) => row.id, class: "mono", cell: (row) => link("explore", { by: "model", key: row.id }, row.id) },
        { label: "team", sort: (row) => row.team, cell: (row) => row.team },
        { label: "workflow", sort: (row) => row.workflow, cell: (row) => named(row.workflow) },
        { label: "name", minor: true, sort: (row) => row.name, cell: (row) => row.name || "–" },
        { label: "tags", minor: true, cell: (row) => Object.entries(row.tags).map(([name, value]) => name + "=" + value).join(", ") || "–" },
        { label: "models", minor: true, cell: (row) => row.models.join(", ") || "all" },
        { label: "state", sort: (row) => row.state, cell: (row) => h("span", { class: "badge " + (row.state === "active" ? "good" : "bad") }, row.state) },
        { label: "made", minor: true, sort: (row) => row.created_at, cell: (row) => (row.configured ? "configuration" : time(row.created_at)) },
        { label: "expires", sort: (row) => row.expires_at, cell: (row) => time(row.expires_at) },
        ...(may ? [{ label: "actions", cell: (row) => actions(row, reload) }] : []),
      ],
    })));
}

function actions(row, reload) {
  if (row.configured || row.state !== "active") return "";
  return h("div", { class: "row" },
    h("button", { type: "button", "aria-label": "Rotate " + row.id, onclick: async () => {
      const made = await call("POST", "keys/" + encodeURIComponent(row.id) + "/rotate").catch(fail);
      if (made) reload([secret(made, "The old key works until you revoke it.")]);
    } }, "Rotate"),
    h("button", { type: "button", class: "danger", "aria-label": "Revoke " + row.id, onclick: async () => {
      if (!await sure("Revoke " + row.id + "?", "Its callers are refused within a second. This can't be undone.", "Revoke")) return;
      await call("DELETE", "keys/" + encodeURIComponent(row.id)).catch(fail);
      say(row.id + " is revoked");
      reload([]);
    } }, "Revoke"));
}

function fail(error) {
  sure("This was not done.", error.message);
}

function secret(made, hint) {
  const shown = h("div", { class: "panel secret", role: "alert" },
    h("h2", {}, "The secret of " + made.id), h("p", {}, "It is shown this once; only its hash is kept. ", hint || ""),
    h("p", { class: "row" }, h("code", { class: "mono" }, made.secret),
      h("button", { type: "button", onclick: () => copy(made.secret, "The secret was copied.") }, "Copy"),
      h("button", { type: "button", onclick: () => shown.remove() }, "Done")));
  return shown;
}

function dialog(...children) {
  const made = h("dialog", {}, ...children);
  made.addEventListener("close", () => made.remove());
  document.body.append(made);
  made.showModal();
  return made;
}

function sure(title, text, action) {
  return new Promise((resolve) => {
    const made = dialog(h("h2", {}, title), h("p", {}, text), h("div", { class: "row end" },
      h("button", { type: "button", onclick: () => made.close() }, action ? "Keep" : "Close"),
      action && h("button", { type: "button", class: "danger", onclick: () => made.close("yes") }, action)));
    made.setAttribute("aria-label", title);
    made.addEventListener("close", () => resolve(made.returnValue === "yes"));
  });
}

function create(reload) {
  const wrong = h("p", { class: "error", role: "alert", hidden: true });
  const inputs = {
    team: h("input", { required: true, maxlength: 128 }), workflow: h("input", { required: true, maxlength: 128 }),
    name: h("input", { maxlength: 128 }), tags: h("input", { placeholder: "env=prod, cost_center=4711" }),
    models: h("input", { placeholder: "gpt-4o*, claude-*" }), expires: h("input", { type: "date" }),
  };
  const labels = { team: "Team", workflow: "Workflow", name: "Name (optional)", tags: "Tags (optional)", models: "Models (default: all)", expires: "Expires (optional)" };
  const made = dialog(h("form", { onsubmit: async (event) => {
    event.preventDefault();
    const list = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);
    const body = { team: inputs.team.value.trim(), workflow: inputs.workflow.value.trim(), name: inputs.name.value.trim(), tags: {}, models: list(inputs.models.value) };
    for (const one of list(inputs.tags.value)) body.tags[one.split("=")[0]] = one.split("=").slice(1).join("=");
    if (inputs.expires.value) body.expires = inputs.expires.value;
    try {
      const answer = await call("POST", "keys", body);
      made.close();
      reload([secret(answer)]);
    } catch (error) {
      wrong.hidden = false;
      wrong.textContent = error.message;
    }
  } }, h("h2", {}, "New key"), wrong, Object.entries(inputs).map(([name, input]) => field(labels[name], input)),
  h("div", { class: "row end" }, h("button", { type: "button", onclick: () => made.close() }, "Cancel"), h("button", { type: "submit", class: "primary" }, "Make key"))));
  made.setAttribute("aria-label", "New key");
}

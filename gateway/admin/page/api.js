// The admin API. An answer that is no success is an Error with the problem's own words.

import { search } from "./dom.js";

export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

export async function get(path, query, signal) {
  return call("GET", path + search(query), undefined, signal);
}

export async function call(method, path, body, signal) {
  const options = { method, signal, credentials: "same-origin", headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch("/api/" + path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "No answer", "The gateway does not answer. Is it running?");
  }
  if (answer.status === 401) location.assign("/ui/login");
  if (answer.status === 204) return null;
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, said.title || "The gateway answered " + answer.status + ".", said.detail);
  return said;
}

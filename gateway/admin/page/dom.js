// Elements from values. Text is always a text node: nothing that a caller named is ever read as markup.

export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "value") element.value = value;
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : text(String(child)));
  }
}

// Names of ten thousand letters exist: what is longer than LONG is cut, the whole of it stands in the title.
const LONG = 300;
const SHOWN = 160;
function text(said) {
  if (said.length <= LONG) return document.createTextNode(said);
  const cut = document.createElement("span");
  cut.title = said;
  cut.append(said.slice(0, SHOWN).replace(/[\uD800-\uDBFF]$/, "") + "… (" + said.length.toLocaleString("en-US") + " characters)");
  return cut;
}

export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

export function say(text) {
  document.getElementById("status").textContent = text;
}

export function link(path, query, ...children) {
  return h("a", { href: "#/" + path + search(query) }, ...children);
}

export function search(query) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query || {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") params.append(name, one);
    }
  }
  const text = params.toString();
  return text ? "?" + text : "";
}

let ids = 0;
export function field(label, control) {
  control.id = control.id || "field-" + ++ids;
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control);
}

export function select(options, value, onchange) {
  const made = h("select", { onchange: (event) => onchange && onchange(event.target.value) });
  for (const [key, label] of options) made.append(h("option", { value: key, selected: key === value }, label));
  made.value = value;
  return made;
}

export function empty(title, ...hints) {
  return h("div", { class: "empty" }, h("p", { class: "big" }, title), hints.map((hint) => h("p", {}, hint)));
}

// A table that sorts by its headings. columns: {label, cell(row), sort(row)?, number?, minor?: not shown on a phone}
export function table({ caption, columns, rows, none, sorted }) {
  if (!rows.length) return none || empty("Nothing here.");
  let by = sorted === undefined ? -1 : sorted;
  let down = true;
  const body = h("tbody");
  const heads = columns.map((column, index) => {
    const head = h("th", { scope: "col", class: classes(column, "") });
    if (!column.sort) return fill(head, column.label);
    head.append(h("button", { type: "button", class: "sort", onclick: () => {
      down = by === index ? !down : Boolean(column.number);
      by = index;
      draw();
    } }, column.label));
    return head;
  });
  function draw() {
    const shown = [...rows];
    if (by >= 0) {
      const value = columns[by].sort;
      shown.sort((a, b) => compare(value(a), value(b)) * (down ? -1 : 1));
    }
    heads.forEach((head, index) => {
      if (!columns[index].sort) return;
      head.setAttribute("aria-sort", index === by ? (down ? "descending" : "ascending") : "none");
    });
    fill(body, shown.map((row) => h("tr", {}, columns.map((column, index) =>
      h(index ? "td" : "th", { scope: index ? null : "row", class: classes(column, column.class) }, column.cell(row))))));
  }
  draw();
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "sr" }, caption), h("thead", {}, h("tr", {}, heads)), body));
}

function classes(column, own) {
  return [column.number ? "num" : own, column.minor && "minor"].filter(Boolean).join(" ");
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

export function copy(text, said) {
  navigator.clipboard.writeText(text).then(() => say(said), () => say("The browser did not allow copying."));
}

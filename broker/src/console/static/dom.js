// Elements, and how a new picture of the page is laid over the old one.
//
// Names of topics, groups and clients are chosen by others. They become text nodes and attribute values here and
// nothing else: no function of the console takes markup.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "oninput", "onchange", "onpointermove", "onpointerleave"];

/** An HTML element. Attributes that are null or false are left out; handlers are functions. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (HANDLERS.includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** Makes the children of `parent` equal to `fresh`, keeping what has focus, a selection or is opened. */
export function patch(parent, fresh) {
  const old = [...parent.childNodes];
  fresh.forEach((node, place) => {
    const known = old[place];
    if (!known) parent.append(node);
    else if (isSame(known, node)) update(known, node);
    else known.replaceWith(node);
  });
  old.slice(fresh.length).forEach((node) => node.remove());
}

function isSame(known, fresh) {
  const key = (node) => (node.getAttribute ? node.getAttribute("data-key") : null);
  return known.nodeName === fresh.nodeName && key(known) === key(fresh);
}

function update(known, fresh) {
  if (known.nodeType === Node.TEXT_NODE) {
    if (known.data !== fresh.data) known.data = fresh.data;
    return;
  }
  // Whether a part is opened is its reader's business.
  const kept = known.nodeName === "DETAILS" ? ["open"] : [];
  for (const { name } of [...known.attributes]) {
    if (!fresh.hasAttribute(name) && !kept.includes(name)) known.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (known.getAttribute(name) !== value && !kept.includes(name)) known.setAttribute(name, value);
  }
  HANDLERS.forEach((name) => { if (known[name] !== fresh[name]) known[name] = fresh[name]; });
  patch(known, [...fresh.childNodes]);
}

/** A heading with what belongs beside it. */
export function heading(title, ...beside) {
  return h("div", { class: "heading" }, h("h1", {}, title), ...beside);
}

/** A figure with its name. */
export function tile(name, value, ...below) {
  return h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, value), below.length > 0 && h("dd", { class: "below" }, below));
}

export function tiles(...all) {
  return h("dl", { class: "tiles" }, all);
}

export function card(title, ...content) {
  return h("section", { class: "card" }, title && h("h2", {}, title), content);
}

/**
 * A table. A column is `{name, of, number, wide}`: `of` makes the cell of a row, numbers are set to the right.
 * `link` gives the target of a row.
 */
export function table(label, columns, rows, { link, empty = "Nothing here." } = {}) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const kind = (column) => [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
  const cell = (row) => (column) => h("td", { class: kind(column) }, column.of(row));
  const line = (row) => h("tr", { class: link && "linked", onclick: link && ((event) => follow(event, link(row))) }, columns.map(cell(row)));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h("table", {},
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: kind(column) }, column.name)))),
      h("tbody", {}, rows.map(line))));
}

/** A click on a row follows its link, unless it selects text or is on a link or control of its own. */
function follow(event, target) {
  if (event.target.closest("a, button, summary, input") || String(getSelection()) !== "") return;
  location.hash = target;
}

export function badge(text, kind = "plain") {
  return h("span", { class: `badge ${kind}` }, text);
}

/** A bar of `share` (0 to 1) behind a figure. */
export function bar(share) {
  const width = Math.max(0, Math.min(1, share || 0)) * 100;
  return s("svg", { class: "bar", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "track", width: 100, height: 4, rx: 2 }),
    s("rect", { class: "fill", width: width.toFixed(1), height: 4, rx: 2 }));
}

/** Where one is in a long list, and the way on. */
export function pager(page, state, change) {
  const places = state.places ?? [];
  if (places.length === 0 && !page.next) return null;
  return h("nav", { class: "pager", "aria-label": "Pages" },
    h("button", { type: "button", disabled: places.length === 0, onclick: () => change({ places: places.slice(0, -1) }) }, "← Back"),
    h("span", {}, `page ${places.length + 1}`),
    h("button", { type: "button", disabled: !page.next, onclick: () => change({ places: [...places, page.next] }) }, "Next →"));
}

/** A field to search with. */
export function search(label, state, change) {
  return h("input", { type: "search", class: "search", placeholder: label, "aria-label": label, spellcheck: "false",
    oninput: (event) => change({ search: event.target.value, places: [] }) });
}

/** A switch. */
export function toggle(label, isOn, change) {
  return h("label", { class: "toggle" }, h("input", { type: "checkbox", checked: isOn, onchange: (event) => change(event.target.checked) }), label);
}

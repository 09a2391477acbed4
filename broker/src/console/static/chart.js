// Curves as inline SVG, drawn for the width that there is.

import { h, s } from "./dom.js";
import { time } from "./format.js";

const EDGE = { left: 72, right: 12, top: 12, bottom: 26 };

/** Full heights of a chart of times, in milliseconds, whose halves can be read too. */
const TIMES = [1, 2, 4, 10, 20, 60, 120, 240, 600, 1_200, 3_600, 7_200, 14_400, 43_200, 86_400].map((seconds) => seconds * 1_000);

/** The least full height that is not below `value`: a time, or one of 1, 2, 5, 10, 20, … */
function round(value, isTime) {
  const time = isTime && TIMES.find((limit) => limit >= value);
  if (time) return time;
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((limit) => limit >= value);
}

/**
 * A curve of `points` (`[time, value]`, null where nothing is known) from `from` to `to`. `text` writes a value,
 * `isTime` says that values are milliseconds.
 */
export function curve({ label, points, from, to, width, height = 190, text, isTime }) {
  const known = points.filter(([, value]) => value !== null);
  const top = round(Math.max(1, ...known.map(([, value]) => value)), isTime);
  const x = (at) => EDGE.left + (Math.max(at, from) - from) / Math.max(1, to - from) * (width - EDGE.left - EDGE.right);
  const y = (value) => height - EDGE.bottom - value / top * (height - EDGE.top - EDGE.bottom);
  const line = known.map(([at, value], place) => `${place ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const area = known.length > 1 && `${line}L${x(known.at(-1)[0]).toFixed(1)} ${y(0)}L${x(known[0][0]).toFixed(1)} ${y(0)}Z`;
  const latest = known.at(-1);
  return h("figure", { class: "chart" },
    h("figcaption", {}, h("span", {}, label), h("strong", {}, latest ? text(latest[1]) : "not known")),
    s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": summary(label, known, text),
      onpointermove: (event) => point(event, known, { x, y, width, height, text }), onpointerleave: (event) => unpoint(event) },
      grid(width, top, y, text), ticks(from, to, x, height),
      area && s("path", { class: "area", d: area }), line && s("path", { class: "line", d: line }),
      latest && s("circle", { class: "dot", cx: x(latest[0]).toFixed(1), cy: y(latest[1]).toFixed(1), r: 3.5 }),
      s("g", { class: "pointed" })));
}

function summary(label, known, text) {
  if (known.length === 0) return `${label}: not known`;
  const values = known.map(([, value]) => value);
  return `${label}: now ${text(values.at(-1))}, at most ${text(Math.max(...values))}`;
}

function grid(width, top, y, text) {
  return [0, 0.5, 1].map((share) => s("g", { class: "grid" },
    s("line", { x1: EDGE.left, x2: width - EDGE.right, y1: y(top * share), y2: y(top * share) }),
    s("text", { x: EDGE.left - 10, y: y(top * share) + 4, "text-anchor": "end" }, text(top * share))));
}

function ticks(from, to, x, height) {
  const parts = 4, withSeconds = to - from < 600_000;
  return Array.from({ length: parts + 1 }, (_, place) => {
    const at = from + (to - from) * place / parts;
    const anchor = place === 0 ? "start" : place === parts ? "end" : "middle";
    return s("text", { class: "tick", x: x(at).toFixed(1), y: height - 6, "text-anchor": anchor }, time(at, withSeconds));
  });
}

/** Shows the point that is nearest to the pointer. */
function point(event, known, { x, y, width, height, text }) {
  if (known.length === 0) return;
  const chart = event.currentTarget, place = chart.getBoundingClientRect();
  const at = (event.clientX - place.left) * width / place.width;
  const [when, value] = known.reduce((best, one) => (Math.abs(x(one[0]) - at) < Math.abs(x(best[0]) - at) ? one : best));
  const left = x(when), isRight = left > width / 2;
  chart.querySelector(".pointed").replaceChildren(
    s("line", { x1: left, x2: left, y1: EDGE.top, y2: height - EDGE.bottom }),
    s("circle", { cx: left, cy: y(value), r: 4 }),
    s("text", { x: left + (isRight ? -10 : 10), y: EDGE.top + 10, "text-anchor": isRight ? "end" : "start" }, `${text(value)} at ${time(when, true)}`));
}

function unpoint(event) {
  event.currentTarget.querySelector(".pointed").replaceChildren();
}

/** A small curve without axes. */
export function spark(values, width = 220, height = 44) {
  const top = Math.max(1, ...values);
  const step = width / Math.max(1, values.length - 1);
  const line = values.map((value, place) => `${place ? "L" : "M"}${(place * step).toFixed(1)} ${(height - 3 - value / top * (height - 6)).toFixed(1)}`).join("");
  return s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    values.length > 1 && s("path", { class: "area", d: `${line}L${width} ${height}L0 ${height}Z` }),
    values.length > 1 && s("path", { class: "line", d: line }));
}

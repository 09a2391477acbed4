// The frame of the console: which view is open, when it is drawn anew, and what is said when the broker is silent.

import { Refused, poll } from "./api.js";
import * as configs from "./configs.js";
import { card, h, heading, patch } from "./dom.js";
import * as groups from "./groups.js";
import * as overview from "./overview.js";
import * as quorum from "./quorum.js";
import * as topics from "./topics.js";

const views = { overview, topics, groups, configs, quorum };
const content = document.getElementById("content");
const status = document.getElementById("status");
let open = null;

/** `#/topics/a%20b` is the view `topics` of the thing named `a b`. */
function place() {
  const [, view = "", ...rest] = location.hash.split("/");
  const known = Object.hasOwn(views, view) ? view : "overview";
  const text = rest.join("/");
  try {
    return { view: known, name: text === "" ? null : decodeURIComponent(text) };
  } catch {
    return { view: known, name: text };
  }
}

function show() {
  // The skip link moves the focus, not the view.
  if (location.hash === "#content") return;
  open?.rounds.end();
  const { view, name } = place();
  document.querySelectorAll("nav [data-view]").forEach((link) => {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  document.title = `${name ?? view} · Milena`;
  content.replaceChildren();
  content.setAttribute("aria-busy", "true");
  scrollTo(0, 0);
  const own = { view: views[view], name, state: {}, data: null };
  open = own;
  own.rounds = poll(own.view.every, (signal) => round(own, signal));
}

async function round(own, signal) {
  try {
    own.data = await own.view.load(own.name, own.state, signal);
    say("live", "Live");
  } catch (error) {
    if (signal.aborted || own !== open) return;
    say("lost", error instanceof Refused ? "Refused" : "No answer");
    if (error instanceof Refused || own.data === null) return fail(error);
    content.classList.add("stale");
    return;
  }
  if (own === open && !signal.aborted) draw(own);
}

function draw(own) {
  own.state.width = content.clientWidth - parseFloat(getComputedStyle(content).paddingLeft) * 2;
  const change = (what) => {
    Object.assign(own.state, what);
    own.rounds.now();
  };
  content.classList.remove("stale");
  content.setAttribute("aria-busy", "false");
  patch(content, own.view.draw(own.data, own.state, change, own.name));
}

function fail(error) {
  const text = error instanceof Refused ? error.message : "The broker does not answer; this page asks again by itself.";
  content.setAttribute("aria-busy", "false");
  patch(content, [heading("Nothing to show"), card(null, h("p", { class: "empty" }, text))]);
}

function say(state, text) {
  status.dataset.state = state;
  status.textContent = text;
}

addEventListener("hashchange", show);
addEventListener("resize", () => { if (open?.data) draw(open); });
show();

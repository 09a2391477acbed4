// The list of groups, and one of them.

import { get } from "./api.js";
import { curve } from "./chart.js";
import { badge, bar, card, h, heading, pager, search, table, tile, tiles } from "./dom.js";
import { NONE, compact, count, duration } from "./format.js";
import { topicLink } from "./topics.js";

export const every = 2_000;

const HOUR_MS = 3_600_000;

export const groupLink = (name) => `#/groups/${encodeURIComponent(name)}`;

export function load(name, state, signal) {
  const after = state.places?.at(-1);
  if (name !== null) return get("group", { name, after, limit: 100 }, signal);
  return get("groups", { search: state.search, after, limit: 100 }, signal);
}

export function draw(data, state, change, name) {
  return name === null ? list(data, state, change) : one(data, state, change);
}

function stateBadge(state) {
  const kinds = { Stable: "good", Empty: "plain", Dead: "bad" };
  return badge(state, kinds[state] ?? "busy");
}

function list(page, state, change) {
  const largest = Math.max(1, ...page.items.map((group) => group.lag_records ?? 0));
  return [
    heading("Groups", badge(count(page.total)), h("div", { class: "tools" }, search("Search groups", state, change))),
    page.is_loading && h("p", { class: "note" }, "A coordinator is still loading its groups; some may be missing."),
    page.lags_left_out > 0 && h("p", { class: "note" }, `There are too many lags to keep: ${count(page.lags_left_out)} are left out.`),
    card(null, table("Groups", [
      { name: "Group", wide: true, of: (group) => h("a", { href: groupLink(group.group) }, group.group) },
      { name: "State", of: (group) => stateBadge(group.state) },
      { name: "Members", number: true, of: (group) => count(group.members) },
      { name: "Partitions", number: true, of: (group) => count(group.partitions) },
      { name: "Records behind", number: true, of: (group) => [compact(group.lag_records), bar((group.lag_records ?? 0) / largest)] },
      { name: "Oldest unread", number: true, of: (group) => duration(group.lag_ms) },
      { name: "Protocol", of: (group) => [group.protocol_type, group.protocol].filter(Boolean).join(": ") || NONE },
    ], page.items, { link: (group) => groupLink(group.group), empty: state.search ? "No group has this in its name." : "There are no groups yet." })),
    pager(page, state, change),
  ].filter(Boolean);
}

function one(group, state, change) {
  const largest = Math.max(1, ...group.partitions.items.map((partition) => partition.lag_records ?? 0));
  return [
    h("p", { class: "path" }, h("a", { href: "#/groups" }, "Groups")),
    heading(group.group, stateBadge(group.state)),
    tiles(
      tile("Records behind", compact(group.total.lag_records)),
      tile("Oldest unread", duration(group.total.lag_ms)),
      tile("Members", count(group.members_total)),
      tile("Protocol", group.protocol || group.protocol_type || NONE)),
    card("Lag over the last hour", charts(group, state.width)),
    card("Partitions", table("Partitions", [
      { name: "Topic", wide: true, of: (partition) => h("a", { href: topicLink(partition.topic) }, partition.topic) },
      { name: "Partition", of: (partition) => partition.partition },
      { name: "Committed", number: true, of: (partition) => count(partition.committed) },
      { name: "End", number: true, of: (partition) => count(partition.end_offset) },
      { name: "Records behind", number: true, of: (partition) => [count(partition.lag_records), bar((partition.lag_records ?? 0) / largest)] },
      { name: "Oldest unread", number: true, of: (partition) => duration(partition.lag_ms) },
      { name: "Member", wide: true, of: (partition) => partition.client_id ?? NONE },
    ], group.partitions.items, { empty: "The group has committed nothing and is assigned nothing." }), pager(group.partitions, state, change)),
    group.assignments_are_cut && h("p", { class: "note" }, "More is assigned than is shown here."),
    card("Members", table("Members", [
      { name: "Client", wide: true, of: (member) => [member.client_id, member.instance_id !== null && badge(`static: ${member.instance_id}`)] },
      { name: "Host", of: (member) => member.client_host },
      { name: "Assigned", wide: true, of: (member) => assigned(member.assignment) },
      { name: "Member id", wide: true, of: (member) => h("code", {}, member.id) },
    ], group.members, { empty: "Nobody is in the group." })),
  ].filter(Boolean);
}

function charts(group, width) {
  if (!group.history) return h("p", { class: "empty" }, "There is no lag to show: the group has committed nothing, or there are too many groups.");
  const points = group.history.points, to = group.now_ms;
  // A young curve fills the chart; later the chart is the last hour.
  const from = Math.max(to - HOUR_MS, Math.min(points[0][0], to - 60_000));
  const both = { from, to, width: Math.max(320, Math.min(width - 38, 1_400)) };
  return [
    curve({ ...both, label: "Records behind", points: points.map(([at, records]) => [at, records]), text: compact }),
    curve({ ...both, label: "Age of the oldest unread record", points: points.map(([at, , age]) => [at, age]), text: duration, isTime: true, height: 150 }),
  ];
}

function assigned(assignment) {
  if (assignment === null) return NONE;
  if (assignment.length === 0) return "nothing";
  return assignment.map((one) => h("span", { class: "chip" }, `${one.topic} `, h("b", {}, one.partitions.join(", "))));
}

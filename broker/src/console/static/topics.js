// The list of topics, and one of them.

import { get } from "./api.js";
import { configTable } from "./configs.js";
import { badge, bar, card, h, heading, pager, search, table, tile, tiles, toggle } from "./dom.js";
import { bytes, compact, count, duration, rate, retention } from "./format.js";
import { groupLink } from "./groups.js";

export const every = 2_000;

export const topicLink = (name) => `#/topics/${encodeURIComponent(name)}`;

export function load(name, state, signal) {
  const after = state.places?.at(-1);
  if (name !== null) return get("topic", { name, after, limit: 100 }, signal);
  return get("topics", { search: state.search, after, internal: state.internal, limit: 100 }, signal);
}

export function draw(data, state, change, name) {
  return name === null ? list(data, state, change) : one(data, state, change);
}

function list(page, state, change) {
  state.rates ??= new Map();
  const largest = Math.max(1, ...page.items.map((topic) => topic.size_bytes));
  const perSecond = (topic) => {
    if (!state.rates.has(topic.name)) state.rates.set(topic.name, {});
    return rate(state.rates.get(topic.name), topic.written_total, page.now_ms);
  };
  return [
    heading("Topics", badge(count(page.total)), h("div", { class: "tools" },
      toggle("internal", state.internal, (internal) => change({ internal, places: [] })), search("Search topics", state, change))),
    card(null, table("Topics", [
      { name: "Topic", wide: true, of: (topic) => [h("a", { href: topicLink(topic.name) }, topic.name), topic.is_internal && badge("internal"), topic.under_replicated > 0 && badge(`${topic.under_replicated} under-replicated`, "bad")] },
      { name: "Partitions", number: true, of: (topic) => count(topic.partitions) },
      { name: "Records", number: true, of: (topic) => compact(topic.offsets) },
      { name: "Written", number: true, of: (topic) => `${compact(perSecond(topic) ?? 0)}/s` },
      { name: "Size", number: true, of: (topic) => [bytes(topic.size_bytes), bar(topic.size_bytes / largest)] },
      { name: "Kept", of: (topic) => retention(topic) },
      { name: "Policy", of: (topic) => [topic.cleanup_policy || "–", topic.configs_set > 0 && badge(`${topic.configs_set} set`, "accent")] },
    ], page.items, { link: (topic) => topicLink(topic.name), empty: state.search ? "No topic has this in its name." : "There are no topics yet." })),
    pager(page, state, change),
  ].filter(Boolean);
}

function one(topic, state, change) {
  const sum = (of) => topic.partitions.items.reduce((all, partition) => all + (of(partition) ?? 0), 0);
  const largest = Math.max(1, ...topic.partitions.items.map((partition) => partition.size_bytes ?? 0));
  state.rate ??= {};
  const perSecond = rate(state.rate, sum((partition) => partition.log_end_offset), topic.now_ms);
  return [
    h("p", { class: "path" }, h("a", { href: "#/topics" }, "Topics")),
    heading(topic.name, topic.is_internal && badge("internal")),
    h("p", { class: "sub" }, "Topic id ", h("code", {}, topic.topic_id)),
    tiles(
      tile("Partitions", count(topic.partitions.total)),
      tile("Records", compact(sum((partition) => partition.log_end_offset - partition.log_start_offset))),
      tile("Written", perSecond === null ? "measuring…" : `${compact(perSecond)}/s`),
      tile("Size", bytes(sum((partition) => partition.size_bytes)))),
    card("Partitions", table("Partitions", [
      { name: "Partition", of: (partition) => partition.partition },
      { name: "Leader", of: (partition) => partition.leader_id ?? badge("none", "bad") },
      { name: "Epoch", number: true, of: (partition) => partition.leader_epoch },
      { name: "In sync", of: (partition) => [partition.isr.join(", "), partition.isr.length < partition.replicas.length && badge(`of ${partition.replicas.join(", ")}`, "bad")] },
      { name: "Start", number: true, of: (partition) => count(partition.log_start_offset) },
      { name: "High watermark", number: true, of: (partition) => count(partition.high_watermark) },
      { name: "End", number: true, of: (partition) => count(partition.log_end_offset) },
      { name: "Segments", number: true, of: (partition) => count(partition.segments) },
      { name: "Size", number: true, of: (partition) => [bytes(partition.size_bytes), bar(partition.size_bytes / largest)] },
    ], topic.partitions.items), pager(topic.partitions, state, change)),
    card("Read by", table("Groups that read the topic", [
      { name: "Group", wide: true, of: (reader) => h("a", { href: groupLink(reader.group) }, reader.group) },
      { name: "Records behind", number: true, of: (reader) => compact(reader.lag_records) },
      { name: "Oldest unread", number: true, of: (reader) => duration(reader.lag_ms) },
    ], topic.readers, { link: (reader) => groupLink(reader.group), empty: "No group has committed anything for it." })),
    card("Configuration", configTable(topic.configs, state, change)),
  ];
}

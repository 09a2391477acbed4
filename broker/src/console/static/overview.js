// What the broker is and how much it does.

import { get } from "./api.js";
import { spark } from "./chart.js";
import { badge, card, h, heading, table, tile, tiles } from "./dom.js";
import { bytes, compact, count, duration, rate } from "./format.js";
import { groupLink } from "./groups.js";

export const every = 2_000;

/** Rates that are kept for the small curves. */
const RATES_MAX = 60;

export const load = (_, __, signal) => get("cluster", {}, signal);

export function draw(cluster, state) {
  state.in ??= { rates: [] };
  state.out ??= { rates: [] };
  return [
    heading("Overview", cluster.problem ? badge(cluster.problem, "bad") : badge("ready", "good")),
    h("p", { class: "sub" }, "Cluster ", h("code", {}, cluster.cluster_id), `, broker ${cluster.broker_id}, version ${cluster.version}`),
    tiles(
      throughput("Received", state.in, cluster.received_bytes_total, cluster.now_ms),
      throughput("Sent", state.out, cluster.sent_bytes_total, cluster.now_ms),
      tile("Connections", count(cluster.connections)),
      tile("Topics", count(cluster.topics), `${count(cluster.partitions)} partitions`),
      tile("Stored", bytes(cluster.size_bytes)),
      tile("Up for", duration(cluster.uptime_ms), `${bytes(cluster.resident_bytes)} of memory`)),
    card("Furthest behind", table("Groups that are furthest behind", [
      { name: "Group", wide: true, of: (one) => h("a", { href: groupLink(one.group) }, one.group) },
      { name: "Partitions", number: true, of: (one) => count(one.partitions) },
      { name: "Records behind", number: true, of: (one) => compact(one.lag_records) },
      { name: "Oldest unread", number: true, of: (one) => duration(one.lag_ms) },
    ], cluster.most_behind, { link: (one) => groupLink(one.group), empty: "No group is behind." })),
    card("Brokers", table("Brokers", [
      { name: "Id", of: (broker) => broker.broker_id },
      { name: "Endpoints", wide: true, of: (broker) => broker.endpoints.join(", ") },
      { name: "Rack", of: (broker) => broker.rack ?? "–" },
      { name: "State", of: (broker) => (broker.is_active ? badge("active", "good") : badge("fenced", "bad")) },
    ], cluster.brokers)),
  ];
}

function throughput(name, counter, total, nowMs) {
  const before = counter.last;
  const perSecond = rate(counter, total, nowMs);
  if (before !== counter.last && perSecond !== null) counter.rates = [...counter.rates, perSecond].slice(-RATES_MAX);
  return tile(name, perSecond === null ? "measuring…" : `${bytes(perSecond)}/s`, spark(counter.rates));
}

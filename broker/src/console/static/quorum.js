// Who votes on the metadata log, and how far each is.

import { get } from "./api.js";
import { badge, card, h, heading, table, tile, tiles } from "./dom.js";
import { NONE, count } from "./format.js";

export const every = 2_000;

export const load = (_, __, signal) => get("quorum", {}, signal);

export function draw(quorum) {
  return [
    heading("Quorum", quorum.is_running ? badge("running", "good") : badge("stopped", "bad"),
      quorum.is_told_by_leader ? null : badge("leader does not answer", "bad")),
    tiles(
      tile("Leader", quorum.leader_id === null ? "none" : `node ${quorum.leader_id}`),
      tile("Leader epoch", count(quorum.leader_epoch)),
      tile("High watermark", count(quorum.high_watermark)),
      tile("Snapshot", quorum.snapshot_end_offset === null ? NONE : `below ${count(quorum.snapshot_end_offset)}`)),
    card("Voters", table("Voters", [
      { name: "Node", of: (voter) => voter.node_id },
      { name: "Role", of: (voter) => (voter.is_leader ? badge("leader", "good") : badge("follower")) },
      { name: "Log end offset", number: true, of: (voter) => count(voter.log_end_offset) },
      { name: "Lag", number: true, of: (voter) => count(voter.lag) },
      { name: "Directory id", wide: true, of: (voter) => h("code", {}, voter.directory_id) },
    ], quorum.voters)),
    card("Observers", table("Observers", [
      { name: "Broker", of: (observer) => observer.node_id },
      { name: "Published offset", number: true, of: (observer) => count(observer.published_offset) },
      { name: "Lag", number: true, of: (observer) => count(observer.lag) },
    ], quorum.observers)),
  ];
}

// Numbers as people read them.

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** What stands where nothing is known, as in Kafka's tools. */
export const NONE = "–";

const known = (value) => value !== null && value !== undefined;

export function count(value) {
  return known(value) ? plain.format(value) : NONE;
}

export function compact(value) {
  return known(value) ? (Math.abs(value) < 10_000 ? plain : short).format(value) : NONE;
}

export function bytes(value) {
  if (!known(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let power = 0;
  while (value >= 1024 && power < units.length - 1) {
    value /= 1024;
    power += 1;
  }
  const digits = power === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[power]}`;
}

/** A time of milliseconds, in its two largest units. */
export function duration(ms) {
  if (!known(ms)) return NONE;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds > 0 && seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const parts = [[Math.floor(seconds / 86_400), "d"], [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"], [Math.floor(seconds) % 60, "s"]];
  const first = parts.findIndex(([value]) => value > 0);
  return parts.slice(first, first + 2).filter(([value]) => value > 0).map(([value, unit]) => `${value} ${unit}`).join(" ");
}

/** `retention.ms` and `retention.bytes` of a topic. */
export function retention(topic) {
  if (!known(topic.cleanup_policy)) return NONE;
  if (!topic.cleanup_policy.includes("delete")) return "for ever";
  const limits = [known(topic.retention_ms) && duration(topic.retention_ms), known(topic.retention_bytes) && bytes(topic.retention_bytes)];
  return limits.filter(Boolean).join(", ") || "for ever";
}

export function time(ms, withSeconds) {
  return new Date(ms).toLocaleTimeString("en-GB", withSeconds ? {} : { hour: "2-digit", minute: "2-digit" });
}

/** A rate per second from two values of a counter; null until there are two. */
export function rate(counter, value, atMs) {
  const before = counter.last;
  if (!before || atMs - before.atMs >= 900) counter.last = { value, atMs };
  if (before && atMs - before.atMs >= 900) counter.rate = Math.max(0, (value - before.value) * 1000 / (atMs - before.atMs));
  return counter.rate ?? null;
}

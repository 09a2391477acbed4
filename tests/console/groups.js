// Answers about groups as `/api/v1/groups` and `/api/v1/group` give them, with the names that an enemy would choose.

export const HOSTILE = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'"&amp;`;

const now = Date.now();

export const names = ["billing", "fraud-detection", HOSTILE];

export const list = {
  now_ms: now, is_loading: false, lags_left_out: 0, total: 3, next: null,
  items: [
    { group: "billing", state: "Stable", protocol_type: "consumer", protocol: "range", members: 2, partitions: 4, lag_records: 12_345, lag_ms: 95_000 },
    { group: "fraud-detection", state: "Empty", protocol_type: "consumer", protocol: "", members: 0, partitions: 1, lag_records: 0, lag_ms: 0 },
    { group: HOSTILE, state: "Stable", protocol_type: HOSTILE, protocol: HOSTILE, members: 1, partitions: 0, lag_records: null, lag_ms: null },
  ],
};

function history() {
  const points = Array.from({ length: 225 }, (_, place) => {
    const at = now - (225 - place) * 16_000;
    const wave = Math.max(0, Math.sin(place / 23) * 9_000 + Math.sin(place / 5) * 1_400 + 6_000);
    return [at, Math.round(wave), Math.round(wave * 8)];
  });
  return { step_ms: 16_000, points };
}

export function one(name) {
  const isHostile = name === HOSTILE;
  const client = isHostile ? HOSTILE : "billing-worker";
  const assigned = (from) => [{ topic: "orders", partitions: [from, from + 1] }];
  const member = (place) => ({ id: `${client}-${place}`, instance_id: isHostile ? HOSTILE : null, client_id: client, client_host: "/10.0.0.7", assignment: assigned(place * 2) });
  const partition = (place) => ({
    topic: "orders", partition: place, member: `${client}-${place >> 1}`, client_id: client,
    committed: place === 3 ? null : 20_000 + place, log_start_offset: place === 3 ? null : 0, end_offset: place === 3 ? null : 24_115,
    lag_records: place === 3 ? null : 4_115 - place * 900, lag_ms: place === 3 ? null : 95_000 - place * 20_000,
  });
  return {
    now_ms: now, group: name, state: "Stable", protocol_type: "consumer", protocol: "range", members_total: 2, members: [member(0), member(1)],
    total: { partitions: 4, lag_records: 12_345, lag_ms: 95_000 },
    partitions: { items: [0, 1, 2, 3].map(partition), next: null, total: 4 }, history: history(),
  };
}

//! One measure for each client that a quota acts on, within a bound.

use std::collections::BTreeMap;

use super::limits::Bucket;

/// Clients whose use of one quota is remembered. Names come from clients: without a bound anybody could fill the memory.
pub const CLIENTS_MAX: usize = 10_000;

/// After this time without a request a client is forgotten, as in Kafka.
pub const IDLE_MS_MAX: i64 = 3_600_000;

/// What each client used.
#[derive(Debug, Clone)]
pub struct Usage<M, K = Bucket> {
    clients: BTreeMap<K, Tracked<M>>,
    clients_max: usize,
    /// When idle clients are looked for again.
    look_at_ms: i64,
}

#[derive(Debug, Clone)]
struct Tracked<M> {
    measure: M,
    used_ms: i64,
}

impl<M, K> Default for Usage<M, K> {
    fn default() -> Self {
        Self { clients: BTreeMap::new(), clients_max: CLIENTS_MAX, look_at_ms: 0 }
    }
}

impl<M: Default, K: Ord> Usage<M, K> {
    /// Clients that are remembered.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// The measure of a client, new for one that is not remembered.
    pub fn of(&mut self, bucket: K, now_ms: i64) -> &mut M {
        if now_ms >= self.look_at_ms {
            self.clients.retain(|_, tracked| now_ms - tracked.used_ms < IDLE_MS_MAX);
            self.look_at_ms = now_ms + IDLE_MS_MAX;
        }
        if self.clients.len() >= self.clients_max && !self.clients.contains_key(&bucket) {
            self.forget_half();
        }
        let fresh = || Tracked { measure: M::default(), used_ms: now_ms };
        let tracked = self.clients.entry(bucket).or_insert_with(fresh);
        tracked.used_ms = now_ms;
        &mut tracked.measure
    }

    /// Those that have been idle the longest go, many at once: looking for them each time would cost whoever comes next.
    fn forget_half(&mut self) {
        let mut used: Vec<i64> = self.clients.values().map(|tracked| tracked.used_ms).collect();
        used.sort_unstable();
        let Some(median_ms) = used.get(used.len() / 2).copied() else { return };
        let mut left = self.clients_max / 2;
        self.clients.retain(|_, tracked| {
            let stays = tracked.used_ms >= median_ms && left > 0;
            left -= usize::from(stays);
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: impl ToString) -> Bucket {
        Bucket { user: None, client_id: Some(name.to_string()) }
    }

    #[test]
    fn clients_are_told_apart_and_remembered() {
        let mut usage = Usage::<i32>::default();
        *usage.of(client("a"), 0) += 1;
        *usage.of(client("b"), 0) += 10;
        *usage.of(client("a"), 5) += 1;
        assert_eq!((*usage.of(client("a"), 5), *usage.of(client("b"), 5)), (2, 10));
    }

    #[test]
    fn idle_clients_are_forgotten() {
        let mut usage = Usage::<i32>::default();
        *usage.of(client("a"), 0) = 1;
        *usage.of(client("b"), IDLE_MS_MAX - 1) = 1;
        assert_eq!(*usage.of(client("b"), IDLE_MS_MAX), 1);
        assert_eq!(usage.clients.len(), 1);
    }

    #[test]
    fn memory_is_bounded_and_whoever_came_last_stays() {
        let mut usage = Usage::<i32> { clients_max: 100, ..Usage::default() };
        for n in 0..10_000 {
            *usage.of(client(n), i64::from(n) / 7) = n;
            assert!(usage.clients.len() <= 100, "{}", usage.clients.len());
        }
        assert_eq!(*usage.of(client(9_999), 10_000), 9_999);
    }
}

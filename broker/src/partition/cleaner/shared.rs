//! What the cleaners of one broker share: which partitions are being compacted, which cannot be, and the speed limit.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use milena_log::Error;
use milena_log::compaction::{Failure, Throttle};
use milena_protocol::types::Uuid;
use milena_state::config::cleaner::Settings;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::partition::partition::Partition;
use crate::partition::table::Table;

/// Says the time in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A partition, for as long as its topic lives.
pub(super) type Key = (Uuid, i32);

pub(super) fn key_of(partition: &Partition) -> Key {
    (partition.topic_id(), partition.index())
}

pub(super) struct Shared {
    pub table: Arc<Table>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// The limit counts by a clock that is never set.
    started: Instant,
    throttle: Mutex<(f64, Throttle)>,
    claims: Mutex<Claims>,
}

/// As many as there are partitions of compacted topics at most.
#[derive(Default)]
struct Claims {
    taken: HashSet<Key>,
    uncleanable: BTreeSet<Key>,
    /// With what these failed. With more memory they may not.
    judged_with: Option<Settings>,
}

/// What another cleaner, or an earlier pass, made of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    Free,
    Taken,
    Uncleanable,
}

/// A partition that no other cleaner takes meanwhile.
pub(super) struct Taken {
    shared: Arc<Shared>,
    key: Key,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shared.claims.lock().taken.remove(&self.key);
    }
}

impl Shared {
    pub fn new(table: Arc<Table>, metrics: Arc<Metrics>, clock: Clock) -> Self {
        Self {
            table,
            metrics,
            clock,
            started: Instant::now(),
            throttle: Mutex::new((f64::MAX, Throttle::new(f64::MAX))),
            claims: Mutex::default(),
        }
    }

    /// So much was read and written: how long to wait before the next step. A limit that changes begins anew, or what
    /// was done under a slow one would have to be waited for under a fast one.
    pub fn wait_ms(&self, bytes: u64, bytes_per_second_max: f64) -> u64 {
        let now_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mut throttle = self.throttle.lock();
        if throttle.0 != bytes_per_second_max {
            *throttle = (bytes_per_second_max, Throttle::new(bytes_per_second_max));
        }
        throttle.1.wait_ms(bytes, now_ms)
    }

    pub fn claim(&self, key: Key) -> Claim {
        let claims = self.claims.lock();
        match (claims.taken.contains(&key), claims.uncleanable.contains(&key)) {
            (true, _) => Claim::Taken,
            (false, true) => Claim::Uncleanable,
            (false, false) => Claim::Free,
        }
    }

    /// Takes a partition; `None` when another cleaner was first.
    pub fn take(self: &Arc<Self>, key: Key) -> Option<Taken> {
        let is_first = self.claims.lock().taken.insert(key);
        is_first.then(|| Taken { shared: Arc::clone(self), key })
    }

    /// Only `compacted` partitions can be uncleanable, and those that failed get another chance with other settings.
    pub fn forget_marks(&self, compacted: &[Arc<Partition>], settings: &Settings) {
        let mut claims = self.claims.lock();
        if claims.judged_with != Some(*settings) {
            claims.judged_with = Some(*settings);
            claims.uncleanable.clear();
        }
        if !claims.uncleanable.is_empty() {
            let keys: HashSet<Key> = compacted.iter().map(|partition| key_of(partition)).collect();
            claims.uncleanable.retain(|key| keys.contains(key));
        }
    }

    /// Leaves a partition out from now on; says whether that is new.
    fn mark(&self, partition: &Partition) -> bool {
        self.claims.lock().uncleanable.insert(key_of(partition))
    }

    /// A pass, or the look before it, failed.
    pub fn failed(&self, partition: &Partition, failure: &Failure) {
        let (topic, index) = (partition.topic(), partition.index());
        if failure.is_lasting() {
            if self.mark(partition) {
                tracing::error!(%topic, partition = index, error = %failure, "log cannot be compacted and is left as it is");
            }
            return;
        }
        match failure {
            Failure::Overtaken => {
                tracing::debug!(%topic, partition = index, "log changed while it was compacted")
            }
            // It was logged when it went offline.
            Failure::Storage(Error::DirectoryOffline { .. }) => {}
            other => {
                tracing::warn!(%topic, partition = index, error = %other, "compaction failed and is tried again")
            }
        }
    }

    /// A panic ended work on the partition; it would again.
    pub fn panicked(&self, partition: &Partition) {
        self.mark(partition);
        tracing::error!(
            topic = %partition.topic(), partition = partition.index(),
            "a panic ended the compaction of a log, which is left as it is"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn limit_that_changes_forgets_what_was_done_under_the_one_before() {
        let shared = Shared::new(Arc::default(), Arc::default(), Arc::new(|| 0));
        assert_eq!(shared.wait_ms(1 << 40, f64::MAX), 0);
        let slow = shared.wait_ms(1_000_000, 1.0);
        assert!(slow > 900_000_000, "{slow}");
        let fast = shared.wait_ms(1_000_000, 1_000_000.0);
        assert!(fast <= 1_000, "{fast}");
        let both = shared.wait_ms(1_000_000, 1_000_000.0);
        assert!((1_000..=2_000).contains(&both), "all cleaners together: {both}");
    }
}

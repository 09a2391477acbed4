//! How far the groups are behind, kept up to date while there are any.
//!
//! The rules are `state::lag`; this runs its rounds: it looks at the committed offsets and at the ends of the
//! partitions, reads the few timestamps that the rules ask for, and publishes what came out. Scrapes and the
//! console read the last round and never a disk. A broker without groups looks once a second whether there is
//! one, and does nothing else.

mod lookup;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use milena_protocol::types::Uuid;
use milena_state::lag::history::Point;
use milena_state::lag::{Collected, Ends, Lag, Ledger, Lookup, Round, collect};
use parking_lot::Mutex;

use crate::broker::{Node, now_ms};
use crate::partition::Table;

/// Between two rounds. Together with the time of a round it stays below a second.
const ROUND_INTERVAL: Duration = Duration::from_millis(500);

/// Between two rounds of a broker that has no group.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// The lags of this broker's groups.
#[derive(Debug, Default)]
pub struct Lags {
    ledger: Mutex<Ledger>,
    current: ArcSwap<Snapshot>,
}

/// What the last round found.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Ordered by group, topic and partition.
    pub lags: Vec<Lag>,
    /// Lags that are not among them, because there are too many.
    pub left_out: usize,
}

/// A group's curve of the last hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curve {
    pub step_ms: i64,
    pub points: Vec<Point>,
}

impl Lags {
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// None for a group without lags, and for those beyond the bound.
    pub fn curve(&self, group: &str) -> Option<Curve> {
        let ledger = self.ledger.lock();
        let history = ledger.history(group)?;
        Some(Curve { step_ms: history.step_ms(), points: history.points().copied().collect() })
    }

    /// One round. `read` finds the timestamps, which may wait for a disk; no lock is held meanwhile.
    async fn round<F>(&self, collected: Collected, partitions: &Table, read: impl FnOnce(Vec<Lookup>) -> F)
    where
        F: Future<Output = Vec<(Lookup, i64)>>,
    {
        let ends = |topic: &str, index| ends(partitions, topic, index);
        let wanted = self.ledger.lock().observe(collected, ends, now_ms());
        let found = if wanted.is_empty() { Vec::new() } else { read(wanted).await };
        let mut ledger = self.ledger.lock();
        found.iter().for_each(|(lookup, timestamp_ms)| ledger.learn(lookup, *timestamp_ms));
        let Round { lags, left_out } = ledger.finish();
        drop(ledger);
        self.current.store(Arc::new(Snapshot { lags, left_out }));
    }

    fn is_idle(&self) -> bool {
        self.ledger.lock().is_empty()
    }
}

impl Snapshot {
    /// The lags of one group, ordered by topic and partition.
    pub fn of_group(&self, group: &str) -> &[Lag] {
        let first = self.lags.partition_point(|lag| &*lag.commit.group < group);
        let count = self.lags[first..].partition_point(|lag| &*lag.commit.group == group);
        &self.lags[first..first + count]
    }
}

/// Keeps the lags for as long as the broker runs; drop the future to end it.
pub async fn run(node: Arc<Node>) {
    loop {
        let (collected, _) = node.groups.read_all(collect).await;
        let collected = Collected::join(collected);
        if collected.commits.is_empty() && node.lags.is_idle() {
            tokio::time::sleep(IDLE_INTERVAL).await;
            continue;
        }
        node.lags.round(collected, &node.partitions, |wanted| read(&node, wanted)).await;
        tokio::time::sleep(ROUND_INTERVAL).await;
    }
}

/// Where a partition ends that this broker leads.
fn ends(partitions: &Table, topic: &str, index: i32) -> Option<Ends> {
    let partition = partitions.by_name(topic, index).ok()?;
    partition.leader_epoch().ok()?;
    let topic_id: Uuid = partition.topic_id();
    // The end first: it only grows, and a start beyond it would be nonsense.
    let end_offset = partition.high_watermark().get();
    Some(Ends { topic_id, log_start_offset: partition.log_start_offset(), end_offset })
}

async fn read(node: &Arc<Node>, wanted: Vec<Lookup>) -> Vec<(Lookup, i64)> {
    let partitions = Arc::clone(&node.partitions);
    let reading = node.background.spawn_blocking(move || {
        let found = wanted.into_iter().filter_map(|wanted| {
            let partition = partitions.by_name(&wanted.topic, wanted.partition).ok()?;
            let timestamp_ms = lookup::timestamp_at(&partition, wanted.offset)?;
            Some((wanted, timestamp_ms))
        });
        found.collect()
    });
    // A panic in there was logged by its hook; the ages stay unknown.
    reading.await.unwrap_or_default()
}

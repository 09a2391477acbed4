//! What partitions need when nobody asks anything of them: retention, checkpoints, forced syncs, expiry.
//!
//! One task with a few intervals walks the table; the disk work runs on the blocking pool, one partition's lock at a
//! time and for one step only. A log error takes its directory offline by itself; here it is only noted.

use std::sync::Arc;
use std::time::Duration;

use milena_state::config::broker::Settings;
use tokio::time::{MissedTickBehavior, interval};

use super::append::settle_log_start;
use super::directories::Directories;
use super::partition::Partition;
use super::table::Table;
use crate::broker::now_ms;

/// How often logs look after delayed deletions, expired producers and idle files, and `flush.ms` is checked.
const MAINTAIN_INTERVAL: Duration = Duration::from_secs(1);

/// Runs for as long as the broker does; drop the future to end it.
pub async fn run(table: Arc<Table>, directories: Arc<Directories>, settings: Arc<Settings>) {
    let every = |ms: u64| {
        let mut interval = interval(Duration::from_millis(ms.max(1)));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval.reset();
        interval
    };
    let mut maintain = every(MAINTAIN_INTERVAL.as_millis() as u64);
    let mut retention = every(settings.log_retention_check_interval_ms);
    let checkpoint_ms = settings.log_flush_offset_checkpoint_interval_ms;
    let mut checkpoint = every(checkpoint_ms.min(settings.log_flush_start_offset_checkpoint_interval_ms));
    loop {
        let (table, directories) = (Arc::clone(&table), Arc::clone(&directories));
        let work: Box<dyn FnOnce() + Send> = tokio::select! {
            _ = maintain.tick() => Box::new(move || table.all().iter().for_each(|partition| partition.maintain(now_ms()))),
            _ = retention.tick() => Box::new(move || {
                table.all().iter().for_each(|partition| partition.delete_old_segments(now_ms()));
                directories.remove_deleted();
            }),
            _ = checkpoint.tick() => Box::new(move || directories.checkpoint()),
        };
        // A panic in there is a bug that was logged by its hook; the next round still runs.
        let _ = tokio::task::spawn_blocking(work).await;
    }
}

impl Partition {
    /// Deletes segments that retention or a raised log start no longer wants.
    pub fn delete_old_segments(&self, now_ms: i64) {
        let mut inner = self.lock();
        let Ok((log, leader)) = inner.leading() else { return };
        let before = log.log_start_offset();
        let deleted = log.delete_old_segments(leader.high_watermark(), now_ms);
        let start = log.log_start_offset();
        let marks = (start > before).then(|| settle_log_start(&mut inner, start)).flatten();
        drop(inner);
        self.set_log_start(start);
        self.tell(marks);
        self.note(deleted.map(|_| ()), "retention");
    }

    /// Periodic work of the log itself, and `flush.ms`.
    pub fn maintain(&self, now_ms: i64) {
        let flush_ms = self.settings().flush_ms;
        let mut inner = self.lock();
        let due = inner.unsynced_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= flush_ms);
        let Some(log) = &mut inner.log else { return };
        let maintained = log.maintain(now_ms);
        if due {
            self.directory.request_sync(log.durability(), None);
            inner.unsynced_records = 0;
            inner.unsynced_since_ms = None;
        }
        drop(inner);
        self.note(maintained, "maintenance");
    }

    /// A failed directory has been logged when it failed; a failure of one log alone is logged here.
    fn note(&self, outcome: Result<(), milena_log::Error>, work: &str) {
        match outcome {
            Ok(()) => {}
            // Both were logged when they happened, and stay so.
            Err(milena_log::Error::DirectoryOffline { .. } | milena_log::Error::Interrupted { .. }) => {}
            Err(error) => {
                tracing::error!(topic = %self.topic(), partition = self.index(), %error, work, "log upkeep failed")
            }
        }
    }
}

//! What partitions need when nobody asks anything of them: retention, checkpoints, forced syncs, expiry.
//!
//! Each kind of work has its own loop, so that a large deletion delays neither `flush.ms` nor a checkpoint. The disk
//! work runs on the blocking pool, one partition's lock at a time and for one step only. A log error takes its directory offline by itself; here it is only noted.

use std::sync::Arc;
use std::time::Duration;

use milena_state::config::broker::Settings;
use tokio::time::{MissedTickBehavior, interval};

use super::append::settle_log_start;
use super::directories::Directories;
use super::partition::Partition;
use super::table::Table;
use crate::broker::now_ms;

/// How often logs look after delayed deletions, expired producers and idle files, deleted folders are removed, and `flush.ms` is checked.
const MAINTAIN_INTERVAL: Duration = Duration::from_secs(1);

/// Runs for as long as the broker does; drop the future to end it.
pub async fn run(table: Arc<Table>, directories: Arc<Directories>, settings: Arc<Settings>) {
    let maintain = {
        let table = Arc::clone(&table);
        move || table.all().iter().for_each(|partition| partition.maintain(now_ms()))
    };
    let delete_old = {
        let directories = Arc::clone(&directories);
        move || delete_old_segments(&table, &directories)
    };
    let remove_deleted = {
        let directories = Arc::clone(&directories);
        move || directories.remove_deleted()
    };
    let high_watermarks = {
        let directories = Arc::clone(&directories);
        move || directories.checkpoint_high_watermarks()
    };
    let checkpoint_ms = settings
        .log_flush_offset_checkpoint_interval_ms
        .min(settings.log_flush_start_offset_checkpoint_interval_ms);
    tokio::join!(
        repeat(MAINTAIN_INTERVAL, maintain),
        repeat(Duration::from_millis(settings.log_retention_check_interval_ms), delete_old),
        repeat(MAINTAIN_INTERVAL, remove_deleted),
        repeat(Duration::from_millis(checkpoint_ms), move || directories.checkpoint()),
        repeat(
            Duration::from_millis(settings.replica_high_watermark_checkpoint_interval_ms),
            high_watermarks
        ),
    );
}

/// Files of deleted segments wait for a checkpoint that knows the new log start: it is written at once, and those whose
/// delay is over by then are removed, so that `file.delete.delay.ms` is what they wait for.
pub(crate) fn delete_old_segments(table: &Table, directories: &Directories) {
    let now_ms = now_ms();
    let mut partitions = table.all();
    partitions.retain(|partition| partition.delete_old_segments(now_ms));
    if !partitions.is_empty() {
        directories.checkpoint();
        partitions.iter().for_each(|partition| partition.maintain(now_ms));
    }
}

/// Does `work` on the blocking pool, the first time after `period`; a round that takes longer delays the next.
async fn repeat(period: Duration, work: impl Fn() + Send + Sync + 'static) {
    let mut rounds = interval(period.max(Duration::from_millis(1)));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds.reset();
    let work = Arc::new(work);
    loop {
        rounds.tick().await;
        let work = Arc::clone(&work);
        // A panic in there is a bug that was logged by its hook; the next round still runs.
        let _ = tokio::task::spawn_blocking(move || work()).await;
    }
}

impl Directories {
    /// Writes the offset checkpoints of every directory. Blocks on the disk.
    pub fn checkpoint(&self) {
        for directory in self.usable() {
            if let Err(error) = directory.checkpoint() {
                tracing::error!(path = %directory.path().display(), %error, "offset checkpoint failed");
            }
        }
    }

    /// Writes the high watermarks that partitions have noted. Blocks on the disk.
    pub fn checkpoint_high_watermarks(&self) {
        for directory in self.usable() {
            if let Err(error) = directory.checkpoint_high_watermarks() {
                tracing::error!(path = %directory.path().display(), %error, "high watermarks were not written");
            }
        }
    }
}

impl Partition {
    /// Deletes segments that retention or a raised log start no longer wants; says whether there were any. Followers
    /// too, as in Apache Kafka: each goes by what it knows to be committed.
    pub fn delete_old_segments(&self, now_ms: i64) -> bool {
        self.find_timestamps(now_ms);
        let mut inner = self.lock();
        let high_watermark = inner.role.high_watermark();
        let Some(log) = &mut inner.log else { return false };
        let before = log.log_start_offset();
        let deleted = log.delete_old_segments(high_watermark, now_ms);
        let start = log.log_start_offset();
        let outcome = (start > before).then(|| settle_log_start(&mut inner, start)).flatten();
        drop(inner);
        self.set_log_start(start);
        self.tell(outcome);
        let any = deleted.as_ref().is_ok_and(|count| *count > 0);
        self.note(deleted.map(|_| ()), "retention");
        any
    }

    /// Periodic work of the log itself, and `flush.ms`.
    pub fn maintain(&self, now_ms: i64) {
        let flush_ms = self.settings().flush_ms;
        let mut inner = self.lock();
        self.note_high_watermark(&mut inner);
        let due = inner.unsynced_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= flush_ms);
        let Some(log) = &mut inner.log else { return };
        let maintained = log.maintain(now_ms);
        if due {
            log.directory().request_sync(log.durability(), None);
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
            Err(error @ milena_log::Error::Damaged { .. }) => {
                self.storage_failed(&error);
            }
            Err(error) => {
                tracing::error!(topic = %self.topic(), partition = self.index(), %error, work, "log upkeep failed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_that_takes_long_does_not_delay_the_other_kinds() {
        let (release, held) = mpsc::channel::<()>();
        let held = parking_lot::Mutex::new(held);
        let rounds = Arc::new(AtomicUsize::new(0));
        let (three, mut done) = tokio::sync::mpsc::unbounded_channel();
        // It ends only when the other has had its rounds.
        let slow = repeat(Duration::from_millis(1), move || {
            // Ended by the sender that is dropped.
            let _ = held.lock().recv();
        });
        let quick = repeat(Duration::from_millis(1), {
            let rounds = Arc::clone(&rounds);
            move || {
                if rounds.fetch_add(1, Ordering::Relaxed) == 2 {
                    let _ = three.send(());
                }
            }
        });
        tokio::select! {
            _ = async { tokio::join!(slow, quick) } => unreachable!("they repeat for ever"),
            finished = tokio::time::timeout(Duration::from_secs(20), done.recv()) => {
                assert!(finished.is_ok(), "{} rounds", rounds.load(Ordering::Relaxed));
            }
        }
        drop(release);
    }
}

//! The metadata as this broker last published them, in a file: where its next start goes on.
//!
//! A broker that is no controller keeps no log of the metadata. Without this file every start would fetch all of it, and
//! after a power failure all brokers of a site at once. The file is a cache: a start that finds it damaged, of another
//! cluster or with levels that this version does not know begins with nothing instead, as a new broker does, and one
//! whose position the controllers' log does not know ([`super::follow`]) does so too.
//!
//! It is written beside the work, in the format of the voters' snapshots and by their settings
//! (`metadata.log.max.record.bytes.between.snapshots`, `metadata.log.max.snapshot.interval.ms`); also when there is none,
//! before controllers purge the entries after it, and at a clean stop.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use milena_log::Directory;
use milena_log::files::{self, Files};
use milena_state::metadata::{Applied, Image, features};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Metadata;
use crate::controller::raft::quorum::SnapshotPolicy;
use crate::controller::raft::snapshot::{SIZE_MAX, decode_observed, encode_observed};
use crate::metrics::Metrics;

/// The file in the directory of the metadata log (`metadata.log.dir`).
pub const NAME: &str = "observed-metadata.checkpoint";

/// Entries after a checkpoint before the next is due: half of those that controllers keep behind a snapshot.
const ENTRIES_MAX: i64 = 5_000;
/// How often it is looked whether one is due.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Between two of them, whatever comes.
const PAUSE_MIN: Duration = Duration::from_secs(10);
/// After one that could not be written.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(60);

/// The file, and what is in it.
pub struct Checkpoint {
    files: Arc<dyn Files>,
    directory: Arc<Directory>,
    path: PathBuf,
    cluster_id: Arc<str>,
    policy: SnapshotPolicy,
    metrics: Arc<Metrics>,
    /// Held while the file is written.
    written: Mutex<Written>,
}

/// What the file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Written {
    /// Where its image stands, if there is a file that can be used.
    applied: Option<Applied>,
    /// What had been fetched by then.
    fetched_bytes: u64,
}

impl Checkpoint {
    pub fn new(
        files: Arc<dyn Files>,
        directory: Arc<Directory>,
        cluster_id: Arc<str>,
        policy: SnapshotPolicy,
        metrics: Arc<Metrics>,
    ) -> Self {
        let path = directory.path().join(NAME);
        Self { files, directory, path, cluster_id, policy, metrics, written: Mutex::default() }
    }

    /// The image to go on from; none when there is no file, or none that can be used. Blocks on the disk.
    pub fn load(&self) -> Option<Image> {
        match self.read() {
            Ok(image) => {
                let applied = image.applied();
                self.written.lock().applied = Some(applied);
                self.metrics.metadata_checkpoint(applied.index);
                tracing::info!(index = applied.index, "metadata are followed from a checkpoint on");
                Some(image)
            }
            Err(Unusable::File(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(reason) => {
                tracing::warn!(path = %self.path.display(), %reason, "checkpoint of the metadata is discarded");
                None
            }
        }
    }

    fn read(&self) -> Result<Image, Unusable> {
        let bytes = files::read_file(&*self.files, &self.path, SIZE_MAX)?;
        let observed = decode_observed(&bytes).map_err(|error| Unusable::Damaged(error.to_string()))?;
        if *observed.cluster_id != *self.cluster_id {
            return Err(Unusable::Foreign(observed.cluster_id));
        }
        match features::unknown(&observed.image) {
            Some(reason) => Err(Unusable::Newer(reason)),
            None => Ok(observed.image),
        }
    }

    /// Replaces the file, unless it stands there already. Blocks on the disk.
    pub fn write(&self, image: &Image) -> io::Result<()> {
        let applied = image.applied();
        let mut written = self.written.lock();
        // Nothing is published yet at 0: what the file holds is better.
        if applied.index == 0 || written.applied == Some(applied) || self.directory.offline_reason().is_some()
        {
            return Ok(());
        }
        let fetched_bytes = self.metrics.metadata_fetched_bytes();
        files::replace_file(&*self.files, &self.path, &encode_observed(&self.cluster_id, image)?)?;
        *written = Written { applied: Some(applied), fetched_bytes };
        self.metrics.metadata_checkpoint(applied.index);
        Ok(())
    }

    /// Writes what the broker published last: it stops in order. Blocks on the disk.
    pub fn write_last(&self, metadata: &Metadata) {
        if let Err(error) = self.write(&metadata.image()) {
            self.tell(&error);
        }
    }

    /// Writes the file whenever it is due, for as long as the broker runs.
    pub async fn run(self: Arc<Self>, metadata: Arc<Metadata>) {
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        let (mut last, mut pause) = (Instant::now(), Duration::ZERO);
        loop {
            checks.tick().await;
            let image = metadata.image_arc();
            if last.elapsed() < pause || !self.is_due(image.applied(), last.elapsed()) {
                continue;
            }
            last = Instant::now();
            pause = PAUSE_MIN;
            let checkpoint = Arc::clone(&self);
            let writing = tokio::task::spawn_blocking(move || checkpoint.write(&image));
            if let Err(error) = writing.await.map_err(io::Error::other).flatten() {
                self.tell(&error);
                pause = PAUSE_AFTER_ERROR;
            }
        }
    }

    /// Whether the file is too old for what is published, `age` after it was written or read.
    fn is_due(&self, published: Applied, age: Duration) -> bool {
        // Being written at a stop.
        let Some(written) = self.written.try_lock().map(|written| *written) else { return false };
        match written.applied {
            _ if published.index == 0 => false,
            None => true,
            Some(applied) if applied == published => false,
            Some(applied) => {
                let bytes = self.metrics.metadata_fetched_bytes().saturating_sub(written.fetched_bytes);
                // One that is ahead was discarded: its log is not this cluster's.
                let entries = published.index - applied.index;
                bytes >= self.policy.bytes
                    || !(0..ENTRIES_MAX).contains(&entries)
                    || self.policy.interval.is_some_and(|interval| age >= interval)
            }
        }
    }

    fn tell(&self, error: &io::Error) {
        tracing::warn!(path = %self.path.display(), %error, "checkpoint of the metadata was not written");
    }
}

/// Why a file is not what to go on from.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it is of cluster {0}")]
    Foreign(String),
    #[error("it was written by a newer version: {0}")]
    Newer(String),
}

#[cfg(test)]
#[path = "checkpoint_test.rs"]
mod tests;

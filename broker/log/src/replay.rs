//! Producer state from the log itself: the newest snapshot that reads, and the batches behind it.

use std::collections::BTreeSet;

use milena_protocol::records::{Batch, BatchHeader};

use crate::append::write_of;
use crate::error::Error;
use crate::files;
use crate::log::Log;
use crate::names::Kind;
use crate::producer_snapshot;
use crate::producers::{Origin, Producer, Producers, Staged};
use crate::scan::{Located, Scan, ScanError};
use crate::transaction_index::AbortedTransaction;

/// Bound on a snapshot: more producers than a partition can have in memory.
const SNAPSHOT_SIZE_MAX: u64 = 1 << 30;

/// A batch met while replaying: its header, and its bytes if they are asked for.
pub(crate) struct Replayed<'a> {
    scan: &'a mut Scan,
    located: Located,
}

impl Replayed<'_> {
    pub fn header(&self) -> &BatchHeader {
        &self.located.header
    }

    pub fn batch(&mut self) -> Result<Batch<'_>, ScanError> {
        let position = u64::from(self.located.position);
        let bytes = self.scan.whole(&self.located)?;
        let parsed = Batch::parse(bytes);
        parsed
            .map(|(batch, _)| batch)
            .map_err(|error| ScanError::Damaged { position, reason: error.to_string() })
    }
}

impl Log {
    /// Walks all batches from the one that holds `from_offset` on that begin below `upto_offset`.
    pub(crate) fn replay(
        &mut self,
        from_offset: i64,
        upto_offset: i64,
        mut each: impl FnMut(&mut Replayed<'_>) -> Result<(), ScanError>,
    ) -> Result<(), Error> {
        for index in self.segment_index(from_offset)..self.segments.len() {
            let segment = self.segments[index];
            if segment.size == 0 {
                continue;
            }
            let position = self.position_of(index, from_offset)?;
            let Some(position) = position else { continue };
            let file = self.log_file(index)?;
            let mut scan = Scan::new(file, position, segment.size, segment.base_offset);
            loop {
                let next = scan.next().map_err(|error| self.scan_failed_storage(index, error))?;
                let Some(located) = next else { break };
                if located.header.base_offset >= upto_offset {
                    return Ok(());
                }
                self.check_within(index, located.position, located.header.next_offset())?;
                let mut replayed = Replayed { scan: &mut scan, located };
                each(&mut replayed).map_err(|error| self.scan_failed_storage(index, error))?;
            }
        }
        Ok(())
    }

    /// Loads the producers as of the log end offset. Snapshots that do not read, or lie beyond the log, are
    /// removed.
    pub(crate) fn load_producers(&mut self, snapshots: BTreeSet<i64>, now_ms: i64) -> Result<(), Error> {
        let first = self.segments[0].base_offset;
        self.producers = Producers::new(first);
        self.snapshot_offset = None;
        for offset in snapshots.into_iter().rev() {
            let is_newest = self.snapshot_offset.is_none();
            if is_newest && (first..=self.log_end_offset).contains(&offset) {
                if let Some(entries) = self.read_snapshot(offset)? {
                    let expiration_ms = self.config.producer_id_expiration_ms;
                    self.producers.restore(entries, offset, now_ms, expiration_ms);
                    self.snapshot_offset = Some(offset);
                    continue;
                }
            } else if self.segments.iter().any(|segment| segment.base_offset == offset) {
                // Kept as long as its segment, for a later truncation.
                continue;
            }
            self.disk.remove(&self.path(offset, Kind::Snapshot))?;
            // Or a power loss brings it back, and by then the log may have passed its offset another way.
            self.durability.renamed();
        }
        self.replay_producers(self.snapshot_offset.unwrap_or(first))
    }

    pub(crate) fn read_snapshot(&self, offset: i64) -> Result<Option<Vec<(i64, Producer)>>, Error> {
        let path = self.path(offset, Kind::Snapshot);
        let bytes = files::read_file(&*self.disk.files, &path, SNAPSHOT_SIZE_MAX);
        match producer_snapshot::decode(&self.disk.done("read", &path, bytes)?) {
            Ok(entries) if entries.iter().any(|(_, producer)| knows_offset(producer, offset)) => {
                tracing::warn!(file = %path.display(), "producer snapshot is of a later offset and not used");
                Ok(None)
            }
            Ok(entries) => Ok(Some(entries)),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "producer snapshot is damaged and not used");
                Ok(None)
            }
        }
    }

    fn replay_producers(&mut self, from_offset: i64) -> Result<(), Error> {
        if from_offset >= self.log_end_offset {
            return Ok(());
        }
        let mut producers = std::mem::take(&mut self.producers);
        let aborted = self.replay_into(&mut producers, from_offset, i64::MAX)?;
        producers.advance_to(self.log_end_offset);
        self.producers = producers;
        self.restore_transaction_indexes(from_offset, &aborted)
    }

    /// Takes the batches of `from_offset..upto_offset` into `producers`; says which transactions were aborted.
    pub(crate) fn replay_into(
        &mut self,
        producers: &mut Producers,
        from_offset: i64,
        upto_offset: i64,
    ) -> Result<Vec<AbortedTransaction>, Error> {
        let mut aborted = Vec::new();
        self.replay(from_offset, upto_offset, |replayed| {
            let header = *replayed.header();
            if header.base_offset < from_offset {
                return Ok(());
            }
            if header.has_producer_id() {
                let batch = replayed.batch()?;
                let write = write_of(&batch, header.base_offset, header.max_timestamp);
                let mut staged = Staged::default();
                // Our own file was checked when it was written: what it says counts.
                if let Err(refusal) = producers.stage(&mut staged, Origin::Replication, &write) {
                    tracing::warn!(%refusal, offset = header.base_offset, "batch contradicts its producer's state");
                }
                let completed = producers.commit(staged);
                aborted.extend(completed.iter().filter_map(AbortedTransaction::of));
            }
            producers.advance_to(header.next_offset());
            Ok(())
        })?;
        Ok(aborted)
    }
}

/// Whether the state includes a batch at or above `offset`.
fn knows_offset(producer: &Producer, offset: i64) -> bool {
    producer.last_batch().is_some_and(|batch| batch.last_offset >= offset)
}

//! One of a directory's files that note an offset for each log, in Kafka's format, and hold no more than the log does: a
//! cut lowers the offset first, or it would speak of records that come later. An offset goes with its log.
//!
//! `cleaner-offset-checkpoint`: how far a log was compacted. A pass begins there. That the file has the log at all tells
//! recovery that holes in it may be compaction's (ADR 23), so a log is noted before its first segment is replaced and
//! stays when its policy changes.
//!
//! `replication-offset-checkpoint`: how far a log is known to be committed, its high watermark. A leader that starts
//! serves its consumers that much, also while it waits for other replicas.

use parking_lot::Mutex;

use crate::checkpoint::{self, Offsets};
use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::Error;
use crate::names;

/// The file of one directory, and what is to be written into it.
#[derive(Debug)]
pub(crate) struct NotedOffsets {
    file: &'static str,
    state: Mutex<State>,
    /// Held while the file is written: its temporary file has one name.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    offsets: Offsets,
    changed: bool,
}

impl NotedOffsets {
    pub const COMPACTED: &str = "cleaner-offset-checkpoint";
    pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";

    /// The file, with what was read from it.
    pub fn of(file: &'static str, offsets: Offsets) -> Self {
        let state = State { offsets, changed: false };
        NotedOffsets { file, state: Mutex::new(state), writing: Mutex::new(()) }
    }

    /// What is noted of the log.
    pub fn offset(&self, name: &str) -> Option<i64> {
        self.state.lock().offsets.get(&key(name)?).copied()
    }

    /// Notes it in memory, unless the log was deleted meanwhile.
    pub fn note(&self, log: &Durability, offset: i64) {
        let Some(key) = key(log.name()) else { return };
        let mut state = self.state.lock();
        // Asked under the lock: whoever deletes the log forgets it here after it was closed.
        if !log.is_closed() && state.offsets.get(&key) != Some(&offset) {
            state.offsets.insert(key, offset);
            state.changed = true;
        }
    }

    /// The log is about to be cut at `offset`: nothing beyond is noted. Durable.
    pub fn lower(&self, disk: &Disk, name: &str, offset: i64) -> Result<(), Error> {
        if self.lower_in_memory(name, offset) { self.write(disk) } else { Ok(()) }
    }

    /// As [`lower`](Self::lower), to be [written](Self::write) before anything comes in place of what is gone. True when
    /// more was noted.
    pub fn lower_in_memory(&self, name: &str, offset: i64) -> bool {
        let Some(key) = key(name) else { return false };
        let mut state = self.state.lock();
        let Some(known) = state.offsets.get_mut(&key).filter(|known| **known > offset) else { return false };
        *known = offset;
        state.changed = true;
        true
    }

    /// The log is deleted; the next checkpoint knows it no more.
    pub fn forget(&self, name: &str) {
        let Some(key) = key(name) else { return };
        let mut state = self.state.lock();
        state.changed |= state.offsets.remove(&key).is_some();
    }

    /// Makes what was noted durable.
    pub fn write(&self, disk: &Disk) -> Result<(), Error> {
        let _one_at_a_time = self.writing.lock();
        let offsets = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.changed) {
                return Ok(());
            }
            state.offsets.clone()
        };
        let path = disk.path.join(self.file);
        let entries =
            offsets.iter().map(|((topic, partition), offset)| (topic.as_str(), *partition, *offset));
        let written = checkpoint::write_offsets(&*disk.files, &path, entries);
        disk.done("write", &path, written).inspect_err(|_| self.state.lock().changed = true)
    }
}

fn key(name: &str) -> Option<(String, i32)> {
    names::parse_folder(name).map(|(topic, partition)| (topic.to_owned(), partition))
}

//! `cleaner-offset-checkpoint`: how far each log of a directory was compacted, in Kafka's file.
//!
//! A pass begins at the offset that it has for the log. That it has the log at all tells recovery that holes in it may
//! be compaction's (ADR 23), so a log is noted before its first segment is replaced and stays when its policy changes;
//! it goes with the log. A cut lowers the offset first, or records that come later would pass for compacted.

use parking_lot::Mutex;

use crate::checkpoint::{self, Offsets};
use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::Error;
use crate::names;

const FILE: &str = "cleaner-offset-checkpoint";

/// The file of one directory, and what is to be written into it.
#[derive(Debug)]
pub(crate) struct Compacted {
    state: Mutex<State>,
    /// Held while the file is written: its temporary file has one name.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    offsets: Offsets,
    changed: bool,
}

impl Compacted {
    pub fn of(offsets: Offsets) -> Self {
        Compacted { state: Mutex::new(State { offsets, changed: false }), writing: Mutex::new(()) }
    }

    pub const FILE: &str = FILE;

    /// How far the log was compacted; `None` when it never was.
    pub fn offset(&self, name: &str) -> Option<i64> {
        self.state.lock().offsets.get(&key(name)?).copied()
    }

    /// Notes how far the log was compacted, in memory, unless it was deleted meanwhile.
    pub fn note(&self, log: &Durability, offset: i64) {
        let Some(key) = key(log.name()) else { return };
        let mut state = self.state.lock();
        // Asked under the lock: whoever deletes the log forgets it here after it was closed.
        if !log.is_closed() && state.offsets.get(&key) != Some(&offset) {
            state.offsets.insert(key, offset);
            state.changed = true;
        }
    }

    /// The log is about to be cut at `offset`: it is not compacted beyond. Durable.
    pub fn lower(&self, disk: &Disk, name: &str, offset: i64) -> Result<(), Error> {
        let Some(key) = key(name) else { return Ok(()) };
        {
            let mut state = self.state.lock();
            let Some(known) = state.offsets.get_mut(&key).filter(|known| **known > offset) else {
                return Ok(());
            };
            *known = offset;
            state.changed = true;
        }
        self.write(disk)
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
        let path = disk.path.join(FILE);
        let entries =
            offsets.iter().map(|((topic, partition), offset)| (topic.as_str(), *partition, *offset));
        let written = checkpoint::write_offsets(&*disk.files, &path, entries);
        disk.done("write", &path, written).inspect_err(|_| self.state.lock().changed = true)
    }
}

fn key(name: &str) -> Option<(String, i32)> {
    names::parse_folder(name).map(|(topic, partition)| (topic.to_owned(), partition))
}

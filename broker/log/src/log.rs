//! One partition's log: what it holds in memory, and what can be asked without touching a file.
//!
//! The work is in the modules beside this one, each an `impl Log`: `append`, `lookup` (reads), `roll`, `recovery`
//! (opening), `truncation`, `retention`, `compaction`. A log has one user at a time; its owner holds it behind a lock. It has
//! no thread and no timer, and as long as nobody uses it no open file.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use crate::config::Config;
use crate::directory::Directory;
use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::Error;
use crate::files::File;
use crate::leader_epochs::{EpochEnd, EpochStart, LeaderEpochs};
use crate::names::Kind;
use crate::producers::{Origin, Producers};
use crate::segment::{Indexer, Recent, Segment};
use crate::slice::Slice;

/// One partition's log, or the metadata Raft log (offset = Raft index).
#[derive(Debug)]
pub struct Log {
    pub(crate) directory: Arc<Directory>,
    pub(crate) disk: Arc<Disk>,
    /// Names this log in the cache of open files and in slices; never reused in this process.
    pub(crate) id: u64,
    pub(crate) config: Arc<Config>,
    /// Ascending; never empty; the last one is active.
    pub(crate) segments: Vec<Segment>,
    pub(crate) active: Active,
    pub(crate) log_start_offset: i64,
    pub(crate) log_end_offset: i64,
    pub(crate) producers: Producers,
    pub(crate) epochs: LeaderEpochs,
    /// The epochs differ from what their file says.
    pub(crate) epochs_changed: bool,
    /// What is noted of this log is less than the file says, which must be mended before anything is appended.
    pub(crate) owes_noted: bool,
    pub(crate) durability: Arc<Durability>,
    /// Segments renamed for deletion: base offset, and when their files may go.
    pub(crate) deleted: Vec<(i64, i64)>,
    /// Offset of the newest producer snapshot.
    pub(crate) snapshot_offset: Option<i64>,
    /// Something was appended or cut since the last clean close.
    pub(crate) changed: bool,
    /// Since when bytes wait to be synced.
    pub(crate) dirty_since_ms: Option<i64>,
    /// The log was used since `maintain` last looked.
    pub(crate) used: bool,
    /// Counts truncations: a pass that compacts the log must not build on what was cut.
    pub(crate) cuts: u64,
    /// Tells a pass that compacts this log that there still is one.
    pub(crate) alive: Arc<()>,
    /// Alive while the log is being compacted.
    pub(crate) compacting: Weak<()>,
    /// A change is under way, or a panic ended it in the middle.
    pub(crate) half_done: bool,
}

/// What only the segment that is written to has.
#[derive(Debug)]
pub(crate) struct Active {
    pub file: Option<Arc<dyn File>>,
    pub indexer: Indexer,
    pub recent: Recent,
    /// Blocks are reserved up to here.
    pub allocated: u64,
    /// Timestamp of the first batch; rolling by age counts from it.
    pub first_timestamp: FirstTimestamp,
    /// When the segment was created or opened: rolling counts from it when its batches have no timestamps.
    pub created_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstTimestamp {
    /// The segment has batches, but nobody has looked yet.
    Unknown,
    Empty,
    At(i64),
}

impl Active {
    pub fn new(indexer: Indexer, size: u32, now_ms: i64) -> Self {
        let first_timestamp = if size == 0 { FirstTimestamp::Empty } else { FirstTimestamp::Unknown };
        Active {
            file: None,
            indexer,
            recent: Recent::default(),
            allocated: u64::from(size),
            first_timestamp,
            created_ms: now_ms,
        }
    }
}

/// Who gives offsets and epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendAs {
    /// We lead: offsets are assigned here and the epoch is ours. The batches were validated before (CRC,
    /// counts, timestamps).
    Leader { leader_epoch: i32, log_append_time: Option<i64>, origin: Origin },
    /// The bytes come from a leader, or are entries of the Raft log, and keep offsets and epochs. Their CRCs
    /// are verified here.
    Replica,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    /// Below `base_offset` when there was nothing to append.
    pub last_offset: i64,
    /// Largest timestamp, -1 when none of the batches has one.
    pub max_timestamp: i64,
    pub log_start_offset: i64,
    /// The batch was in the log already: nothing was written, and the offsets are those of the first time.
    pub duplicate: bool,
    /// A new segment was begun.
    pub rolled: bool,
}

/// What opening a log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Bytes whose checksums were verified because no checkpoint vouched for them.
    pub recovered_bytes: u64,
    /// Bytes of a torn tail that were cut.
    pub truncated_bytes: u64,
    pub segments_count: usize,
}

impl Log {
    /// The folder's name, `topic-0`.
    pub fn name(&self) -> &str {
        self.durability.name()
    }

    /// Tells logs of one name apart; never reused in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// The next offset to be written.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// First offset that this disk holds (ListOffsets -4, earliest local).
    pub fn local_log_start_offset(&self) -> i64 {
        self.log_start_offset.max(self.segments[0].base_offset)
    }

    /// The shared handle for waiting for syncs and asking for them: `directory.request_sync(log.durability(), …)`.
    pub fn durability(&self) -> &Arc<Durability> {
        &self.durability
    }

    /// Below this offset everything survives a power loss.
    pub fn durable_offset(&self) -> i64 {
        self.durability.durable_offset()
    }

    /// Syncs in the thread of the caller; says the durable offset.
    pub fn sync(&mut self) -> Result<i64, Error> {
        self.disk.sync_log(&self.durability)
    }

    /// Notes that everything below `high_watermark` is committed, for a later start. In memory: the directory writes it
    /// with [`Directory::checkpoint_high_watermarks`].
    pub fn note_high_watermark(&self, high_watermark: i64) {
        self.directory.high_watermarks().note(&self.durability, high_watermark.min(self.log_end_offset));
    }

    /// The high watermark that was noted last, if any, by this process or an earlier one; never beyond the log's end.
    pub fn noted_high_watermark(&self) -> Option<i64> {
        self.directory.high_watermarks().offset(self.name()).map(|noted| noted.min(self.log_end_offset))
    }

    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// First offset that a `read_committed` reader must not see; the log end offset when no transaction is
    /// open. The caller bounds it by the high watermark.
    pub fn last_stable_offset(&self) -> i64 {
        self.producers
            .first_unstable_offset()
            .map_or(self.log_end_offset, |offset| offset.max(self.log_start_offset))
    }

    /// Tells which markers are replicated: a transaction is unstable until its marker is.
    pub fn high_watermark_reached(&mut self, high_watermark: i64) {
        self.producers.high_watermark_reached(high_watermark);
    }

    pub fn latest_epoch(&self) -> Option<i32> {
        self.epochs.latest_epoch()
    }

    /// Leader epochs and where they began, ascending.
    pub fn epochs(&self) -> &[EpochStart] {
        self.epochs.entries()
    }

    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.epochs.epoch_at(offset)
    }

    /// The largest epoch not above `epoch`, and where it ended (OffsetForLeaderEpoch).
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<EpochEnd> {
        self.epochs.end_offset_for(epoch, self.log_end_offset)
    }

    /// A new leader's epoch begins at the log end offset. Written to disk with the first batch of the epoch:
    /// becoming leader of many partitions must not cost a write each.
    pub fn assign_epoch_start(&mut self, epoch: i32) {
        self.epochs_changed |= self.epochs.assign(epoch, self.log_end_offset);
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.size)).sum()
    }

    pub fn segments_count(&self) -> usize {
        self.segments.len()
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Replaces the settings; they act from the next append and retention pass on.
    pub fn take_config(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// Fails when the log must not be used any more.
    pub(crate) fn check_usable(&self) -> Result<(), Error> {
        self.disk.check()?;
        if self.half_done { Err(Error::Interrupted { log: self.name().into() }) } else { Ok(()) }
    }

    /// Makes a change. When it panics the log is left as it is, and nothing builds on that.
    pub(crate) fn change<T, E: From<Error>>(
        &mut self,
        change: impl FnOnce(&mut Log) -> Result<T, E>,
    ) -> Result<T, E> {
        self.check_usable()?;
        self.half_done = true;
        let result = change(self);
        self.half_done = false;
        result
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.directory.path().join(self.name())
    }

    pub(crate) fn path(&self, base_offset: i64, kind: Kind) -> PathBuf {
        kind.path(&self.folder(), base_offset)
    }

    /// The file that a slice of this log is in, for whoever finds fault with its bytes.
    pub fn file_of(&self, slice: &Slice) -> PathBuf {
        self.path(slice.segment, Kind::Log)
    }

    pub(crate) fn active_index(&self) -> usize {
        self.segments.len() - 1
    }

    pub(crate) fn active_segment(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log always has a segment")
    }

    /// The segment that holds `offset`, or would.
    pub(crate) fn segment_index(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    /// What no offset in a segment may reach.
    pub(crate) fn segment_end_offset(&self, index: usize) -> i64 {
        self.segments.get(index + 1).map_or(self.log_end_offset, |next| next.base_offset)
    }

    /// A batch of a segment may not claim offsets of the next one. A base offset is under no checksum, and a segment
    /// that nobody walked since it was closed may have been damaged meanwhile.
    pub(crate) fn check_within(&self, index: usize, position: u32, next_offset: i64) -> Result<(), Error> {
        let end_offset = self.segment_end_offset(index);
        if next_offset <= end_offset {
            return Ok(());
        }
        let file = self.path(self.segments[index].base_offset, Kind::Log);
        let reason = format!("last offset {} is not below {end_offset}", next_offset - 1);
        Err(Error::damaged(file, u64::from(position), reason))
    }

    /// A segment's `.log` file.
    pub(crate) fn log_file(&mut self, index: usize) -> Result<Arc<dyn File>, Error> {
        let base_offset = self.segments[index].base_offset;
        let is_active = index == self.active_index();
        if is_active {
            self.used = true;
            if let Some(file) = &self.active.file {
                return Ok(file.clone());
            }
        }
        let Some(file) = self.cached(base_offset, Kind::Log)? else {
            return Err(Error::damaged(self.path(base_offset, Kind::Log), 0, "the file is gone"));
        };
        if is_active {
            self.active.file = Some(file.clone());
        }
        Ok(file)
    }

    /// A file of a segment, opened at most once; `None` when there is none.
    pub(crate) fn cached(&self, base_offset: i64, kind: Kind) -> Result<Option<Arc<dyn File>>, Error> {
        let key = (self.id, base_offset, kind);
        if let Some(file) = self.disk.open_files.get(key) {
            return Ok(Some(file));
        }
        let file = self.disk.open(&self.path(base_offset, kind))?;
        if let Some(file) = &file {
            self.disk.open_files.put(key, file.clone());
        }
        Ok(file)
    }

    /// A file of a segment, created when it is missing.
    pub(crate) fn cached_or_created(&self, base_offset: i64, kind: Kind) -> Result<Arc<dyn File>, Error> {
        if let Some(file) = self.cached(base_offset, kind)? {
            return Ok(file);
        }
        let file = self.disk.create(&self.path(base_offset, kind))?;
        self.durability.renamed();
        self.disk.open_files.put((self.id, base_offset, kind), file.clone());
        Ok(file)
    }

    pub(crate) fn forget_files(&self, base_offset: i64) {
        for kind in Kind::ALL {
            self.disk.open_files.forget((self.id, base_offset, kind));
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        for segment in &self.segments {
            self.forget_files(segment.base_offset);
        }
    }
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;

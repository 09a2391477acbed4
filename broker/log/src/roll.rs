//! Sealing the active segment and beginning the next, and the periodic and final upkeep of a log's files.
//!
//! Order is what makes this safe: a segment is synced, with its indexes, its producer snapshot and the names in
//! the folder, before the recovery point passes its end. The flusher does that behind the append.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::extent::Extent;
use crate::files::{self, File};
use crate::leader_epochs;
use crate::log::{Active, Log};
use crate::names::{Kind, TEMPORARY};
use crate::producer_snapshot;
use crate::segment::{Indexer, Segment};

/// Age of unsynced bytes at which the flusher is asked to sync them although nobody waits: by then the kernel
/// has written most of them, and a crash has less to check.
const DIRTY_AGE_MAX_MS: i64 = 30_000;

impl Log {
    /// Seals the active segment and begins a new one at the log end offset; nothing if it is empty. Also for a
    /// caller who wants everything so far to be deletable.
    pub fn roll(&mut self, now_ms: i64) -> Result<(), Error> {
        self.change(|log| log.roll_if_filled(now_ms))
    }

    pub(crate) fn roll_if_filled(&mut self, now_ms: i64) -> Result<(), Error> {
        if self.active_segment().size == 0 && self.active_segment().base_offset == self.log_end_offset {
            return Ok(());
        }
        self.roll_at(self.log_end_offset, now_ms)
    }

    /// Seals the active segment and begins one at `base_offset`.
    pub(crate) fn roll_at(&mut self, base_offset: i64, now_ms: i64) -> Result<(), Error> {
        debug_assert!(base_offset >= self.log_end_offset, "{base_offset} >= {}", self.log_end_offset);
        // Each step may fail for want of descriptors. Until the new file is there only derived files have changed,
        // and in a way that they have anyway when the log is closed.
        self.settle_first_name()?;
        self.seal()?;
        self.write_snapshot(base_offset)?;
        let file = self.disk.create(&self.path(base_offset, Kind::Log))?;
        self.durability.renamed();
        self.segments.push(Segment::new(base_offset, 0));
        self.active = Active::new(Indexer::new(base_offset), 0, now_ms);
        self.active.file = Some(file);
        self.directory.request_sync(&self.durability, None);
        Ok(())
    }

    /// Makes the first segment's name durable before there is a second one. A power loss that kept only the second
    /// would leave a log that begins in the middle, and nobody could tell. Once in the life of a log, and only if it
    /// rolls before its first sync.
    fn settle_first_name(&self) -> Result<(), Error> {
        if !self.durability.is_established() {
            self.disk.sync_dir(&self.folder())?;
            self.disk.sync_dir(self.directory.path())?;
            self.durability.establish();
        }
        Ok(())
    }

    /// Completes the active segment's files, as those of a sealed one are.
    fn seal(&mut self) -> Result<(), Error> {
        let index = self.active_index();
        let file = self.log_file(index)?;
        let segment = self.segments[index];
        // An append that fills several segments tells of its bytes only when all are written.
        self.durability.wrote(&file);
        let mut indexer = self.active.indexer.clone();
        indexer.note_time();
        self.write_indexes(segment.base_offset, &mut indexer)?;
        if self.active.allocated > u64::from(segment.size) {
            let result = file.truncate(u64::from(segment.size));
            self.disk.done("truncate", &self.path(segment.base_offset, Kind::Log), result)?;
            self.active.allocated = u64::from(segment.size);
        }
        self.segments[index].largest = Some(indexer.largest);
        self.active.indexer = indexer;
        self.disk.open_files.put((self.id, segment.base_offset, Kind::Log), file);
        Ok(())
    }

    /// Writes what is in memory of a segment's indexes and cuts the files to exactly that.
    pub(crate) fn write_indexes(&self, base_offset: i64, indexer: &mut Indexer) -> Result<(), Error> {
        let [offsets, times] = self.spill_files(base_offset)?;
        let result = indexer.spill(&*offsets, &*times).and_then(|()| {
            offsets.truncate(u64::from(indexer.offsets.on_disk) * 8)?;
            times.truncate(u64::from(indexer.times.on_disk) * 12)
        });
        self.disk.done("write", &self.path(base_offset, Kind::OffsetIndex), result)?;
        self.durability.touched(offsets);
        self.durability.touched(times);
        Ok(())
    }

    /// Writes the active segment's index entries, so that memory does not grow with it.
    pub(crate) fn spill(&mut self) -> Result<(), Error> {
        let base_offset = self.active_segment().base_offset;
        let [offsets, times] = self.spill_files(base_offset)?;
        let result = self.active.indexer.spill(&*offsets, &*times);
        self.disk.done("write", &self.path(base_offset, Kind::OffsetIndex), result)
    }

    fn spill_files(&self, base_offset: i64) -> Result<[Arc<dyn File>; 2], Error> {
        let offsets = self.cached_or_created(base_offset, Kind::OffsetIndex)?;
        let times = self.cached_or_created(base_offset, Kind::TimeIndex)?;
        Ok([offsets, times])
    }

    /// Writes the producers' state at `offset`, the log end offset or the one where the log goes on, unless the
    /// newest snapshot is that.
    pub(crate) fn write_snapshot(&mut self, offset: i64) -> Result<(), Error> {
        if self.snapshot_offset == Some(offset) {
            return Ok(());
        }
        let bytes = producer_snapshot::encode(self.producers.iter());
        self.write_beside(&self.path(offset, Kind::Snapshot), &bytes)?;
        self.snapshot_offset = Some(offset);
        Ok(())
    }

    pub(crate) fn write_epochs(&mut self) -> Result<(), Error> {
        let text = self.epochs.to_text();
        self.write_beside(&self.folder().join(leader_epochs::FILE_NAME), text.as_bytes())?;
        self.epochs_changed = false;
        Ok(())
    }

    /// Replaces a small file of the folder. It is synced together with the log: until then a power loss may
    /// leave the old one, or one that does not parse, and recovery reads the log instead.
    fn write_beside(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(TEMPORARY);
        let file = self.disk.create(Path::new(&temporary))?;
        let result = files::write_all_at(&*file, bytes, 0)
            .and_then(|()| self.disk.files.rename(Path::new(&temporary), path));
        self.disk.done("write", path, result)?;
        self.durability.touched(file);
        self.durability.renamed();
        Ok(())
    }

    /// Periodic upkeep, every few seconds: removes files whose delay is over, forgets expired producers, asks
    /// for a sync of bytes that have waited long, closes the file of an idle log. Cheap when there is nothing
    /// to do.
    pub fn maintain(&mut self, now_ms: i64) -> Result<(), Error> {
        self.change(|log| log.maintain_files(now_ms))
    }

    fn maintain_files(&mut self, now_ms: i64) -> Result<(), Error> {
        self.remove_due(now_ms)?;
        self.producers.expire_now_and_then(now_ms, self.config.producer_id_expiration_ms);
        let was_used = std::mem::take(&mut self.used);
        if self.durability.is_durable() {
            self.dirty_since_ms = None;
            if !was_used {
                self.release();
            }
        } else if self.dirty_since_ms.is_none_or(|since| now_ms.saturating_sub(since) >= DIRTY_AGE_MAX_MS) {
            self.dirty_since_ms = Some(now_ms);
            self.directory.request_sync(&self.durability, None);
        }
        Ok(())
    }

    /// Gives back what an idle log does not need. The index entries in memory stay: they are few, and writing
    /// them would make the log dirty again.
    pub(crate) fn release(&mut self) {
        self.used = false;
        self.active.file = None;
        self.active.recent.clear();
        self.forget_files(self.active_segment_base());
    }

    fn active_segment_base(&self) -> i64 {
        self.segments[self.active_index()].base_offset
    }

    /// Completes and syncs everything, so that opening the log again needs no recovery.
    pub fn close_clean(mut self) -> Result<(), Error> {
        self.check_usable()?;
        if self.changed || self.snapshot_offset != Some(self.log_end_offset) {
            self.seal()?;
            self.write_snapshot(self.log_end_offset)?;
        }
        if self.epochs_changed {
            self.write_epochs()?;
        }
        self.sync()?;
        if self.is_start_checkpointed() {
            for (base_offset, _) in std::mem::take(&mut self.deleted) {
                self.remove_files(base_offset)?;
            }
        }
        self.durability.close_cleanly(Extent::of(&self));
        Ok(())
    }

    /// Deletes the log: its folder gets another name at once, which is returned; its files go with
    /// `Directory::remove_deleted`. `unique` tells apart deleted logs of one name: 32 hexadecimal digits in Kafka.
    pub fn delete(self, unique: &str) -> Result<String, Error> {
        self.disk.check()?;
        let Log { directory, disk, durability, .. } = &self;
        {
            // Between two syncs: one that runs must still find the folder under its name.
            let _order = durability.sync_order();
            durability.close();
        }
        directory.unregister(durability.name());
        let folder = directory.path().join(durability.name());
        let deleted = crate::names::deleted_folder(durability.name(), unique);
        let renamed: io::Result<()> = disk.files.rename(&folder, &directory.path().join(&deleted));
        disk.done("rename", &folder, renamed)?;
        disk.sync_dir(directory.path())?;
        Ok(deleted)
    }
}

//! Deleting old segments: by time, by size, and below the log start offset.
//!
//! A deleted segment's files are renamed at once and removed after `file.delete.delay.ms`. Readers are not
//! what waits for that: they hold the file itself. The delay is the operator's last chance to undo a retention
//! set too low.

use crate::error::Error;
use crate::log::Log;
use crate::names::{DELETED, Kind};

impl Log {
    /// Raises the log start offset (DeleteRecords, the Raft log's purge); false when it was there already.
    /// Durable with the next `Directory::checkpoint`; the segments go with the next `delete_old_segments`. The
    /// caller bounds it by the high watermark.
    pub fn set_log_start_offset(&mut self, offset: i64) -> bool {
        debug_assert!(offset <= self.log_end_offset, "{offset} <= {}", self.log_end_offset);
        let offset = offset.min(self.log_end_offset);
        if offset <= self.log_start_offset {
            return false;
        }
        self.log_start_offset = offset;
        self.durability.set_log_start_offset(offset);
        self.epochs_changed |= self.epochs.truncate_from_start(offset);
        self.producers.log_start_moved(offset);
        true
    }

    /// Applies retention to segments that lie wholly below `upto_offset` (the high watermark); says how many
    /// were deleted. None while the log is being compacted.
    pub fn delete_old_segments(&mut self, upto_offset: i64, now_ms: i64) -> Result<usize, Error> {
        if self.is_being_compacted() {
            return Ok(0);
        }
        self.change(|log| log.apply_retention(upto_offset, now_ms))
    }

    fn apply_retention(&mut self, upto_offset: i64, now_ms: i64) -> Result<usize, Error> {
        let mut count = self.count_below_start(upto_offset);
        if self.config.delete {
            count = count.max(self.count_expired(upto_offset, now_ms)?);
            count = count.max(self.count_oversize(upto_offset));
        }
        if count == 0 {
            return Ok(0);
        }
        if count == self.segments.len() {
            // The active one is old too. What comes next goes into a new one.
            self.roll_if_filled(now_ms)?;
        }
        self.delete_first(count, now_ms)?;
        Ok(count)
    }

    /// Whether the segment lies wholly below `upto_offset`. An empty active segment is never deleted: it would
    /// be replaced by itself.
    fn is_deletable(&self, index: usize, upto_offset: i64) -> bool {
        match self.segments.get(index + 1) {
            Some(next) => next.base_offset <= upto_offset,
            None => self.segments[index].size > 0 && self.log_end_offset <= upto_offset,
        }
    }

    fn count_below_start(&self, upto_offset: i64) -> usize {
        let is_below = |index: usize| {
            let next = self.segments.get(index + 1);
            next.is_some_and(|next| next.base_offset <= self.log_start_offset.min(upto_offset))
        };
        (0..self.segments.len()).take_while(|index| is_below(*index)).count()
    }

    fn count_expired(&mut self, upto_offset: i64, now_ms: i64) -> Result<usize, Error> {
        let Some(retention_ms) = self.config.retention_ms else { return Ok(0) };
        let mut count = 0;
        while count < self.segments.len() && self.is_deletable(count, upto_offset) {
            let timestamp = match self.largest(count)?.timestamp {
                timestamp if timestamp >= 0 => timestamp,
                _ => self.modified_ms(count)?,
            };
            if now_ms.saturating_sub(timestamp) <= retention_ms {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// Segments without which the log is still as large as it may be.
    fn count_oversize(&self, upto_offset: i64) -> usize {
        let Some(retention_bytes) = self.config.retention_bytes else { return 0 };
        let mut size = self.size_bytes();
        let mut count = 0;
        for (index, segment) in self.segments.iter().enumerate() {
            let left = size.saturating_sub(u64::from(segment.size));
            if left < retention_bytes || !self.is_deletable(index, upto_offset) {
                break;
            }
            size = left;
            count += 1;
        }
        count
    }

    /// When the segment was last written, for batches without timestamps.
    fn modified_ms(&self, index: usize) -> Result<i64, Error> {
        let path = self.path(self.segments[index].base_offset, Kind::Log);
        let metadata = self.disk.files.metadata(&path);
        Ok(self.disk.done("look at", &path, metadata)?.modified_ms)
    }

    /// Deletes the oldest `count` segments; the log begins behind them.
    fn delete_first(&mut self, count: usize, now_ms: i64) -> Result<(), Error> {
        let log_start_offset = self.segments[count].base_offset;
        // The segment that will be the first must not be lost while a later one is kept.
        if self.durability.has_unsynced_names() {
            self.disk.sync_dir(&self.folder())?;
        }
        // Ascending: a crash in between leaves a log that begins a little earlier, without a hole.
        for _ in 0..count {
            let segment = self.segments.remove(0);
            self.rename_files(segment.base_offset)?;
            self.deleted.push((segment.base_offset, now_ms + self.config.file_delete_delay_ms));
        }
        self.durability.renamed();
        self.set_log_start_offset(log_start_offset);
        self.remove_due(now_ms)
    }

    /// Renames a segment's files for deletion.
    fn rename_files(&self, base_offset: i64) -> Result<(), Error> {
        self.forget_files(base_offset);
        for kind in Kind::ALL {
            let path = self.path(base_offset, kind);
            let mut deleted = path.clone().into_os_string();
            deleted.push(DELETED);
            match self.disk.files.rename(&path, deleted.as_ref()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.disk.failed("rename", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes files whose delay is over, but only after a sync of the names: as long as a renamed file is
    /// there, recovery can tell that those before it were deleted too. And each only when a checkpoint says that the
    /// log begins behind it: before, it is what tells a deleted first segment from a lost one.
    pub(crate) fn remove_due(&mut self, now_ms: i64) -> Result<(), Error> {
        if self.deleted.first().is_none_or(|(_, due_ms)| *due_ms > now_ms) {
            return Ok(());
        }
        let durability = self.durability.clone();
        // Beside the checkpoint that is needed too.
        if durability.has_unsynced_names() {
            self.directory.request_sync(&self.durability, None);
        }
        if self.removable(now_ms).is_none() {
            return Ok(());
        }
        // The flusher's thread may need a while: then the next `maintain` finds them.
        let _order = match durability.sync_order_if_idle() {
            Some(order) if !durability.has_unsynced_names() => order,
            _ => return Ok(()),
        };
        while let Some(base_offset) = self.removable(now_ms) {
            self.deleted.remove(0);
            self.remove_files(base_offset)?;
        }
        Ok(())
    }

    /// The oldest deleted segment if its delay is over and the checkpoint on disk lies behind it. What was deleted
    /// since that checkpoint does not matter: a log that always deletes would keep its files for ever.
    fn removable(&self, now_ms: i64) -> Option<i64> {
        let (base_offset, due_ms) = *self.deleted.first()?;
        let first = self.segments[0].base_offset;
        let end_offset = self.deleted.get(1).map_or(first, |(next, _)| first.min(*next));
        let checkpointed = self.directory.checkpointed_start(self.name());
        (due_ms <= now_ms && checkpointed.is_some_and(|start| start >= end_offset)).then_some(base_offset)
    }

    /// Whether the checkpoint on disk knows that what was deleted is not part of the log.
    pub(crate) fn is_start_checkpointed(&self) -> bool {
        let first = self.segments[0].base_offset;
        self.directory
            .checkpointed_start(self.name())
            .is_some_and(|log_start_offset| log_start_offset >= first)
    }

    pub(crate) fn remove_files(&self, base_offset: i64) -> Result<(), Error> {
        for kind in Kind::ALL {
            let mut deleted = self.path(base_offset, kind).into_os_string();
            deleted.push(DELETED);
            self.disk.remove(deleted.as_ref())?;
        }
        Ok(())
    }
}

//! The segment that a group of segments becomes, written under `.cleaned` and synced.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use milena_protocol::records::BatchHeader;

use super::Failure;
use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::Error;
use crate::files::{self, File};
use crate::names::{CLEANED, Kind};
use crate::segment::{Indexer, Largest};
use crate::transaction_index::{self, AbortedTransaction};

/// Where a log's files are, and whether they still are there.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub disk: Arc<Disk>,
    pub durability: Arc<Durability>,
    pub folder: PathBuf,
    /// Gone when the log is: another may be open under its name, with a pass of its own.
    pub log: Weak<()>,
}

impl Home {
    pub fn path(&self, base_offset: i64, kind: Kind, ending: &str) -> PathBuf {
        let mut path = kind.path(&self.folder, base_offset).into_os_string();
        path.push(ending);
        path.into()
    }

    /// Changes names in the folder, unless the log was closed, or deleted and with it the folder.
    pub fn in_folder<T>(&self, change: impl FnOnce(&Path) -> Result<T, Error>) -> Result<T, Failure> {
        // Deleting closes the log between two holders of this, and renames the folder after it.
        let _order = self.durability.sync_order();
        if self.durability.is_closed() || self.log.strong_count() == 0 {
            return Err(Failure::Overtaken);
        }
        Ok(change(&self.folder)?)
    }
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    files: CleanedFiles,
    log: Arc<dyn File>,
    /// What was not written yet goes to this position.
    position: u32,
    buffer: Vec<u8>,
    buffer_bytes: usize,
    indexer: Indexer,
    index_interval_bytes: u32,
    end_offset: i64,
}

/// A segment that is written and synced, and waits to take its place.
#[derive(Debug)]
pub(super) struct Cleaned {
    pub files: CleanedFiles,
    pub size: u32,
    /// Behind its last batch.
    pub end_offset: i64,
    pub largest: Largest,
    pub kinds: Vec<Kind>,
}

impl Cleaned {
    pub fn has_transaction_index(&self) -> bool {
        self.kinds.contains(&Kind::TransactionIndex)
    }
}

/// The `.cleaned` files of one segment; those that do not take their place are removed.
#[derive(Debug)]
pub(super) struct CleanedFiles {
    home: Home,
    pub base_offset: i64,
    pub in_place: bool,
}

impl Drop for CleanedFiles {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next pass, or when the log is opened.
        if self.in_place {
            return;
        }
        let _ = self.home.in_folder(|_| {
            for kind in Kind::ALL {
                let path = self.home.path(self.base_offset, kind, CLEANED);
                let _ = self.home.disk.files.remove_file(&path);
            }
            Ok(())
        });
    }
}

impl Writer {
    pub fn create(
        home: &Home,
        base_offset: i64,
        buffer_bytes: usize,
        index_interval_bytes: u32,
    ) -> Result<Self, Failure> {
        let files = CleanedFiles { home: home.clone(), base_offset, in_place: false };
        let log = home.in_folder(|_| home.disk.create(&home.path(base_offset, Kind::Log, CLEANED)))?;
        Ok(Writer {
            files,
            log,
            position: 0,
            buffer: Vec::new(),
            buffer_bytes,
            indexer: Indexer::new(base_offset),
            index_interval_bytes,
            end_offset: base_offset,
        })
    }

    /// Adds a batch; says how many bytes were written to the disk for it.
    pub fn add(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<u64, Failure> {
        let position = u64::from(self.position) + self.buffer.len() as u64;
        // Batches may grow when they are packed again.
        let fits = u32::try_from(position + bytes.len() as u64).is_ok_and(|end| end <= i32::MAX as u32);
        if !fits {
            let reason = format!("segment {} would exceed 2 GiB", self.files.base_offset);
            return Err(Failure::Uncleanable { reason });
        }
        let interval = self.index_interval_bytes;
        let size = bytes.len() as u32;
        self.indexer.note(position as u32, header.last_offset(), header.max_timestamp, size, interval);
        self.end_offset = header.next_offset();
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < self.buffer_bytes { Ok(0) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<u64, Failure> {
        let result = files::write_all_at(&*self.log, &self.buffer, u64::from(self.position));
        self.done(Kind::Log, result)?;
        let bytes = self.buffer.len();
        self.position += bytes as u32;
        self.buffer.clear();
        Ok(bytes as u64)
    }

    /// Completes the segment and syncs it; says how many bytes were written for it.
    pub fn finish(mut self, aborted: &[AbortedTransaction]) -> Result<(Cleaned, u64), Failure> {
        let mut bytes = self.flush()?;
        self.done(Kind::Log, self.log.sync_data())?;
        self.indexer.note_time();
        let offsets = self.create_beside(Kind::OffsetIndex)?;
        let times = self.create_beside(Kind::TimeIndex)?;
        let spilled = self.indexer.spill(&*offsets, &*times);
        self.done(Kind::OffsetIndex, spilled.and_then(|()| offsets.sync_data()))?;
        self.done(Kind::TimeIndex, times.sync_data())?;
        let mut kinds = vec![Kind::Log, Kind::OffsetIndex, Kind::TimeIndex];
        if !aborted.is_empty() {
            let file = self.create_beside(Kind::TransactionIndex)?;
            let entries = transaction_index::encode(aborted);
            bytes += entries.len() as u64;
            let written = files::write_all_at(&*file, &entries, 0);
            self.done(Kind::TransactionIndex, written.and_then(|()| file.sync_data()))?;
            kinds.push(Kind::TransactionIndex);
        }
        // A power loss that lost the name of one and kept that of another would, after the renames, pass for a whole.
        let home = &self.files.home;
        home.in_folder(|folder| home.disk.sync_dir(folder))?;
        let Writer { files, position: size, end_offset, indexer, .. } = self;
        Ok((Cleaned { files, size, end_offset, largest: indexer.largest, kinds }, bytes))
    }

    fn create_beside(&self, kind: Kind) -> Result<Arc<dyn File>, Failure> {
        let home = &self.files.home;
        home.in_folder(|_| home.disk.create(&home.path(self.files.base_offset, kind, CLEANED)))
    }

    fn done<T>(&self, kind: Kind, result: std::io::Result<T>) -> Result<T, Failure> {
        let home = &self.files.home;
        let path = home.path(self.files.base_offset, kind, CLEANED);
        Ok(home.disk.done("write", &path, result)?)
    }
}

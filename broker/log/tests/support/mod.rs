//! A log on memory files, driven step by step, and a model of what must be there after a power loss.
//!
//! The model knows each batch byte for byte. After any failure the log must hold a prefix of what was
//! attempted, reaching at least as far as the last sync that was acknowledged, and its producers and
//! epochs must agree with exactly those batches.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod keyed;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use milena_log::directory::Options;
use milena_log::memory_files::MemoryFiles;
use milena_log::producers::Origin;
use milena_log::{AppendAs, AppendError, Config, Directory, Error, Log, Opened, Read};
use milena_protocol::records::{Batch, Batches, Builder};

pub const NOW_MS: i64 = 1_700_000_000_000;
pub const NAME: &str = "t-0";
pub const FOLDER: &str = "/data";

/// Small segments and dense indexes, so that a short history has many files.
pub fn config() -> Arc<Config> {
    Arc::new(Config {
        segment_bytes: 700,
        index_interval_bytes: 100,
        retention_ms: None,
        file_delete_delay_ms: 0,
        ..Config::default()
    })
}

/// One thing that happens to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Producer 0 is none; the others are idempotent.
    Append {
        producer: i64,
        count: i32,
    },
    /// The last batch of the producer comes again.
    Repeat {
        producer: i64,
    },
    Sync,
    Checkpoint,
    /// A new leader epoch begins.
    Lead,
    /// Cuts so many batches off the end.
    Truncate {
        batches: usize,
    },
    /// Raises the log start past so many batches, and deletes segments.
    DeleteRecords {
        batches: usize,
    },
    /// A clean stop and a start.
    Restart,
}

/// A batch that was handed to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub bytes: Vec<u8>,
    pub base_offset: i64,
    pub next_offset: i64,
    pub producer: i64,
    pub base_sequence: i32,
    pub leader_epoch: i32,
}

/// What must be true of the log.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Everything attempted that was not truncated, oldest first.
    pub batches: Vec<Written>,
    /// Acknowledged by a sync.
    pub synced_offset: i64,
    /// Where the log starts, and where a checkpoint said so.
    pub start_offset: i64,
    pub start_offset_durable: i64,
    pub leader_epoch: i32,
    next_sequence: BTreeMap<i64, i32>,
    appends_count: usize,
}

impl Model {
    pub fn end_offset(&self) -> i64 {
        self.batches.last().map_or(self.start_offset, |batch| batch.next_offset)
    }

    /// The batch of the next append, as a producer sends it and as the log must keep it.
    fn next_batch(&mut self, producer: i64, count: i32) -> (Vec<u8>, Written) {
        self.appends_count += 1;
        let base_sequence = self.next_sequence.get(&producer).copied().unwrap_or(0);
        let mut builder = Builder::new();
        if producer > 0 {
            builder = builder.producer(producer, 0, base_sequence);
        }
        for index in 0..count {
            let value = format!("append {} record {index}", self.appends_count);
            let timestamp = NOW_MS + self.appends_count as i64;
            builder.append(timestamp, Some(b"k"), Some(value.as_bytes()), &[]).expect("small");
        }
        let sent = builder.finish().expect("small");
        let (base_offset, leader_epoch) = (self.end_offset(), self.leader_epoch);
        let (batch, _) = Batch::parse(&sent).expect("just built");
        let mut bytes = batch.patched_header(base_offset, leader_epoch, None).to_vec();
        bytes.extend_from_slice(batch.payload());
        let next_offset = base_offset + i64::from(count);
        (sent.clone(), Written { bytes, base_offset, next_offset, producer, base_sequence, leader_epoch })
    }

    fn attempted(&mut self, written: Written) {
        if written.producer > 0 {
            let count = (written.next_offset - written.base_offset) as i32;
            self.next_sequence.insert(written.producer, written.base_sequence + count);
        }
        self.batches.push(written);
    }

    /// Forgets what is at or above `end_offset`: it was truncated, or did not survive.
    pub fn cut(&mut self, end_offset: i64) {
        self.batches.retain(|batch| batch.next_offset <= end_offset);
        self.synced_offset = self.synced_offset.min(end_offset);
        self.next_sequence.clear();
        for batch in self.batches.iter().filter(|batch| batch.producer > 0) {
            let count = (batch.next_offset - batch.base_offset) as i32;
            self.next_sequence.insert(batch.producer, batch.base_sequence + count);
        }
    }

    /// Compares the opened log with what may be there, and takes over what is.
    pub fn check(&mut self, log: &mut Log, context: &str) {
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let (synced, attempted) = (self.synced_offset, self.end_offset());
        assert!((synced..=attempted).contains(&end), "{context}: {synced} <= {end} <= {attempted}");
        let (durable, wanted) = (self.start_offset_durable, self.start_offset);
        assert!((durable..=wanted).contains(&start), "{context}: start {durable} <= {start} <= {wanted}");
        self.cut(end);
        let kept_end = self.batches.last().map_or(start, |batch| batch.next_offset.max(start));
        assert_eq!(kept_end, end, "{context}: the log ends between two batches");
        let expected: Vec<&Written> = self.batches.iter().filter(|batch| batch.next_offset > start).collect();
        let found = read_all(log);
        assert_eq!(found.len(), expected.len(), "{context}: batches in {start}..{end}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!(*found == expected.bytes, "{context}: batch at {} differs", expected.base_offset);
            let epoch = log.epoch_at(expected.base_offset.max(start));
            assert_eq!(epoch, Some(expected.leader_epoch), "{context}: epoch at {}", expected.base_offset);
        }
        check_producers(&expected, log, context);
        self.start_offset = start;
    }
}

/// The producers know the last batch of each producer in the log, and nothing beyond the log.
fn check_producers(batches: &[&Written], log: &Log, context: &str) {
    let mut last: BTreeMap<i64, &Written> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| batch.producer > 0) {
        last.insert(batch.producer, batch);
    }
    for (producer, batch) in last {
        let known = log.producers().get(producer).and_then(|state| state.last_batch().copied());
        let known = known.unwrap_or_else(|| panic!("{context}: producer {producer} is forgotten"));
        assert_eq!(known.last_offset, batch.next_offset - 1, "{context}: producer {producer}");
        assert_eq!(known.base_sequence(), batch.base_sequence, "{context}: producer {producer}");
    }
    for (producer, state) in log.producers().iter() {
        let last_offset = state.last_batch().map_or(-1, |batch| batch.last_offset);
        assert!(last_offset < log.log_end_offset(), "{context}: producer {producer} knows the future");
    }
}

/// Bytes of every batch from the log start on.
pub fn read_all(log: &mut Log) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut from_offset = log.log_start_offset();
    let upto_offset = log.log_end_offset();
    while from_offset < upto_offset {
        let read = Read { from_offset, upto_offset, max_bytes: 300, min_one_batch: true, hot_only: false };
        let slice = log.read(read).expect("readable").expect("not at the end");
        let bytes = slice.read().expect("readable");
        for batch in Batches::maybe_truncated(&bytes) {
            let batch = batch.expect("whole");
            batch.verify_crc().expect("undamaged");
            from_offset = batch.next_offset();
            found.push(batch.as_bytes().to_vec());
        }
    }
    found
}

/// A log that runs, and the model beside it.
pub struct World {
    pub files: MemoryFiles,
    pub directory: Arc<Directory>,
    pub log: Log,
    pub model: Model,
}

pub fn open_directory(files: &MemoryFiles) -> Result<Arc<Directory>, Error> {
    let options = Options { flusher_thread: false, ..Options::default() };
    Directory::open(Arc::new(files.clone()), Path::new(FOLDER), options)
}

pub fn open(files: &MemoryFiles) -> Result<(Arc<Directory>, Log, Opened), Error> {
    let directory = open_directory(files)?;
    let (log, opened) = Log::open(&directory, NAME, config(), NOW_MS)?;
    Ok((directory, log, opened))
}

impl World {
    pub fn new() -> Self {
        Self::on(MemoryFiles::new(), Model::default()).expect("memory")
    }

    /// Opens what is on `files`, without looking at it.
    pub fn on(files: MemoryFiles, model: Model) -> Result<Self, Error> {
        let (directory, log, _) = open(&files)?;
        Ok(World { files, directory, log, model })
    }

    /// Opens what a failure left, and compares it with the model.
    pub fn recover(files: MemoryFiles, model: Model, context: &str) -> Self {
        let mut world = Self::on(files, model).unwrap_or_else(|error| panic!("{context}: {error}"));
        world.model.check(&mut world.log, context);
        world
    }

    /// As [`step`](Self::step), for a failure after which nothing may have changed: the model has forgotten it too.
    pub fn step_or_nothing(&mut self, step: Step) -> Result<(), AppendError> {
        let before = self.model.clone();
        let stepped = self.step(step);
        if matches!(&stepped, Err(AppendError::Storage(error)) if error.is_retriable()) {
            let synced_offset = self.model.synced_offset;
            self.model = Model { synced_offset, ..before };
        }
        stepped
    }

    /// Takes one step. After an error the world is only good for a crash.
    pub fn step(&mut self, step: Step) -> Result<(), AppendError> {
        match step {
            Step::Append { producer, count } => self.append(producer, count)?,
            Step::Repeat { producer } => self.repeat(producer)?,
            Step::Sync => {
                let synced = self.log.sync()?;
                assert_eq!(synced, self.model.end_offset(), "a sync covers what was appended");
                self.model.synced_offset = synced;
            }
            Step::Checkpoint => {
                self.directory.checkpoint()?;
                self.model.start_offset_durable = self.model.start_offset;
                // Files of deleted segments have waited for it.
                self.log.maintain(NOW_MS)?;
            }
            Step::Lead => self.model.leader_epoch += 1,
            Step::Truncate { batches } => self.truncate(batches)?,
            Step::DeleteRecords { batches } => self.delete_records(batches)?,
            Step::Restart => self.restart()?,
        }
        Ok(())
    }

    fn append(&mut self, producer: i64, count: i32) -> Result<(), AppendError> {
        let (sent, written) = self.model.next_batch(producer, count);
        let (base_offset, next_offset) = (written.base_offset, written.next_offset);
        // Attempted before it is done: when the power fails in the middle it may be there or not.
        self.model.attempted(written);
        let appended = self.log.append(&sent, self.leader(), NOW_MS)?;
        assert!(!appended.duplicate);
        assert_eq!((appended.base_offset, appended.last_offset + 1), (base_offset, next_offset));
        Ok(())
    }

    fn leader(&self) -> AppendAs {
        AppendAs::Leader {
            leader_epoch: self.model.leader_epoch,
            log_append_time: None,
            origin: Origin::Client,
        }
    }

    fn repeat(&mut self, producer: i64) -> Result<(), AppendError> {
        let last = self.model.batches.iter().rev().find(|batch| batch.producer == producer).cloned();
        // Without a remembered batch there is nothing to recognise.
        let Some(last) = last.filter(|_| self.log.producers().get(producer).is_some()) else { return Ok(()) };
        let appended = self.log.append(&last.bytes, self.leader(), NOW_MS)?;
        assert!(appended.duplicate, "the last batch of a producer is recognised");
        assert_eq!((appended.base_offset, appended.last_offset + 1), (last.base_offset, last.next_offset));
        Ok(())
    }

    fn truncate(&mut self, batches: usize) -> Result<(), Error> {
        let index = self.model.batches.len().saturating_sub(batches);
        let Some(first_cut) = self.model.batches.get(index) else { return Ok(()) };
        let end_offset = first_cut.base_offset.max(self.model.start_offset);
        // Until it is acknowledged the old end may survive or the new one.
        self.model.synced_offset = self.model.synced_offset.min(end_offset);
        self.log.truncate_to(end_offset)?;
        self.model.cut(end_offset);
        Ok(())
    }

    fn delete_records(&mut self, batches: usize) -> Result<(), Error> {
        let kept = self.model.batches.iter().filter(|batch| batch.base_offset >= self.model.start_offset);
        let Some(first_kept) = kept.map(|batch| batch.base_offset).nth(batches) else { return Ok(()) };
        self.model.start_offset = first_kept;
        self.log.set_log_start_offset(first_kept);
        self.log.delete_old_segments(self.model.end_offset(), NOW_MS)?;
        self.log.maintain(NOW_MS)
    }

    fn restart(&mut self) -> Result<(), Error> {
        let (log, directory) = (&mut self.log, &mut self.directory);
        // The old ones must go before the new ones take the lock, hence a throw-away world for a moment.
        let elsewhere = World::new();
        let old_log = std::mem::replace(log, elsewhere.log);
        let old_directory = std::mem::replace(directory, elsewhere.directory);
        old_log.close_clean()?;
        self.model.synced_offset = self.model.end_offset();
        old_directory.close_clean(-1)?;
        self.model.start_offset_durable = self.model.start_offset;
        drop(old_directory);
        let (directory, log, opened) = open(&self.files)?;
        assert_eq!(opened.recovered_bytes, 0, "a clean stop leaves nothing to recover");
        self.directory = directory;
        self.log = log;
        Ok(())
    }
}

/// SplitMix64, so that a seed names a history.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub fn step(&mut self) -> Step {
        match self.below(100) {
            0..55 => Step::Append { producer: self.below(4) as i64, count: 1 + self.below(4) as i32 },
            55..62 => Step::Repeat { producer: 1 + self.below(3) as i64 },
            62..80 => Step::Sync,
            80..85 => Step::Checkpoint,
            85..88 => Step::Lead,
            88..92 => Step::Truncate { batches: self.below(6) as usize },
            92..97 => Step::DeleteRecords { batches: self.below(10) as usize },
            _ => Step::Restart,
        }
    }
}

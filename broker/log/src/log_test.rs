//! Random lives of a log against a naive model that keeps every batch in a list.

use std::path::Path;
use std::sync::Arc;

use milena_protocol::records::{Batch, Builder, Compression};
use proptest::prelude::*;

use super::*;
use crate::directory::Options;
use crate::error::{AppendError, ReadError};
use crate::files::Files;
use crate::memory_files::{Fault, MemoryFiles, Operation};
use crate::read::Read;
use crate::real_files::RealFiles;

const NOW_MS: i64 = 1_700_000_000_000;
const NAME: &str = "topic-3";

#[derive(Debug, Clone)]
struct Kept {
    bytes: Vec<u8>,
    base_offset: i64,
    last_offset: i64,
    /// Timestamp of each record, relative to `NOW_MS`.
    timestamps: Vec<i64>,
}

#[derive(Debug, Clone)]
enum Step {
    /// Batches of so many records each, as a leader or as a replica that skips offsets in between.
    Append {
        batches: Vec<Vec<i64>>,
        replica_gap: Option<i64>,
        compressed: bool,
    },
    Read {
        from: usize,
        upto: usize,
        max_bytes: usize,
        min_one_batch: bool,
    },
    Time {
        timestamp: i64,
    },
    MaxTimestamp,
    Truncate {
        at: usize,
    },
    StartAgain {
        gap: i64,
    },
    DeleteRecords {
        at: usize,
    },
    Retention {
        upto: usize,
    },
    Maintain {
        after_ms: i64,
    },
    Reopen {
        clean: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batch = prop::collection::vec(0_i64..200, 1..6);
    let append = (prop::collection::vec(batch, 1..4), prop::option::weighted(0.3, 0_i64..5), any::<bool>());
    let append = append.prop_map(|(batches, replica_gap, compressed)| Step::Append {
        batches,
        replica_gap,
        compressed,
    });
    let read = (any::<usize>(), any::<usize>(), 0_usize..2000, any::<bool>());
    let read = read.prop_map(|(from, upto, max_bytes, min_one_batch)| Step::Read {
        from,
        upto,
        max_bytes,
        min_one_batch,
    });
    let step = prop_oneof![
        8 => append,
        8 => read,
        3 => (0_i64..220).prop_map(|timestamp| Step::Time { timestamp }),
        1 => Just(Step::MaxTimestamp),
        1 => any::<usize>().prop_map(|at| Step::Truncate { at }),
        1 => (0_i64..9).prop_map(|gap| Step::StartAgain { gap }),
        1 => any::<usize>().prop_map(|at| Step::DeleteRecords { at }),
        1 => any::<usize>().prop_map(|upto| Step::Retention { upto }),
        1 => (0_i64..100_000).prop_map(|after_ms| Step::Maintain { after_ms }),
        1 => any::<bool>().prop_map(|clean| Step::Reopen { clean }),
    ];
    prop::collection::vec(step, 1..60)
}

struct World {
    files: Arc<dyn Files>,
    path: std::path::PathBuf,
    config: Arc<Config>,
    log: Option<Log>,
    directory: Option<Arc<Directory>>,
    kept: Vec<Kept>,
    log_start_offset: i64,
    log_end_offset: i64,
    now_ms: i64,
}

fn config() -> Config {
    Config {
        segment_bytes: 600,
        index_interval_bytes: 60,
        retention_bytes: Some(1500),
        retention_ms: Some(150),
        file_delete_delay_ms: 1000,
        ..Config::default()
    }
}

impl World {
    fn new(files: Arc<dyn Files>, path: &Path, config: Config) -> Self {
        let mut world = World {
            files,
            path: path.to_owned(),
            config: Arc::new(config),
            log: None,
            directory: None,
            kept: Vec::new(),
            log_start_offset: 0,
            log_end_offset: 0,
            now_ms: NOW_MS,
        };
        world.open();
        world
    }

    fn open(&mut self) -> Opened {
        let options = Options { flusher_thread: false, open_files_max: 3 };
        let directory = Directory::open(self.files.clone(), &self.path, options).expect("usable");
        let (log, opened) = Log::open(&directory, NAME, self.config.clone(), self.now_ms).expect("readable");
        self.log = Some(log);
        self.directory = Some(directory);
        opened
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("open between steps")
    }

    fn batch(timestamps: &[i64], compressed: bool, base_offset: i64) -> Vec<u8> {
        let mut builder = Builder::new().base_offset(base_offset).leader_epoch(0);
        if compressed {
            builder = builder.compression(Compression::Lz4, None);
        }
        for timestamp in timestamps {
            builder.append(NOW_MS + timestamp, None, Some(b"some value of a record"), &[]).expect("small");
        }
        builder.finish().expect("small")
    }

    fn append(&mut self, batches: &[Vec<i64>], replica_gap: Option<i64>, compressed: bool) {
        let mut sent = Vec::new();
        let mut next_offset = self.log_end_offset;
        let first_kept = self.kept.len();
        for timestamps in batches {
            next_offset += replica_gap.unwrap_or(0);
            // A leader gives the offsets, whatever the bytes say.
            let base_offset = if replica_gap.is_some() { next_offset } else { 77 };
            let bytes = Self::batch(timestamps, compressed, base_offset);
            sent.extend_from_slice(&bytes);
            let (batch, _) = Batch::parse(&bytes).expect("just built");
            let mut bytes = batch.patched_header(next_offset, 0, None).to_vec();
            bytes.extend_from_slice(batch.payload());
            let last_offset = next_offset + timestamps.len() as i64 - 1;
            self.kept.push(Kept {
                bytes,
                base_offset: next_offset,
                last_offset,
                timestamps: timestamps.clone(),
            });
            next_offset = last_offset + 1;
        }
        let append_as = match replica_gap {
            Some(_) => AppendAs::Replica,
            None => AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin: Origin::Client },
        };
        let now_ms = self.now_ms;
        let appended = self.log().append(&sent, append_as, now_ms).expect("valid");
        assert_eq!(appended.base_offset, self.kept[first_kept].base_offset);
        assert_eq!(appended.last_offset + 1, next_offset);
        let max_timestamp = batches.iter().flatten().max().expect("not empty");
        assert_eq!(appended.max_timestamp, NOW_MS + max_timestamp);
        self.log_end_offset = next_offset;
    }

    /// An offset between the start and the end of the log, both included.
    fn offset(&self, choice: usize) -> i64 {
        let count = (self.log_end_offset - self.log_start_offset + 1) as usize;
        self.log_start_offset + (choice % count) as i64
    }

    /// The offset a batch begins at.
    fn boundary(&self, choice: usize) -> i64 {
        let count = self.kept.len() + 1;
        self.kept.get(choice % count).map_or(self.log_end_offset, |kept| kept.base_offset)
    }

    fn read(&mut self, from: usize, upto: usize, max_bytes: usize, min_one_batch: bool) {
        let (from_offset, upto_offset) = (self.offset(from), self.boundary(upto));
        let read =
            Read { from_offset, upto_offset, max_bytes, min_one_batch, hot_only: from.is_multiple_of(2) };
        let slice = self.log().read(read).expect("in range");
        let wanted = self.kept.iter().skip_while(|kept| kept.last_offset < from_offset);
        let wanted: Vec<&Kept> = wanted.take_while(|kept| kept.last_offset < upto_offset).collect();
        check_slice(slice, &wanted, read);
    }

    fn first_at(&self, timestamp: i64) -> Option<i64> {
        let records = self.kept.iter().flat_map(|kept| (kept.base_offset..).zip(&kept.timestamps));
        let mut at =
            records.filter(|(offset, found)| *offset >= self.log_start_offset && **found >= timestamp);
        at.next().map(|(offset, _)| offset)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append { batches, replica_gap, compressed } => {
                self.append(batches, *replica_gap, *compressed)
            }
            Step::Read { from, upto, max_bytes, min_one_batch } => {
                self.read(*from, *upto, *max_bytes, *min_one_batch);
            }
            Step::Time { timestamp } => {
                let found = self.log().offset_for_timestamp(NOW_MS + timestamp).expect("readable");
                assert_eq!(found.map(|found| found.offset), self.first_at(*timestamp), "{timestamp}");
            }
            Step::MaxTimestamp => {
                let found =
                    self.log().max_timestamp().expect("readable").map(|found| found.timestamp - NOW_MS);
                let starts_whole =
                    self.kept.first().is_none_or(|kept| kept.base_offset >= self.log_start_offset);
                if starts_whole {
                    assert_eq!(found, self.kept.iter().flat_map(|kept| &kept.timestamps).max().copied());
                }
            }
            Step::Truncate { at } => self.truncate(*at),
            Step::StartAgain { gap } => {
                let offset = self.log_end_offset + gap;
                self.log().truncate_fully_and_start_at(offset).expect("writable");
                self.kept.clear();
                (self.log_start_offset, self.log_end_offset) = (offset, offset);
            }
            Step::DeleteRecords { at } => {
                let offset = self.offset(*at);
                assert_eq!(self.log().set_log_start_offset(offset), offset > self.log_start_offset);
                self.log_start_offset = offset;
                self.forget_below_start();
            }
            Step::Retention { upto } => self.retention(*upto),
            Step::Maintain { after_ms } => {
                self.now_ms += after_ms;
                let now_ms = self.now_ms;
                self.log().maintain(now_ms).expect("writable");
            }
            Step::Reopen { clean } => self.reopen(*clean),
        }
        self.check();
    }

    fn truncate(&mut self, at: usize) {
        let offset = self.boundary(at);
        self.log().truncate_to(offset).expect("writable");
        if offset == self.log_end_offset {
            return;
        }
        self.kept.retain(|kept| kept.last_offset < offset);
        // A gap that compaction left at the cut is gone too.
        let end = self.kept.last().map_or(0, |kept| kept.last_offset + 1);
        let found = self.log().log_end_offset();
        assert!((end..=offset.max(end)).contains(&found), "{end} <= {found} <= {offset}");
        self.log_end_offset = found;
        self.log_start_offset = self.log_start_offset.min(found);
        assert_eq!(self.log().durable_offset(), found, "a truncation is durable");
    }

    fn retention(&mut self, upto: usize) {
        let upto_offset = self.boundary(upto);
        let now_ms = self.now_ms + 200;
        let before = self.log().log_start_offset();
        let deleted = self.log().delete_old_segments(upto_offset, now_ms).expect("writable");
        let start = self.log().log_start_offset();
        assert!(start <= upto_offset.max(before), "{start} is not above the high watermark {upto_offset}");
        let Log { segments, .. } = self.log();
        let (first_size, next) = (segments[0].size, segments.get(1).map(|segment| segment.base_offset));
        let size = self.log().size_bytes();
        let retention_bytes = self.config.retention_bytes.expect("set");
        // The first segment stays because the log would be too small without it, or because it is not
        // replicated.
        let is_replicated = next.is_some_and(|next| next <= upto_offset);
        assert!(!is_replicated || size - u64::from(first_size) < retention_bytes, "{deleted} were deleted");
        self.log_start_offset = self.log_start_offset.max(start);
        self.forget_below_start();
    }

    fn forget_below_start(&mut self) {
        let start = self.log_start_offset;
        // What the log still holds below its start may be read no more.
        self.kept.retain(|kept| kept.last_offset >= start);
    }

    fn reopen(&mut self, clean: bool) {
        let log = self.log.take().expect("open between steps");
        let directory = self.directory.take().expect("open between steps");
        if clean {
            log.close_clean().expect("writable");
            directory.close_clean(5).expect("writable");
        } else {
            directory.checkpoint().expect("writable");
            drop(log);
        }
        drop(directory);
        let opened = self.open();
        assert_eq!(opened.truncated_bytes, 0);
        if clean {
            assert_eq!(opened.recovered_bytes, 0, "a clean stop leaves nothing to check");
        }
    }

    fn check(&mut self) {
        let (start, end) = (self.log_start_offset, self.log_end_offset);
        let log = self.log();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, end));
        assert!(log.segments.is_sorted_by_key(|segment| segment.base_offset));
        for segment in &log.segments[..log.segments.len() - 1] {
            assert!(segment.size <= log.config.segment_bytes, "a segment keeps to its size");
        }
        assert!(log.durable_offset() <= end);
    }
}

/// What a read returned is a prefix of the wanted batches, and as much of them as it may be.
fn check_slice(slice: Option<Slice>, wanted: &[&Kept], read: Read) {
    let Some(first) = wanted.first() else {
        assert!(slice.is_none(), "nothing is below {}", read.upto_offset);
        return;
    };
    let Some(slice) = slice else {
        assert_eq!(read.max_bytes, 0, "there is something to read");
        assert!(!read.min_one_batch);
        return;
    };
    let limit = if read.min_one_batch { read.max_bytes.max(first.bytes.len()) } else { read.max_bytes };
    let bytes = slice.read().expect("readable");
    assert!(bytes.len() <= limit);
    assert_eq!(slice.first_base_offset, first.base_offset);
    assert_eq!(slice.first_batch_incomplete, bytes.len() < first.bytes.len());
    let all: Vec<u8> = wanted.iter().flat_map(|kept| &kept.bytes).copied().collect();
    assert!(all.starts_with(&bytes), "the bytes of the batches, in order");
    if bytes.len() < limit.min(all.len()) {
        // Cut short by the end of the segment, which is the end of a batch.
        let mut position = 0;
        let ends = wanted.iter().map(|kept| {
            position += kept.bytes.len();
            position
        });
        assert!(ends.into_iter().any(|end| end == bytes.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_log_in_memory_does_what_the_model_does(steps in steps()) {
        let mut world = World::new(Arc::new(MemoryFiles::new()), Path::new("/data"), config());
        steps.iter().for_each(|step| world.step(step));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_log_on_disk_does_what_the_model_does(steps in steps()) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut world = World::new(Arc::new(RealFiles), folder.path(), config());
        steps.iter().for_each(|step| world.step(step));
    }
}

#[path = "log_cases_test.rs"]
mod cases;

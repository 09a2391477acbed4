#![no_main]
//! Opening a partition whose files were damaged in any way, and working with what opened.
//!
//! Input: whether the log had stopped cleanly, then what is done to its files (segments, indexes, snapshots, epochs,
//! checkpoints), see [`Damage`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use milena_fuzz::allocations;
use milena_log::directory::Options;
use milena_log::memory_files::{Loss, MemoryFiles};
use milena_log::producers::Origin;
use milena_log::{AppendAs, Config, Directory, Error, Log, Opened, Read};
use milena_protocol::records::control::EndTxnMarker;
use milena_protocol::records::{Batch, Batches, Builder};

const NOW_MS: i64 = 1_700_000_000_000;
const NAME: &str = "t-0";
const FOLDER: &str = "/data";
const STEPS_MAX: usize = 16;

#[derive(Arbitrary, Debug)]
struct Input {
    stopped_cleanly: bool,
    damage: Vec<Damage>,
}

/// One thing that happens to a file while nobody looks. Files are counted in the order of their paths, positions
/// modulo the size.
#[derive(Arbitrary, Debug)]
enum Damage {
    Byte {
        file: u8,
        at: u16,
        value: u8,
    },
    Bit {
        file: u8,
        at: u16,
        bit: u8,
    },
    Number {
        file: u8,
        at: u16,
        value: i64,
    },
    Int {
        file: u8,
        at: u16,
        value: i32,
    },
    Cut {
        file: u8,
        at: u16,
    },
    Zeros {
        file: u8,
        at: u16,
        count: u8,
    },
    Grow {
        file: u8,
        with: u8,
        count: u16,
    },
    Replace {
        file: u8,
        contents: Vec<u8>,
    },
    /// The contents of one file become those of another.
    Copy {
        from: u8,
        to: u8,
    },
    /// A file that a crash of the cleaner, a deletion or an older segment would leave.
    Leftover {
        from: u8,
        name: Name,
    },
    /// The checksum of a batch is made right for what the batch now says.
    Seal {
        file: u8,
        batch: u8,
    },
}

#[derive(Arbitrary, Debug)]
enum Name {
    Deleted,
    Swap,
    Cleaned,
    Temporary,
    BaseOffset(i64),
}

/// Files of a log that runs, and of the same log after a clean stop.
static BASES: LazyLock<[MemoryFiles; 2]> = LazyLock::new(|| {
    let files = MemoryFiles::new();
    let (directory, mut log, _) = open(&files).expect("nothing is damaged yet");
    write_history(&directory, &mut log);
    let running = files.crash(Loss::Nothing);
    log.close_clean().expect("memory");
    directory.close_clean(5).expect("memory");
    [running, files.crash(Loss::Nothing)]
});

fuzz_target!(|input: Input| {
    let files = BASES[usize::from(input.stopped_cleanly)].crash(Loss::Nothing);
    for damage in input.damage.iter().take(STEPS_MAX) {
        apply(damage, &files);
    }
    let size: usize = paths(&files).iter().map(|path| files.contents(path).len()).sum();
    let (opened, peak) = allocations::peak(|| open(&files));
    // Buffers for whole batches are one mebibyte; an index or a length that lies must not add to that.
    let bound = 64 * size + (4 << 20);
    assert!(peak <= bound, "opening {size} bytes held {peak}");
    let Ok((directory, log, _)) = opened else { return };
    work(&files, directory, log);
});

fn config() -> Arc<Config> {
    Arc::new(Config {
        segment_bytes: 700,
        index_interval_bytes: 100,
        retention_ms: None,
        file_delete_delay_ms: 0,
        ..Config::default()
    })
}

fn open(files: &MemoryFiles) -> Result<(Arc<Directory>, Log, Opened), Error> {
    let options = Options { flusher_thread: false, ..Options::default() };
    let directory = Directory::open(Arc::new(files.clone()), Path::new(FOLDER), options)?;
    let (log, opened) = Log::open(&directory, NAME, config(), NOW_MS)?;
    Ok((directory, log, opened))
}

/// Plain, idempotent and transactional batches over several segments and epochs, half of them behind a checkpoint.
fn write_history(directory: &Arc<Directory>, log: &mut Log) {
    for round in 0..8 {
        let sequence = round * 2;
        append(log, round, &records(Builder::new(), 3));
        append(log, round, &records(Builder::new().producer(1, 0, sequence), 2));
        append(log, round, &records(Builder::new().producer(2, 0, sequence).transactional(true), 2));
        let marker = EndTxnMarker { committed: round % 2 == 0, coordinator_epoch: 1 };
        let marker = marker.batch(2, 0, round, NOW_MS).expect("small");
        let coordinator = Origin::Coordinator { transaction_version: 1 };
        let as_coordinator =
            AppendAs::Leader { leader_epoch: round, log_append_time: None, origin: coordinator };
        log.append(&marker, as_coordinator, NOW_MS).expect("valid");
        log.high_watermark_reached(log.log_end_offset());
        if round == 4 {
            log.sync().expect("memory");
            directory.checkpoint().expect("memory");
        }
    }
    append(log, 8, &records(Builder::new().producer(2, 0, 16).transactional(true), 1));
}

fn records(mut builder: Builder, count: i64) -> Vec<u8> {
    for index in 0..count {
        builder.append(NOW_MS + index, Some(b"key"), Some(b"some value"), &[]).expect("small");
    }
    builder.finish().expect("small")
}

fn append(log: &mut Log, leader_epoch: i32, batch: &[u8]) {
    let leader = AppendAs::Leader { leader_epoch, log_append_time: None, origin: Origin::Client };
    log.append(batch, leader, NOW_MS).expect("valid");
}

fn paths(files: &MemoryFiles) -> Vec<PathBuf> {
    files.paths_below(Path::new(FOLDER))
}

fn apply(damage: &Damage, files: &MemoryFiles) {
    let paths = paths(files);
    let pick = |file: u8| paths[usize::from(file) % paths.len()].as_path();
    let overwrite = |file: u8, at: u16, bytes: &[u8]| {
        files.damage(pick(file), |contents| {
            let at = usize::from(at) % contents.len().max(1);
            contents.iter_mut().skip(at).zip(bytes).for_each(|(old, new)| *old = *new);
        });
    };
    match damage {
        Damage::Byte { file, at, value } => overwrite(*file, *at, &[*value]),
        Damage::Number { file, at, value } => overwrite(*file, *at, &value.to_be_bytes()),
        Damage::Int { file, at, value } => overwrite(*file, *at, &value.to_be_bytes()),
        Damage::Zeros { file, at, count } => overwrite(*file, *at, &vec![0; usize::from(*count)]),
        Damage::Bit { file, at, bit } => files.damage(pick(*file), |contents| {
            let count = contents.len().max(1);
            contents
                .iter_mut()
                .skip(usize::from(*at) % count)
                .take(1)
                .for_each(|byte| *byte ^= 1 << (bit % 8));
        }),
        Damage::Cut { file, at } => files.damage(pick(*file), |contents| {
            contents.truncate(usize::from(*at) % contents.len().max(1));
        }),
        Damage::Grow { file, with, count } => files.damage(pick(*file), |contents| {
            contents.extend(std::iter::repeat_n(*with, usize::from(*count)));
        }),
        Damage::Replace { file, contents } => files.put(pick(*file), contents),
        Damage::Copy { from, to } => files.put(pick(*to), &files.contents(pick(*from))),
        Damage::Leftover { from, name } => {
            let from = pick(*from);
            files.put(&leftover(from, name), &files.contents(from));
        }
        Damage::Seal { file, batch } => files.damage(pick(*file), |contents| seal(contents, *batch)),
    }
}

fn leftover(path: &Path, name: &Name) -> PathBuf {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    match name {
        Name::Deleted => path.with_extension(format!("{extension}.deleted")),
        Name::Swap => path.with_extension(format!("{extension}.swap")),
        Name::Cleaned => path.with_extension(format!("{extension}.cleaned")),
        Name::Temporary => path.with_extension(format!("{extension}.tmp")),
        Name::BaseOffset(offset) => path.with_file_name(format!("{:020}.{extension}", offset.unsigned_abs())),
    }
}

fn seal(contents: &mut [u8], batch: u8) {
    let mut position = 0;
    let mut found = None;
    for batch in Batches::maybe_truncated(contents).map_while(Result::ok).take(usize::from(batch) + 1) {
        found = Some((position, batch.header().sealed(batch.payload())));
        position += batch.size_bytes();
    }
    if let Some((position, header)) = found {
        contents[position..position + header.len()].copy_from_slice(&header);
    }
}

/// Uses what opened. Operations may fail, for the damage may be where opening does not look; they may not panic, run
/// for ever or read outside the log. A log whose every byte could be read opens again after a clean stop, the same.
fn work(files: &MemoryFiles, directory: Arc<Directory>, mut log: Log) {
    assert!(
        log.log_start_offset() <= log.log_end_offset(),
        "{} <= {}",
        log.log_start_offset(),
        log.log_end_offset()
    );
    let whole = read_all(&mut log);
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    for timestamp in [i64::MIN, 0, NOW_MS, NOW_MS + 1, i64::MAX] {
        let _ = log.offset_for_timestamp(timestamp);
    }
    let _ = (log.max_timestamp(), log.aborted_transactions(start, end), log.last_stable_offset());
    for epoch in [-1, 0, 4, 8, i32::MAX] {
        let _ = log.end_offset_for_epoch(epoch);
    }
    let appended = append_one(&mut log);
    let middle = start.midpoint(log.log_end_offset());
    log.set_log_start_offset(start.midpoint(middle));
    let _ = (log.delete_old_segments(middle, NOW_MS), log.maintain(NOW_MS));
    let truncated = log.truncate_to(middle).is_ok();
    let end = log.log_end_offset();
    let closed = log.close_clean().is_ok() && directory.close_clean(6).is_ok();
    drop(directory);
    if whole && appended && truncated && closed {
        let (_, log, _) = open(files).expect("what was whole and stopped cleanly opens");
        assert_eq!(log.log_end_offset(), end, "a clean stop keeps the end");
    }
}

/// Whether all of the log could be read.
fn read_all(log: &mut Log) -> bool {
    let mut from_offset = log.log_start_offset();
    let upto_offset = log.log_end_offset();
    while from_offset < upto_offset {
        let read = Read { from_offset, upto_offset, max_bytes: 300, min_one_batch: true, hot_only: false };
        let Ok(Some(slice)) = log.read(read) else { return false };
        let Ok(bytes) = slice.read() else { return false };
        let before = from_offset;
        for batch in Batches::maybe_truncated(&bytes) {
            let Ok(batch) = batch else { return false };
            if batch.verify_crc().is_err() {
                return false;
            }
            from_offset = from_offset.max(batch.next_offset());
        }
        assert!(from_offset > before, "a read at {before} of {upto_offset} makes progress");
    }
    true
}

/// Whether a batch could be appended, which then must be readable.
fn append_one(log: &mut Log) -> bool {
    let leader_epoch = log.latest_epoch().unwrap_or(0).max(8);
    let leader = AppendAs::Leader { leader_epoch, log_append_time: None, origin: Origin::Client };
    let batch = records(Builder::new(), 2);
    let Ok(appended) = log.append(&batch, leader, NOW_MS) else { return false };
    let read = Read {
        from_offset: appended.base_offset,
        upto_offset: appended.last_offset + 1,
        max_bytes: 1000,
        min_one_batch: true,
        hot_only: false,
    };
    let slice = log.read(read).expect("what was just written is readable").expect("it is below the end");
    let bytes = slice.read().expect("memory");
    let (found, _) = Batch::parse(&bytes).expect("it is whole");
    assert_eq!((found.verify_crc(), found.base_offset), (Ok(()), appended.base_offset));
    log.sync().is_ok()
}

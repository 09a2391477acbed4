//! Logs that a cleaner worked on: holes between and inside segments, and work that was interrupted.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::files::Files;
use milena_log::memory_files::{Fault, Loss, MemoryFiles, Operation};
use milena_log::producers::Origin;
use milena_log::{AppendAs, Config, Error, Log};
use milena_protocol::records::{Batch, Batches, Builder};
use support::{FOLDER, NAME, NOW_MS, open_directory, read_all};

const BATCHES: i64 = 30;

fn config(compact: bool) -> Arc<Config> {
    Arc::new(Config { compact, ..Config::clone(&support::config()) })
}

fn open(files: &MemoryFiles, compact: bool) -> Result<Log, Error> {
    Log::open(&open_directory(files)?, NAME, config(compact), NOW_MS).map(|(log, _)| log)
}

fn path(base_offset: i64, ending: &str) -> PathBuf {
    Path::new(FOLDER).join(NAME).join(format!("{base_offset:020}.{ending}"))
}

/// A log of one record per batch, all of it on disk, that was not closed; the checkpoint vouches for the records
/// below `recovery_point`. With the base offsets of its segments.
fn crashed(recovery_point: i64) -> (MemoryFiles, Vec<i64>) {
    let files = MemoryFiles::new();
    let directory = open_directory(&files).expect("memory");
    let (mut log, _) = Log::open(&directory, NAME, config(true), NOW_MS).expect("memory");
    for offset in 0..BATCHES {
        if offset == recovery_point {
            log.sync().expect("memory");
            directory.checkpoint().expect("memory");
        }
        let mut builder = Builder::new();
        builder.append(NOW_MS + offset, Some(b"key"), Some(b"the value of a record"), &[]).expect("small");
        let append_as = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin: Origin::Client };
        log.append(&builder.finish().expect("small"), append_as, NOW_MS).expect("valid");
    }
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "log");
    let bases = files.paths_below(Path::new(FOLDER)).into_iter().filter(is_segment);
    let bases: Vec<i64> = bases.map(|path| base_of(&path)).collect();
    assert!(bases.len() >= 4, "{bases:?}");
    (files.crash(Loss::Nothing), bases)
}

fn base_of(path: &Path) -> i64 {
    path.file_stem().and_then(|stem| stem.to_str()).and_then(|digits| digits.parse().ok()).expect("digits")
}

/// The batches of some segments that a cleaner keeps.
fn cleaned(files: &MemoryFiles, bases: &[i64], keeps: impl Fn(i64) -> bool) -> Vec<u8> {
    let mut kept = Vec::new();
    for base_offset in bases {
        for batch in Batches::new(&files.contents(&path(*base_offset, "log"))) {
            let batch = batch.expect("whole");
            if keeps(batch.base_offset) {
                kept.extend_from_slice(batch.as_bytes());
            }
        }
    }
    kept
}

/// Replaces a segment by what a cleaner makes of it, with the indexes that end where it does.
fn clean(files: &MemoryFiles, base_offset: i64, keeps: impl Fn(i64) -> bool) {
    let kept = cleaned(files, &[base_offset], keeps);
    let mut position = 0_u32;
    let mut last = (0_i64, 0_u32);
    for batch in Batches::new(&kept) {
        let batch = batch.expect("whole");
        last = (batch.last_offset(), position);
        position += batch.size_bytes() as u32;
    }
    files.put(&path(base_offset, "log"), &kept);
    let relative = ((last.0 - base_offset) as u32).to_be_bytes();
    files.put(&path(base_offset, "index"), &[relative, last.1.to_be_bytes()].concat());
    let timestamp = (NOW_MS + last.0).to_be_bytes();
    files.put(&path(base_offset, "timeindex"), &[&timestamp[..], &relative[..]].concat());
}

fn offsets(log: &mut Log) -> Vec<i64> {
    let batches = read_all(log);
    batches.iter().map(|bytes| Batch::parse(bytes).expect("whole").0.base_offset).collect()
}

/// Keeps every other record, and nothing of the end of the segment.
fn some(bases: &[i64], index: usize) -> impl Fn(i64) -> bool + use<> {
    let end = bases[index + 1];
    move |offset: i64| offset % 2 == 0 && offset < end - 2
}

#[test]
fn holes_below_the_recovery_point_are_compactions_where_it_can_have_been() {
    let (files, bases) = crashed(BATCHES - 1);
    let keeps = some(&bases, 1);
    clean(&files, bases[1], &keeps);
    let expected: Vec<i64> =
        (0..BATCHES).filter(|offset| !(bases[1]..bases[2]).contains(offset) || keeps(*offset)).collect();
    assert_eq!(offsets(&mut open(&files.crash(Loss::Nothing), true).expect("compacted")), expected);
    let error = open(&files, false).expect_err("its topic is not compacted");
    assert!(matches!(&error, Error::Damaged { file, .. } if *file == path(bases[1], "log")), "{error}");
    // The policy was changed meanwhile; the cleaner's checkpoint remembers.
    files.put(&Path::new(FOLDER).join("cleaner-offset-checkpoint"), b"0\n1\nt 0 25\n");
    assert_eq!(offsets(&mut open(&files, false).expect("compacted once")), expected);
}

#[test]
fn compacted_segment_that_ends_before_its_index_does_is_damage() {
    let (files, bases) = crashed(BATCHES - 1);
    // Cut between two batches, with the index of before.
    let kept = cleaned(&files, &bases[1..2], |offset| offset < bases[1] + 2);
    files.put(&path(bases[1], "log"), &kept);
    let error = open(&files, true).expect_err("durable records are gone");
    assert!(matches!(&error, Error::Damaged { file, .. } if *file == path(bases[1], "log")), "{error}");
}

#[test]
fn hole_above_the_recovery_point_is_believed_if_the_indexes_end_with_the_segment() {
    let (files, bases) = crashed(2);
    clean(&files, bases[2], some(&bases, 2));
    let lost = files.crash(Loss::Nothing);
    assert_eq!(open(&files, true).expect("compacted").log_end_offset(), BATCHES);
    lost.remove_file(&path(bases[2], "timeindex")).expect("there");
    let end_offset = open(&lost, true).expect("a lost tail is no damage").log_end_offset();
    assert!(end_offset < bases[3], "{end_offset}: later segments go with a lost tail");
}

/// As a cleaner leaves it that replaces the second and third segment by one, and has begun the fourth.
fn interrupted() -> (MemoryFiles, Vec<i64>) {
    let (files, bases) = crashed(BATCHES - 1);
    let keeps = |offset: i64| offset % 3 == 0 || offset == bases[3] - 1;
    let kept = cleaned(&files, &bases[1..3], keeps);
    files.put(&path(bases[1], "log.swap"), &kept);
    files.put(&path(bases[1], "index.swap"), b"");
    files.put(&path(bases[3], "log.cleaned"), b"half of a batch");
    let expected = (0..BATCHES).filter(|offset| !(bases[1]..bases[3]).contains(offset) || keeps(*offset));
    (files, expected.collect())
}

fn names(files: &MemoryFiles, ending: &str) -> usize {
    let paths = files.paths_below(Path::new(FOLDER));
    paths.iter().filter(|path| path.to_string_lossy().ends_with(ending)).count()
}

#[test]
fn interrupted_cleaner_is_completed() {
    let (files, expected) = interrupted();
    let before = names(&files, ".log");
    assert_eq!(offsets(&mut open(&files, true).expect("completed")), expected);
    assert_eq!((names(&files, ".swap"), names(&files, ".cleaned")), (0, 0));
    assert_eq!(names(&files, ".log"), before - 1, "one segment in the place of two");
    assert_eq!(offsets(&mut open(&files, true).expect("as before")), expected);
}

#[test]
fn completing_a_cleaner_may_be_interrupted_anywhere() {
    for at in 0.. {
        let (files, expected) = interrupted();
        files.inject(Fault::power_loss(Operation::Any, at));
        let finished = open(&files, true).is_ok();
        for seed in 0..6 {
            let context = format!("power loss at operation {at}, seed {seed}");
            let mut log = open(&files.crash(Loss::Random(seed)), true)
                .unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(offsets(&mut log), expected, "{context}");
        }
        if finished {
            break;
        }
    }
}

#[test]
fn swap_of_an_unfinished_split_is_removed() {
    let (files, bases) = crashed(BATCHES - 1);
    files.put(&path(bases[2], "log.swap"), &cleaned(&files, &bases[2..3], |_| true));
    files.put(&path(bases[2], "log.cleaned"), b"");
    let all: Vec<i64> = (0..BATCHES).collect();
    assert_eq!(offsets(&mut open(&files, true).expect("as before")), all);
    assert_eq!((names(&files, ".swap"), names(&files, ".cleaned")), (0, 0));
}

#[test]
fn damaged_swap_is_named_and_nothing_is_touched() {
    let (files, _) = interrupted();
    let swap = files
        .paths_below(Path::new(FOLDER))
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with("log.swap"));
    let swap = swap.expect("there");
    files.damage(&swap, |bytes| bytes.truncate(bytes.len() - 3));
    let before = files.paths_below(&Path::new(FOLDER).join(NAME));
    let error = open(&files, true).expect_err("damaged");
    assert!(matches!(&error, Error::Damaged { file, .. } if *file == swap), "{error}");
    assert_eq!(files.paths_below(&Path::new(FOLDER).join(NAME)), before);
}

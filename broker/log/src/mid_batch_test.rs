use std::path::Path;
use std::sync::Arc;

use milena_protocol::records::Builder;

use super::*;
use crate::config::Config;
use crate::directory::{Directory, Options};
use crate::memory_files::{Fault, Loss, MemoryFiles, Operation};
use crate::read::Read;

const NOW_MS: i64 = 1_000;
/// So long are the batches of these tests; the log starts in the middle of the first.
const COUNT: i64 = 10;
const START: i64 = 6;

fn open(files: &MemoryFiles) -> (Arc<Directory>, Log) {
    let options = Options { flusher_thread: false, ..Options::default() };
    let directory = Directory::open(Arc::new(files.clone()), Path::new("/data"), options).expect("memory");
    let (log, _) = Log::open(&directory, "t-0", Arc::new(Config::default()), NOW_MS).expect("memory");
    (directory, log)
}

/// An empty log that starts where the leader's does, in the middle of a batch.
fn empty(files: &MemoryFiles) -> (Arc<Directory>, Log) {
    let (directory, mut log) = open(files);
    log.truncate_fully_and_start_at(START).expect("memory");
    (directory, log)
}

fn batch(base_offset: i64, leader_epoch: i32) -> Vec<u8> {
    let mut batch = Builder::new().base_offset(base_offset).leader_epoch(leader_epoch);
    for _ in 0..COUNT {
        batch.append(NOW_MS, None, Some(b"value"), &[]).expect("fits");
    }
    batch.finish().expect("fits")
}

fn ends(log: &Log) -> (i64, i64) {
    (log.log_start_offset(), log.log_end_offset())
}

fn read(log: &mut Log, from_offset: i64) -> Vec<u8> {
    let upto_offset = log.log_end_offset();
    let read = Read { from_offset, upto_offset, max_bytes: 1 << 20, min_one_batch: true, hot_only: false };
    log.read(read).expect("in range").expect("something").read().expect("memory")
}

#[test]
fn a_replica_that_starts_within_a_batch_takes_it_whole_and_starts_where_it_did() {
    let files = MemoryFiles::new();
    let (directory, mut log) = empty(&files);
    let records = [batch(0, 2), batch(COUNT, 3)].concat();
    let appended = log.append(&records, AppendAs::Replica, NOW_MS).expect("it is the next");
    assert_eq!((appended.base_offset, appended.log_start_offset), (0, START));
    assert_eq!(ends(&log), (START, 2 * COUNT));
    assert_eq!(read(&mut log, START), records, "byte for byte");
    let epochs: Vec<_> = log.epochs().iter().map(|entry| (entry.epoch, entry.start_offset)).collect();
    assert_eq!(epochs, [(2, START), (3, COUNT)]);
    log.append(&batch(2 * COUNT, 3), AppendAs::Replica, NOW_MS).expect("it follows");
    log.sync().expect("memory");
    directory.checkpoint().expect("memory");
    drop((log, directory));
    let (_directory, log) = open(&files.crash(Loss::Unsynced));
    assert_eq!(ends(&log), (START, 3 * COUNT), "also after a restart");
}

#[test]
fn only_a_batch_that_holds_the_start_of_an_empty_log_may_begin_below_it() {
    let (_directory, mut log) = empty(&MemoryFiles::new());
    let is_refused = |log: &mut Log, records: &[u8]| {
        let before = ends(log);
        let refused = log.append(records, AppendAs::Replica, NOW_MS).is_err();
        assert_eq!(ends(log), before);
        refused
    };
    let mut damaged = batch(0, 1);
    *damaged.last_mut().expect("bytes") ^= 1;
    assert!(is_refused(&mut log, &damaged));
    // The second is what the first should be followed by, and is not.
    assert!(is_refused(&mut log, &[batch(0, 1), batch(COUNT - 1, 1)].concat()), "out of order");
    assert!(is_refused(&mut log, &[batch(0, 2), batch(COUNT, 1)].concat()), "an epoch that went back");
    log.truncate_fully_and_start_at(COUNT).expect("memory");
    assert!(is_refused(&mut log, &batch(0, 1)), "it ends where the log starts");
    log.append(&batch(COUNT, 1), AppendAs::Replica, NOW_MS).expect("it is the next");
    log.set_log_start_offset(COUNT + 1);
    assert!(is_refused(&mut log, &batch(COUNT, 1)), "the log is not empty");
}

#[test]
fn power_may_fail_at_every_operation() {
    let mut has_lasted = false;
    for at in 0.. {
        let files = MemoryFiles::new();
        let (directory, mut log) = empty(&files);
        directory.checkpoint().expect("memory");
        files.inject(Fault::power_loss(Operation::Any, at));
        let appended = log.append(&batch(0, 1), AppendAs::Replica, NOW_MS).and_then(|_| {
            log.sync()?;
            Ok(directory.checkpoint()?)
        });
        has_lasted = appended.is_ok();
        for loss in [Loss::Unsynced, Loss::Nothing].into_iter().chain((0..6).map(Loss::Random)) {
            let (_directory, mut log) = open(&files.crash(loss));
            let (start, end) = ends(&log);
            // As a follower does whose position the leader does not have.
            if end < START {
                log.truncate_fully_and_start_at(START).expect("memory");
            }
            assert!(start <= START && [0, START, COUNT].contains(&end), "operation {at}: {start}..{end}");
            if end != COUNT {
                log.append(&batch(0, 1), AppendAs::Replica, NOW_MS).expect("fetched again");
            }
            assert_eq!(read(&mut log, START), batch(0, 1), "operation {at}, {loss:?}");
        }
        if has_lasted {
            break;
        }
    }
    assert!(has_lasted);
}

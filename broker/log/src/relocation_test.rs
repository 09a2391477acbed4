use std::path::Path;

use milena_protocol::records::Builder;

use super::*;
use crate::config::Config;
use crate::directory::Options;
use crate::log::AppendAs;
use crate::memory_files::{Fault, Loss, MemoryFiles, Operation};

const NOW_MS: i64 = 1_700_000_000_000;
const FROM: Uuid = Uuid::from_u128(7);
const END: i64 = 6;
/// Within the only segment: records below it are deleted, and still there.
const START: i64 = 4;

fn directory(files: &MemoryFiles, path: &str) -> Result<Arc<Directory>, Error> {
    let options = Options { flusher_thread: false, ..Options::default() };
    Directory::open(Arc::new(files.clone()), Path::new(path), options)
}

fn open(directory: &Arc<Directory>, name: &str) -> Result<Log, Error> {
    Ok(Log::open(directory, name, Arc::new(Config::default()), NOW_MS)?.0)
}

fn fill(log: &mut Log) -> Result<(), Error> {
    for offset in 0..END {
        let mut builder = Builder::new().base_offset(offset);
        builder.append(NOW_MS, None, Some(b"value"), &[]).expect("small");
        match log.append(&builder.finish().expect("small"), AppendAs::Replica, NOW_MS) {
            Ok(_) => {}
            Err(crate::AppendError::Storage(error)) => return Err(error),
            Err(other) => panic!("{other}"),
        }
    }
    Ok(())
}

/// A log of which some records are deleted, as checkpoints know.
fn prepared() -> MemoryFiles {
    let files = MemoryFiles::new();
    let home = directory(&files, "/a").expect("memory");
    directory(&files, "/b").expect("memory");
    let mut log = open(&home, "t-0").expect("memory");
    home.write_topic_id("t-0", Uuid::from_u128(9)).expect("memory");
    fill(&mut log).expect("memory");
    log.sync().expect("memory");
    log.set_log_start_offset(START);
    home.checkpoint().expect("memory");
    files
}

/// Moves the log from one directory to the other.
fn relocate(files: &MemoryFiles) -> Result<(), Error> {
    let (home, target) = (directory(files, "/a")?, directory(files, "/b")?);
    let log = open(&home, "t-0")?;
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (START, END));
    let future = future_folder("t-0", &"0".repeat(32));
    let mut copy = open(&target, &future)?;
    target.write_topic_id(&future, Uuid::from_u128(9))?;
    fill(&mut copy)?;
    copy.set_log_start_offset(START);
    copy.sync()?;
    target.mark_complete(&future, FROM, START)?;
    match copy.replace(log, &"1".repeat(32)) {
        Ok(_) => target.settle("t-0"),
        Err(NotReplaced::Kept(_, error) | NotReplaced::Lost(error)) => Err(error),
    }
}

/// Where a start finds it.
fn found(files: &MemoryFiles) -> Log {
    let (home, target) = (directory(files, "/a").expect("healthy"), directory(files, "/b").expect("healthy"));
    let has_log = |directory: &Directory| {
        directory.entries().expect("healthy").iter().filter(|name| *name == "t-0").count()
    };
    if has_log(&home) == 1 {
        assert_eq!(has_log(&target), 0, "in two directories");
        return open(&home, "t-0").expect("healthy");
    }
    for copy in target.copies().expect("healthy") {
        assert_eq!(copy.moved_from, Some(FROM), "the log is gone, and the copy is not complete");
        target.promote(&copy).expect("healthy");
    }
    open(&target, "t-0").expect("healthy")
}

#[test]
fn records_that_were_deleted_stay_deleted_when_the_power_fails_at_any_step_of_a_move() {
    let before = prepared().operations_count();
    for step in 0.. {
        let files = prepared();
        assert_eq!(files.operations_count(), before);
        files.inject(Fault::power_loss(Operation::Any, step));
        let is_moved = relocate(&files).is_ok();
        for loss in [Loss::Unsynced, Loss::Nothing].into_iter().chain((0..8).map(Loss::Random)) {
            let files = files.crash(loss);
            let log = found(&files);
            assert_eq!((log.log_start_offset(), log.log_end_offset()), (START, END), "step {step}, {loss:?}");
            if log.directory().path() == Path::new("/b") {
                assert_eq!(log.directory().mark("t-0").expect("healthy"), None, "step {step}, {loss:?}");
            }
            drop(log);
            // The mark says it no more: the checkpoints do.
            assert_eq!(
                found(&files.crash(Loss::Unsynced)).log_start_offset(),
                START,
                "step {step}, {loss:?}"
            );
        }
        if is_moved {
            assert!(step > 20, "{step} steps are no move");
            return;
        }
    }
}

#[test]
fn a_mark_is_read_as_it_was_written_or_not_at_all() {
    let mark = Mark { moved_from: FROM, log_start_offset: START };
    assert_eq!(Mark::parse(&mark.text()), Some(mark));
    for torn in ["", "AAAAAAAAAAAAAAAAAAAABw", "AAAAAAAAAAAAAAAAAAAABw\n-4\n", "?\n4\n"] {
        assert_eq!(Mark::parse(torn), None, "{torn:?}");
    }
}

/// It moved away from here a moment ago, and now comes back.
#[test]
fn what_was_noted_of_an_earlier_log_here_is_gone_when_a_copy_is_marked() {
    let files = prepared();
    let (home, target) = (directory(&files, "/a").expect("memory"), directory(&files, "/b").expect("memory"));
    let mut earlier = open(&target, "t-0").expect("memory");
    fill(&mut earlier).expect("memory");
    earlier.note_high_watermark(END);
    target.checkpoint_high_watermarks().expect("memory");
    earlier.delete(&"1".repeat(32)).expect("memory");
    // The other checkpoints know it no more, this one is written later.
    target.checkpoint().expect("memory");
    let future = future_folder("t-0", &"0".repeat(32));
    let mut copy = open(&target, &future).expect("memory");
    fill(&mut copy).expect("memory");
    copy.set_log_start_offset(START);
    copy.sync().expect("memory");
    target.mark_complete(&future, FROM, START).expect("memory");
    let moved = copy.replace(open(&home, "t-0").expect("memory"), &"1".repeat(32)).expect("memory");
    drop((home, target, moved));

    let target = directory(&files.crash(Loss::Nothing), "/b").expect("memory");
    let log = open(&target, "t-0").expect("memory");
    assert_eq!((log.log_end_offset(), log.noted_high_watermark()), (END, None));
}

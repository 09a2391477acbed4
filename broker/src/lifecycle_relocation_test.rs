//! Replicas that move between two directories of a node: whole, cut off by a crash or a loss of power, and refused by a
//! disk. However it ends, what was acknowledged is there, once.

use std::path::Path;

use milena_log::memory_files::{Fault, Loss, MemoryFiles, Operation};
use milena_protocol::ErrorCode;
use milena_state::metadata::configs::{Asked, Change, IncrementalAlterConfigs};

use super::test_node::{Node, batch, eventually};
use super::*;
use crate::broker::now_ms;
use crate::partition::AppendAs;

const EIO: i32 = 5;
const APPEND: AppendAs = AppendAs { acks_all: true, log_append_time: None };
const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const BROKER_RESOURCE: i8 = 4;
const TWO: &[(&str, &str)] = &[("log.dirs", "/data,/more"), ("metadata.log.dir", "/meta")];
const LOG: &str = "events-0/00000000000000000000.log";

/// Two of them are more than a step copies.
fn large(letter: char) -> String {
    letter.to_string().repeat(700_000)
}

fn start(files: &MemoryFiles) -> Node {
    Node::start_on(Arc::new(files.clone()), TWO).expect("starts")
}

fn is_in(node: &Node, path: &str) -> bool {
    node.partition("events").directory().path() == Path::new(path)
}

/// The directory where the replica is not.
fn other(node: &Node) -> &'static str {
    if is_in(node, "/data") { "/more" } else { "/data" }
}

fn home(node: &Node) -> &'static str {
    if is_in(node, "/data") { "/data" } else { "/more" }
}

fn relocate(node: &Node, path: &str) {
    let directories = node.lifecycle.directories();
    let target = directories.at(Path::new(path)).expect("one of its directories");
    directories.relocate(&node.partition("events"), target).expect("may be moved");
}

fn is_moved(node: &Node, path: &str) {
    eventually("the replica has moved", || is_in(node, path));
    assert!(node.partition("events").future_replica().is_none());
}

fn set_rate(node: &Node, bytes_per_second: Option<i64>) {
    let change = Change {
        name: RATE.to_owned(),
        operation: i8::from(bytes_per_second.is_none()),
        value: bytes_per_second.map(|value| value.to_string()),
    };
    let asked = Asked { resource_type: BROKER_RESOURCE, name: "1".to_owned(), changes: vec![change] };
    let command = IncrementalAlterConfigs { resources: vec![asked], validate_only: false, receiver: 1 };
    let reply = node.submit(Command::IncrementalAlterConfigs(command));
    assert!(matches!(&reply, Reply::IncrementalAlterConfigs(outcomes) if outcomes[0].is_ok()), "{reply:?}");
}

/// Folders of partition 0 in both directories that are not deleted, by directory.
fn folders(files: &MemoryFiles) -> Vec<String> {
    use milena_log::files::Files as _;
    let mut found = Vec::new();
    for path in ["/data", "/more"] {
        let entries = files.list(Path::new(path)).expect("memory");
        let names = entries.into_iter().map(|entry| entry.name);
        let own = names.filter(|name| name.starts_with("events-0") && !name.ends_with("-delete"));
        found.extend(own.map(|name| format!("{path}/{name}")));
    }
    found
}

/// A node whose replica has begun to move and does not get on.
fn held_up(files: &MemoryFiles) -> (Node, &'static str) {
    let node = start(files);
    node.create("events", &[]);
    set_rate(&node, Some(1));
    for value in &all_large() {
        node.produce("events", value);
    }
    let target = other(&node);
    relocate(&node, target);
    let future = node.partition("events").future_replica().expect("it moves");
    eventually("the copy has begun", || future.log_end_offset() > 0);
    assert!(future.log_end_offset() < 3 && future.size_bytes() > 0);
    (node, target)
}

fn all_large() -> Vec<String> {
    ['a', 'b', 'c'].map(large).to_vec()
}

#[test]
fn a_replica_moves_with_all_it_has_and_is_served_there_from_then_on() {
    let files = MemoryFiles::new();
    let node = start(&files);
    node.create("events", &[("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")]);
    let mut values: Vec<String> = (0..40).map(|number| format!("value {number}")).collect();
    for value in &values {
        node.produce("events", value);
    }
    for _ in 0..3 {
        let (from, to) = (home(&node), other(&node));
        relocate(&node, to);
        // While it moves, and after.
        for _ in 0..20 {
            values.push(format!("value {}", values.len()));
            node.produce("events", values.last().expect("one"));
        }
        is_moved(&node, to);
        values.push(format!("value {}", values.len()));
        node.produce("events", values.last().expect("one"));
        assert_eq!(node.consume("events"), values);
        assert_eq!(folders(&files), [format!("{to}/events-0")]);
        eventually("what it was is removed", || {
            files.paths_below(Path::new(from)).iter().all(|path| !path.to_string_lossy().contains("events-0"))
        });
    }
    let at = home(&node);
    node.stop();
    let node = start(&files);
    assert!(is_in(&node, at), "a start finds it where it is");
    assert_eq!(node.consume("events"), values);
    node.stop();
}

#[test]
fn producers_are_known_where_their_replica_has_moved_to() {
    use milena_protocol::records::Builder;
    let numbered = |sequence: i32| {
        let mut batch = Builder::new().producer(7, 0, sequence);
        batch.append(now_ms(), None, Some(b"value"), &[]).expect("fits");
        batch.finish().expect("fits")
    };
    let files = MemoryFiles::new();
    let node = start(&files);
    node.create("events", &[]);
    let append = |sequence| node.partition("events").append(&numbered(sequence), APPEND, now_ms());
    append(0).expect("its first");
    append(1).expect("its second");
    let target = other(&node);
    relocate(&node, target);
    is_moved(&node, target);
    assert!(append(1).expect("a repetition").duplicate);
    assert_eq!(append(5).expect_err("a gap").code, ErrorCode::OutOfOrderSequenceNumber);
    append(2).expect("what comes next");
    node.stop();
}

#[test]
fn a_replica_that_is_wished_where_it_is_stays_and_its_copy_goes() {
    let files = MemoryFiles::new();
    let (node, target) = held_up(&files);
    assert_eq!(folders(&files).len(), 2);
    let at = home(&node);
    relocate(&node, at);
    assert!(node.partition("events").future_replica().is_none(), "at once");
    eventually("the copy is removed", || folders(&files) == [format!("{at}/events-0")]);
    assert_eq!(node.lifecycle.metrics.relocations.counts(), (0, 0), "it is no failure");
    assert!(is_in(&node, at) && at != target);
    assert_eq!(node.consume("events"), all_large());
    node.stop();
}

#[test]
fn a_move_that_a_crash_cut_off_is_completed_by_the_next_start() {
    for stops in [true, false] {
        let files = MemoryFiles::new();
        let (node, target) = held_up(&files);
        if stops {
            node.stop()
        } else {
            node.crash()
        }
        let node = start(&files);
        assert!(!is_in(&node, target), "its rate is still set");
        assert!(node.partition("events").future_replica().is_some(), "it goes on");
        set_rate(&node, None);
        is_moved(&node, target);
        assert_eq!(node.consume("events"), all_large());
        assert_eq!(folders(&files), [format!("{target}/events-0")]);
        node.stop();
    }
}

#[test]
fn the_copy_of_a_topic_that_is_deleted_goes_with_it() {
    use milena_state::metadata::topics::{DeleteTopics, TopicRef};
    let files = MemoryFiles::new();
    let (node, _) = held_up(&files);
    let topic_id = node.partition("events").topic_id();
    node.submit(Command::DeleteTopics(DeleteTopics { topics: vec![TopicRef::Id(topic_id)] }));
    eventually("its folders are gone", || folders(&files).is_empty());
    node.stop();
}

#[test]
fn a_directory_that_fails_ends_the_move_to_it_and_nothing_else() {
    let files = MemoryFiles::new();
    let node = start(&files);
    node.create("events", &[]);
    node.produce("events", "a");
    let (at, target) = (home(&node), other(&node));
    // Nothing else is called so.
    files.inject(Fault::errno(Operation::Any, 0, EIO).on_paths("moved-from.tmp").lasting());
    relocate(&node, target);
    eventually("the move has ended", || node.partition("events").future_replica().is_none());
    eventually("it is counted", || node.lifecycle.metrics.relocations.counts() == (0, 1));
    node.produce("events", "b");
    assert!(is_in(&node, at));
    assert_eq!(node.consume("events"), ["a", "b"]);
    node.stop();
    files.heal();
    let node = start(&files);
    assert_eq!(node.consume("events"), ["a", "b"]);
    node.stop();
}

#[test]
fn a_log_that_cannot_be_read_fails_with_its_directory_and_the_copy_is_not_taken_for_it() {
    let files = MemoryFiles::new();
    let (node, target) = held_up(&files);
    let at = home(&node);
    files.inject(Fault::errno(Operation::Read, 0, EIO).on_paths(&format!("{at}/{LOG}")).lasting());
    files.inject(Fault::errno(Operation::ReadHot, 0, EIO).on_paths(&format!("{at}/{LOG}")).lasting());
    set_rate(&node, None);
    eventually("its directory has failed", || {
        node.lifecycle.partitions().by_name("events", 0).err() == Some(ErrorCode::KafkaStorageError)
    });
    node.crash();
    files.heal();
    let node = start(&files);
    is_moved(&node, target);
    assert_eq!(node.consume("events"), all_large());
    node.stop();
}

#[test]
fn a_replica_that_comes_later_is_created_where_it_was_wished() {
    let files = MemoryFiles::new();
    let node = start(&files);
    let directories = node.lifecycle.directories();
    for (index, path) in ["/more", "/more", "/data"].into_iter().enumerate() {
        let target = directories.at(Path::new(path)).expect("one of its directories");
        directories.note_wish(format!("events{index}-0"), target);
        node.create(&format!("events{index}"), &[]);
        assert_eq!(node.partition(&format!("events{index}")).directory().path(), Path::new(path));
    }
    node.stop();
}

/// Deletes what is below an offset, as DeleteRecords does; says whether it may be acknowledged.
fn delete_upto(node: &Node, offset: i64) -> bool {
    let Ok(partition) = node.lifecycle.partitions().by_name("events", 0) else { return false };
    partition.delete_records(offset).is_ok() && partition.directory().checkpoint().is_ok()
}

/// Produces until something fails, with a move in the middle, and deletes a record before it and one while it is under
/// way; says how many records were acknowledged, and how many of them were deleted.
fn history(files: &MemoryFiles) -> (usize, i64) {
    let Ok(node) = Node::start_on(Arc::new(files.clone()), TWO) else { return (0, 0) };
    let (mut acknowledged, mut deleted) = (0, 0);
    if node.lifecycle.partitions().by_name("events", 0).is_err() {
        node.crash();
        return (0, 0);
    }
    for round in 0..6 {
        if round == 2 {
            if !delete_upto(&node, 1) {
                break;
            }
            deleted = 1;
            let target = other(&node);
            let directories = node.lifecycle.directories();
            let target = directories.at(Path::new(target)).expect("one of its directories");
            let Ok(partition) = node.lifecycle.partitions().by_name("events", 0) else { break };
            if directories.relocate(&partition, target).is_err() || !delete_upto(&node, 2) {
                break;
            }
            deleted = 2;
            let until = std::time::Instant::now() + Duration::from_secs(20);
            while partition.future_replica().is_some() && !partition.is_offline() {
                assert!(std::time::Instant::now() < until, "the move does not end");
                std::thread::yield_now();
            }
        }
        let Ok(partition) = node.lifecycle.partitions().by_name("events", 0) else { break };
        let Ok(appended) = partition.append(&batch(&format!("{round}")), APPEND, now_ms()) else { break };
        if node.run(partition.acknowledged(&appended, partition.awaited(-1))).is_err() {
            break;
        }
        acknowledged += 1;
    }
    node.crash();
    (acknowledged, deleted)
}

/// The power fails at every single operation of a move that changes the disk, and takes a random part of what was not
/// synced.
#[test]
fn nothing_acknowledged_is_lost_or_doubled_nor_comes_back_when_the_power_fails_at_any_write_of_a_move() {
    let prepared = || {
        let files = MemoryFiles::new();
        let node = start(&files);
        node.create("events", &[("milena.flush", "durable")]);
        node.stop();
        files
    };
    let whole = prepared();
    let before = whole.operations_count();
    assert_eq!(history(&whole), (6, 2));
    for at in 0..whole.operations_count() - before {
        let files = prepared();
        files.inject(Fault::power_loss(Operation::Any, at));
        let (acknowledged, deleted) = history(&files);
        let files = files.crash(Loss::Random(at));
        let left = folders(&files);
        let node = Node::start_on(Arc::new(files.clone()), TWO)
            .unwrap_or_else(|error| panic!("power loss at {at}: does not start with {left:?}: {error}"));
        let partition = node
            .lifecycle
            .partitions()
            .by_name("events", 0)
            .unwrap_or_else(|error| panic!("power loss at {at}: {error:?} with {left:?}"));
        let end = partition.log_end_offset().get();
        node.run(partition.high_watermark().reached(end)).expect("what was recovered is served");
        let values = node.consume("events");
        let start = partition.log_start_offset();
        let expected: Vec<String> = (start..end).map(|round| round.to_string()).collect();
        assert_eq!(values, expected, "power loss at {at}, {left:?}");
        let end = usize::try_from(end).expect("not negative");
        assert!(end >= acknowledged, "power loss at {at}: {acknowledged} of {values:?}, {left:?}");
        assert!(start >= deleted, "power loss at {at}: from {start} on, deleted below {deleted}, {left:?}");
        eventually("a move that was cut off ends", || partition.future_replica().is_none());
        let current: Vec<_> =
            folders(&files).into_iter().filter(|name| name.ends_with("/events-0")).collect();
        assert_eq!(current.len(), 1, "power loss at {at}: {current:?}, {left:?}");
        node.stop();
    }
}

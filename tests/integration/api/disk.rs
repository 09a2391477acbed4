use std::path::Path;
use std::time::{Duration, Instant};

use milena_log::memory_files::{Fault, MemoryFiles, Operation};
use milena_protocol::ErrorCode;
use milena_protocol::messages::fetch_request::FetchRequest;

use crate::node::{BY_NAME, Node, batch, fetch_request};

const EAGAIN: i32 = 11;
const EIO: i32 = 5;
const LOG: &str = "t-0/00000000000000000000.log";

/// How long a fetch may wait, and how soon it must have answered when there is nothing to wait for.
const WAIT_MS: i32 = 20_000;
const AT_ONCE: Duration = Duration::from_secs(15);

/// A node with so many batches in `t` that the first ones are not remembered, and one in `other`.
fn node_with_records(files: &MemoryFiles) -> Node {
    let node = Node::start_on(files, &[]);
    node.create("t", &[]);
    node.create("other", &[]);
    for _ in 0..40 {
        assert_eq!(node.produce("t", &batch(&["x"])).0, ErrorCode::None);
    }
    assert_eq!(node.produce("other", &batch(&["y"])).0, ErrorCode::None);
    node
}

/// Fetches with a long wait, and gives the error and the number of bytes of an answer that did not wait.
fn fetch_at_once(node: &Node, offset: i64) -> (ErrorCode, usize) {
    let request = FetchRequest { max_wait_ms: WAIT_MS, ..fetch_request("t", offset) };
    let began = Instant::now();
    let response = node.call(&request, BY_NAME);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
    let data = &response.responses[0].partitions[0];
    let error = ErrorCode::from_i16(data.error_code).expect("a known code");
    (error, data.records.as_ref().map_or(0, milena_protocol::Records::len))
}

#[test]
fn a_disk_that_fails_under_a_read_takes_its_directory_offline() {
    let files = MemoryFiles::new();
    let node = node_with_records(&files);
    files.inject(Fault::errno(Operation::Read, 0, EIO).on_paths(LOG).lasting());
    assert_eq!(fetch_at_once(&node, 0), (ErrorCode::KafkaStorageError, 0));
    assert_eq!(node.fetch("other", 0).0, ErrorCode::KafkaStorageError, "it is in the same directory");
}

/// What a bad sector does: never in memory, and never to be read.
#[test]
fn a_disk_that_fails_under_a_cold_read_is_not_asked_for_ever() {
    let files = MemoryFiles::new();
    let node = node_with_records(&files);
    files.inject(Fault::errno(Operation::ReadHot, 0, EAGAIN).on_paths(LOG).lasting());
    files.inject(Fault::errno(Operation::Read, 0, EIO).on_paths(LOG).lasting());
    assert_eq!(fetch_at_once(&node, 0), (ErrorCode::KafkaStorageError, 0));
    assert_eq!(node.fetch("other", 0).0, ErrorCode::KafkaStorageError);
}

#[test]
fn records_that_do_not_stay_in_memory_are_not_waited_for() {
    let files = MemoryFiles::new();
    let node = node_with_records(&files);
    files.inject(Fault::errno(Operation::ReadHot, 0, EAGAIN).on_paths(LOG).lasting());
    assert_eq!(fetch_at_once(&node, 0), (ErrorCode::None, 0));
    files.heal();
    assert!(fetch_at_once(&node, 0).1 > 0, "nothing is wrong with the disk");
}

#[test]
fn a_disk_that_fails_while_records_are_sent_takes_its_directory_offline() {
    let files = MemoryFiles::new();
    let mut node = node_with_records(&files);
    // The last batch is remembered: it is found without a read, and only its bytes fail.
    files.inject(Fault::errno(Operation::Read, 0, EIO).on_paths(LOG).lasting());
    let sent = node.block_on(node.connection.call_at(&fetch_request("t", 39), BY_NAME));
    assert!(sent.is_err(), "the length was promised and cannot be kept");
    node.reconnect();
    assert_eq!(node.fetch("t", 39).0, ErrorCode::KafkaStorageError);
    assert_eq!(node.fetch("other", 0).0, ErrorCode::KafkaStorageError);
}

#[test]
fn damage_met_by_a_read_takes_that_partition_offline_and_no_other() {
    let files = MemoryFiles::new();
    let node = node_with_records(&files);
    let size = batch(&["x"]).len();
    // The length of the third batch.
    files.damage(&Path::new("/data").join(LOG), |bytes| bytes[2 * size + 8] = 0xff);
    assert_eq!(fetch_at_once(&node, 5), (ErrorCode::KafkaStorageError, 0));
    assert_eq!(node.fetch("t", 39).0, ErrorCode::KafkaStorageError, "the whole partition is offline");
    let refused = node.produce("t", &batch(&["x"]));
    assert_eq!(refused.0, ErrorCode::KafkaStorageError);
    assert_eq!(node.fetch("other", 0).0, ErrorCode::None);
    assert_eq!(node.produce("other", &batch(&["y"])), (ErrorCode::None, 1));
}

#[test]
fn a_client_is_not_told_where_our_files_are() {
    let files = MemoryFiles::new();
    let node = node_with_records(&files);
    files.inject(Fault::errno(Operation::Write, 0, EIO).on_paths(LOG).lasting());
    let answer = node.produce_at("t", &batch(&["x"]), -1, BY_NAME);
    assert_eq!(answer.error, ErrorCode::KafkaStorageError);
    assert!(!answer.message.contains('/'), "{}", answer.message);
}

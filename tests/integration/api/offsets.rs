use std::path::Path;

use milena_log::memory_files::MemoryFiles;
use milena_protocol::ErrorCode;
use milena_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use milena_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use milena_protocol::records::Builder;

use crate::node::{Node, batch, now_ms};

/// Error, offset and timestamp of one ListOffsets lookup.
fn list(node: &Node, timestamp: i64, version: i16) -> (ErrorCode, i64, i64) {
    let partition = ListOffsetsPartition { timestamp, ..Default::default() };
    let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let response = node.call(&request, version);
    let response = response.decode::<ListOffsetsRequest<'_>>().expect("ListOffsets");
    let answer = &response.topics[0].partitions[0];
    (ErrorCode::from_i16(answer.error_code).expect("a known code"), answer.offset, answer.timestamp)
}

fn delete(node: &Node, offset: i64) -> (ErrorCode, i64) {
    let topic = DeleteRecordsTopic {
        name: "t".into(),
        partitions: vec![DeleteRecordsPartition { partition_index: 0, offset }],
    };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000 };
    let response = node.call(&request, 2);
    let response = response.decode::<DeleteRecordsRequest<'_>>().expect("DeleteRecords");
    let answer = &response.topics[0].partitions[0];
    (ErrorCode::from_i16(answer.error_code).expect("a known code"), answer.low_watermark)
}

#[test]
fn offsets_are_found_by_time_and_by_name() {
    let node = Node::start(&[]);
    let base = now_ms() - 10_000;
    fill(&node, "t", base);
    let check = |timestamp, version, offset, found| {
        assert_eq!(
            list(&node, timestamp, version),
            (ErrorCode::None, offset, found),
            "{timestamp} in v{version}"
        );
    };
    check(-2, 1, 0, -1);
    check(-1, 1, 4, -1);
    check(-3, 7, 1, base + 500);
    check(-4, 8, 0, -1);
    check(-5, 9, -1, -1);
    check(-6, 11, -1, -1);
    check(base, 5, 0, base);
    check(base + 1, 5, 1, base + 500);
    check(base + 501, 5, -1, -1);
    for (timestamp, version) in [(-3, 6), (-4, 7), (-5, 8), (-6, 10), (-7, 11)] {
        assert_eq!(
            list(&node, timestamp, version).0,
            ErrorCode::UnsupportedVersion,
            "{timestamp} v{version}"
        );
    }
    // All six in one request of the newest version, with what only records can tell between the others. Each has a
    // topic of its own: a partition that stands twice is refused.
    let timestamps = [-1, -3, -2, base + 200, -4, -5, -6];
    let topics = timestamps.iter().enumerate().map(|(number, timestamp)| {
        let name = format!("t-{number}");
        fill(&node, &name, base);
        let partition = ListOffsetsPartition { timestamp: *timestamp, ..Default::default() };
        ListOffsetsTopic { name: name.into(), partitions: vec![partition] }
    });
    let request = ListOffsetsRequest { replica_id: -1, topics: topics.collect(), ..Default::default() };
    let response = node.call(&request, 11);
    let response = response.decode::<ListOffsetsRequest<'_>>().expect("ListOffsets");
    let offsets: Vec<i64> = response.topics.iter().map(|topic| topic.partitions[0].offset).collect();
    assert_eq!(offsets, [4, 1, 0, 1, 0, -1, -1]);
}

/// A topic with four records, of which the last has not the largest timestamp.
fn fill(node: &Node, topic: &str, base: i64) {
    node.create(topic, &[]);
    for delta in [0, 500, 200, 100] {
        let mut builder = Builder::new();
        builder.append(base + delta, None, Some(b"v"), &[]).expect("room");
        assert_eq!(node.produce(topic, &builder.finish().expect("a batch")).0, ErrorCode::None);
    }
}

#[test]
fn deleted_records_are_out_of_range_and_the_start_moves() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    for _ in 0..5 {
        node.produce("t", &batch(&["x"]));
    }
    assert_eq!(delete(&node, 6), (ErrorCode::OffsetOutOfRange, -1));
    assert_eq!(delete(&node, 2), (ErrorCode::None, 2));
    assert_eq!(list(&node, -2, 5), (ErrorCode::None, 2, -1));
    assert_eq!(node.fetch("t", 1).0, ErrorCode::OffsetOutOfRange);
    assert_eq!(node.fetch("t", 2).0, ErrorCode::None);
    assert_eq!(delete(&node, -1), (ErrorCode::None, 5));
    assert_eq!(list(&node, -2, 5).1, 5);
}

#[test]
fn end_of_the_current_epoch_is_the_log_end() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    node.produce("t", &batch(&["x", "y"]));
    let ask = |leader_epoch, current_leader_epoch| {
        let partition = OffsetForLeaderPartition { partition: 0, current_leader_epoch, leader_epoch };
        let topic = OffsetForLeaderTopic { topic: "t".into(), partitions: vec![partition] };
        let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] };
        let response = node.call(&request, 4);
        let response = response.decode::<OffsetForLeaderEpochRequest<'_>>().expect("OffsetForLeaderEpoch");
        let answer = &response.topics[0].partitions[0];
        (ErrorCode::from_i16(answer.error_code).expect("known"), answer.leader_epoch, answer.end_offset)
    };
    assert_eq!(ask(0, 0), (ErrorCode::None, 0, 2));
    assert_eq!(ask(3, -1), (ErrorCode::None, -1, -1));
    assert_eq!(ask(0, 5).0, ErrorCode::UnknownLeaderEpoch);
}

/// What a client knows to be deleted does not come back after a crash.
#[test]
fn deleted_records_are_deleted_on_the_disk_before_the_answer() {
    let files = MemoryFiles::new();
    let node = Node::start_on(&files, &[]);
    node.create("t", &[]);
    for value in ["a", "b"] {
        assert_eq!(node.produce("t", &batch(&[value])).0, ErrorCode::None);
    }
    let path = Path::new("/data/log-start-offset-checkpoint");
    let log_start = || {
        let text = milena_log::files::read_file(&files, path, 1 << 20).unwrap_or_default();
        let text = String::from_utf8(text).expect("text");
        text.lines().find_map(|line| line.strip_prefix("t 0 ").map(str::to_owned))
    };
    assert_ne!(log_start().as_deref(), Some("1"));
    assert_eq!(delete(&node, 1), (ErrorCode::None, 1));
    assert_eq!(log_start().as_deref(), Some("1"));
}

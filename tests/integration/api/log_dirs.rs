//! AlterReplicaLogDirs and DescribeLogDirs.

use std::time::Duration;

use milena_log::memory_files::MemoryFiles;
use milena_protocol::ErrorCode;
use milena_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use milena_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use milena_tests::wait;

use crate::alter_configs::{BROKER, set};
use crate::node::{Node, batch};

const TWO: &[(&str, &str)] = &[("log.dirs", "/data,/more"), ("metadata.log.dir", "/meta")];
const PATIENCE: Duration = Duration::from_secs(30);
const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// Asks for partition 0 of a topic to be in a directory, in every version; gives what all of them answer.
pub fn alter(node: &Node, topic: &str, path: &str) -> ErrorCode {
    let dir = || {
        let topics = vec![AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![0] }];
        AlterReplicaLogDir { path: path.into(), topics }
    };
    let codes = [1, 2].map(|version| {
        let response = node.call(&AlterReplicaLogDirsRequest { dirs: vec![dir()] }, version);
        let response = response.decode::<AlterReplicaLogDirsRequest<'_>>().expect("AlterReplicaLogDirs");
        assert_eq!((response.results.len(), &*response.results[0].topic_name), (1, topic));
        let answer = &response.results[0].partitions[0];
        assert_eq!(answer.partition_index, 0);
        ErrorCode::from_i16(answer.error_code).expect("a known code")
    });
    assert_eq!(codes[0], codes[1], "{topic} to {path}");
    codes[0]
}

/// Directory, size, lag, and whether it is moving there, of each replica of partition 0 of a topic.
fn described(node: &Node, topic: &str) -> Vec<(String, i64, i64, bool)> {
    let response = node.call(&DescribeLogDirsRequest { topics: None }, 4);
    let response = response.decode::<DescribeLogDirsRequest<'_>>().expect("DescribeLogDirs");
    let mut found = Vec::new();
    for result in &response.results {
        assert_eq!(result.error_code, 0, "{}", result.log_dir);
        let topics = result.topics.iter().filter(|described| described.name == topic);
        found.extend(topics.flat_map(|topic| &topic.partitions).map(|partition| {
            let (size, lag) = (partition.partition_size, partition.offset_lag);
            (result.log_dir.to_string(), size, lag, partition.is_future_key)
        }));
    }
    found
}

#[test]
fn what_cannot_be_moved_is_told_as_by_apache_kafka() {
    let node = Node::start_on(&MemoryFiles::new(), TWO);
    node.create("t", &[]);
    assert_eq!(alter(&node, "t", "/nowhere"), ErrorCode::LogDirNotFound);
    assert_eq!(alter(&node, "t", "data"), ErrorCode::LogDirNotFound, "directories have their names in full");
    assert_eq!(alter(&node, "none", "/data"), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(alter(&node, "none", "/nowhere"), ErrorCode::LogDirNotFound);
    assert_eq!(alter(&node, &"t".repeat(249), "/data"), ErrorCode::InvalidTopicException);
    let home = node.partition("t").directory().path().to_string_lossy().into_owned();
    assert_eq!(alter(&node, "t", &home), ErrorCode::None);
    assert_eq!(described(&node, "t").len(), 1);
}

#[test]
fn a_topic_that_comes_later_is_where_it_was_asked_to_be() {
    let node = Node::start_on(&MemoryFiles::new(), TWO);
    for (topic, path) in [("a", "/more"), ("b", "/more"), ("c", "/data")] {
        assert_eq!(alter(&node, topic, path), ErrorCode::UnknownTopicOrPartition);
        node.create(topic, &[]);
        assert_eq!(described(&node, topic)[0].0, path);
    }
}

#[test]
fn a_replica_that_moves_is_shown_in_both_directories_until_it_is_there() {
    let node = Node::start_on(&MemoryFiles::new(), TWO);
    node.create("t", &[]);
    set(&node, (BROKER, "1"), RATE, Some("1"));
    let value = "x".repeat(700_000);
    for _ in 0..3 {
        assert_eq!(node.produce("t", &batch(&[&value])).0, ErrorCode::None);
    }
    let [(home, size, 0, false)] = &described(&node, "t")[..] else { panic!("one replica") };
    let target = if home == "/data" { "/more" } else { "/data" };
    assert_eq!(alter(&node, "t", target), ErrorCode::None);
    wait::eventually("the copy has begun", PATIENCE, || {
        described(&node, "t").iter().any(|(path, copied, lag, is_future)| {
            *is_future && path == target && *copied > 0 && copied < size && *lag > 0 && *lag < 3
        })
    });
    assert_eq!(described(&node, "t").len(), 2);
    let metric = |name: &str| node.metric(&format!("milena_directory_{name}"), "");
    let lag = metric("move_lag_records_max");
    assert!(metric("moves") == 1.0 && (1.0..3.0).contains(&lag), "behind by {lag}");
    set(&node, (BROKER, "1"), RATE, None);
    wait::eventually("it is there", PATIENCE, || {
        described(&node, "t") == [(target.to_owned(), *size, 0, false)]
    });
    wait::eventually("it is counted", PATIENCE, || metric("moves_done_total") == 1.0);
    let names = ["moves", "move_lag_records_max", "moves_failed_total"];
    assert_eq!(names.map(metric), [0.0; 3]);
    assert_eq!(metric("moved_bytes_total"), *size as f64);
    assert_eq!(node.produce("t", &batch(&["y"])), (ErrorCode::None, 3));
    let (error, bytes) = node.fetch("t", 0);
    assert_eq!(error, ErrorCode::None);
    assert!(bytes.len() > 700_000);
}

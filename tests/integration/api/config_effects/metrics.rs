//! Each metric of logs, cleaners, groups and their coordinators moves from its zero when what it counts happens: one that
//! stood still would be missed here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use milena_broker::broker::now_ms;
use milena_broker::partition::AppendAs;
use milena_log::memory_files::{Fault, MemoryFiles, Operation};
use milena_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use milena_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use milena_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use milena_protocol::records::Builder;
use milena_protocol::{ErrorCode, Request};
use milena_tests::http;

use super::cleaner::{ALWAYS_DIRTY, COMPACTED, SYNCED, keyed};
use super::groups::{commit, has_coordinator};
use super::scene::{Scene, eventually};
use crate::alter_configs::{BROKER, set};
use crate::node::{Node, batch};

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const OFFSETS_LOG: &str = "__consumer_offsets-0/00000000000000000000.log";

/// Families that this file must cover, by how their names begin.
const AREAS: &[&str] =
    &["milena_cleaner_", "milena_group", "milena_log_", "milena_high_watermark", "milena_partitions"];

const LOGS: &[&str] = &[
    "milena_log_size_bytes",
    "milena_log_start_offset",
    "milena_log_end_offset",
    "milena_high_watermark",
    "milena_partitions",
];
const DIRECTORIES: &[&str] = &["milena_log_directories_offline"];
const GROUPS: &[&str] = &[
    "milena_groups",
    "milena_group_offsets",
    "milena_group_rebalances_total",
    "milena_group_offset_commits_total",
    "milena_group_loads_total",
    "milena_group_load_seconds_total",
    "milena_group_load_seconds_max",
    "milena_group_lag_records",
    "milena_group_lag_seconds",
];
const DELETED: &[&str] = &["milena_group_offset_deletions_total"];
const EXPIRED: &[&str] = &["milena_group_offset_expirations_total"];
const SKIPPED: &[&str] = &["milena_group_records_skipped_total"];
const NOT_LOADED: &[&str] = &["milena_group_loads_failed_total"];
const MANY: &[&str] = &["milena_group_lags_left_out"];
const THREADS: &[&str] = &["milena_cleaner_threads"];
const PASSES: &[&str] = &[
    "milena_cleaner_last_run_time_seconds",
    "milena_cleaner_dirty_ratio_max",
    "milena_cleaner_passes_total",
    "milena_cleaner_last_pass_time_seconds",
    "milena_cleaner_pass_seconds_max",
    "milena_cleaner_recopy_ratio",
    "milena_cleaner_map_utilization_max",
    "milena_cleaner_read_bytes_total",
    "milena_cleaner_written_bytes_total",
];
const LATE: &[&str] = &["milena_cleaner_delay_seconds_max"];
const FAILED: &[&str] = &["milena_cleaner_uncleanable_partitions", "milena_cleaner_uncleanable_bytes"];
const DEAD: &[&str] = &["milena_cleaner_dead_threads"];
const RESTARTED: &[&str] = &["milena_cleaner_restarts_total"];

const ALL: &[&[&str]] = &[
    LOGS,
    DIRECTORIES,
    GROUPS,
    DELETED,
    EXPIRED,
    SKIPPED,
    NOT_LOADED,
    MANY,
    THREADS,
    PASSES,
    LATE,
    FAILED,
    DEAD,
    RESTARTED,
];

#[test]
fn every_metric_of_logs_cleaners_and_groups_is_seen_to_move() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = fs::read_to_string(page).expect("the page of metrics");
    let names = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let ours: BTreeSet<&str> = names.filter(|name| AREAS.iter().any(|area| name.starts_with(area))).collect();
    let moved: BTreeSet<&str> = ALL.iter().flat_map(|names| names.iter().copied()).collect();
    assert_eq!(moved, ours);
}

fn sum(text: &str, name: &str) -> f64 {
    http::metric(text, name, "").unwrap_or(0.0)
}

/// A node on which none of these has anything to tell yet.
fn still(node: &Node, names: &[&str]) {
    let text = node.metrics();
    for name in names {
        assert_eq!(sum(&text, name), 0.0, "{name} at the start");
    }
}

fn move_from_zero(node: &Node, names: &[&str]) {
    for name in names {
        eventually(name, || sum(&node.metrics(), name) > 0.0);
    }
}

#[test]
fn metrics_of_logs_move() {
    let files = MemoryFiles::new();
    let node = Node::start_on(&files, &[]);
    still(&node, LOGS);
    still(&node, DIRECTORIES);
    node.create("t", &[]);
    (0..2).for_each(|_| assert_eq!(node.produce("t", &batch(&["x"])).0, ErrorCode::None));
    node.partition("t").delete_records(1).expect("below the high watermark");
    move_from_zero(&node, LOGS);
    files.inject(Fault::errno(Operation::Write, 0, EIO).on_paths("t-0/00000000000000000000.log").lasting());
    assert_eq!(node.produce("t", &batch(&["x"])).0, ErrorCode::KafkaStorageError);
    move_from_zero(&node, DIRECTORIES);
}

const GROUP_NODE: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "1"),
    ("offsets.retention.check.interval.ms", "1"),
];

#[test]
fn metrics_of_groups_move() {
    let node = Node::start(GROUP_NODE);
    [GROUPS, DELETED, EXPIRED].iter().for_each(|names| still(&node, names));
    node.create("t", &[]);
    (0..3).for_each(|_| assert_eq!(node.produce("t", &aged()).0, ErrorCode::None));
    has_coordinator(&node);
    assert_eq!(commit(&node, "kept"), ErrorCode::None);
    rebalance(&node, "members");
    move_from_zero(&node, GROUPS);
    let request = DeleteGroupsRequest { groups_names: vec!["simple".into()] };
    let response = node.call(&request, 2);
    let response = response.decode::<DeleteGroupsRequest<'_>>().expect("DeleteGroups");
    assert_eq!(response.results[0].error_code, 0);
    move_from_zero(&node, DELETED);
    // The last version in which a commit says how long it is kept.
    let kept_for_a_moment = committed("short", "t", &[0], 1);
    code::<OffsetCommitRequest<'_>>(&node, &kept_for_a_moment, 4);
    move_from_zero(&node, EXPIRED);
}

/// A record of a minute ago.
fn aged() -> Vec<u8> {
    let mut builder = Builder::new();
    builder.append(now_ms() - 60_000, None, Some(b"aged"), &[]).expect("room");
    builder.finish().expect("a batch")
}

fn committed<'a>(
    group: &'a str,
    topic: &'a str,
    partitions: &[i32],
    retention_time_ms: i64,
) -> OffsetCommitRequest<'a> {
    let partition = |partition: &i32| OffsetCommitRequestPartition {
        partition_index: *partition,
        committed_metadata: Some("".into()),
        ..Default::default()
    };
    let partitions = partitions.iter().map(partition).collect();
    let topic = OffsetCommitRequestTopic { name: topic.into(), partitions, ..Default::default() };
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        retention_time_ms,
        topics: vec![topic],
        ..Default::default()
    }
}

/// Makes the call, and looks at the answer only as far as that there is one.
fn code<R: Request>(node: &Node, request: &R, version: i16) {
    node.call(request, version);
}

/// One member joins a group and assigns itself nothing.
fn rebalance(node: &Node, group: &str) {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: b"".as_slice().into() };
    let join = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: "".into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let response = node.call(&join, 3);
    let joined = response.decode::<JoinGroupRequest<'_>>().expect("JoinGroup");
    let assignment =
        SyncGroupRequestAssignment { member_id: joined.member_id.clone(), assignment: b"".as_slice().into() };
    let sync = SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: vec![assignment],
        ..Default::default()
    };
    let response = node.call(&sync, 2);
    let synced = response.decode::<SyncGroupRequest<'_>>().expect("SyncGroup");
    assert_eq!((joined.error_code, synced.error_code), (0, 0));
}

#[test]
fn metrics_of_loads_move() {
    let files = MemoryFiles::new();
    let node = Node::start_on(&files, GROUP_NODE);
    node.create("t", &[]);
    has_coordinator(&node);
    assert_eq!(commit(&node, "kept"), ErrorCode::None);
    let partition = node.partition("__consumer_offsets");
    // The second begins a segment: a start reads of the last one only.
    for later_ms in [0, 16 * 86_400_000] {
        let mut garbage = Builder::new();
        garbage.append(now_ms() + later_ms, Some(b"x"), Some(b"garbage"), &[]).expect("room");
        let append = AppendAs { acks_all: true, log_append_time: None };
        partition.append(&garbage.finish().expect("a batch"), append, now_ms()).expect("appended");
    }
    drop((partition, node));
    files.inject(Fault::errno(Operation::Read, 0, EMFILE).on_paths(OFFSETS_LOG).lasting());
    let node = Node::start_on(&files, GROUP_NODE);
    still(&node, SKIPPED);
    move_from_zero(&node, NOT_LOADED);
    files.heal();
    move_from_zero(&node, SKIPPED);
}

/// 101 groups with a lag in each of a hundred partitions.
#[test]
fn lags_that_are_not_told_are_counted() {
    let files = MemoryFiles::new();
    let node = Node::start_on(&files, GROUP_NODE);
    still(&node, MANY);
    assert_eq!(node.try_create("t", 100, &[]), ErrorCode::None);
    has_coordinator(&node);
    let partitions: Vec<i32> = (0..100).collect();
    for group in 0..101 {
        code(&node, &committed(&format!("g{group}"), "t", &partitions, -1), 8);
    }
    move_from_zero(&node, MANY);
}

#[test]
fn metrics_of_passes_move() {
    let scene = Scene::start(&[("log.cleaner.backoff.ms", "1")]);
    still(&scene.node, PASSES);
    let done = scene.create(&[COMPACTED, SYNCED, ALWAYS_DIRTY]);
    let left = scene.create(&[COMPACTED, SYNCED, ("min.cleanable.dirty.ratio", "1")]);
    [&done, &left].iter().for_each(|topic| {
        keyed(&scene, topic, 3, b"value");
    });
    move_from_zero(&scene.node, PASSES);
    // What should run is told before any runs.
    let threads = || sum(&scene.node.metrics(), THREADS[0]);
    assert_eq!(threads(), 1.0);
    set(&scene.node, (BROKER, ""), "log.cleaner.threads", Some("2"));
    eventually("two cleaners", || threads() == 2.0);
}

#[test]
fn metrics_of_late_passes_move() {
    let scene = Scene::start(&[
        ("log.cleaner.backoff.ms", "1"),
        ("log.cleaner.io.max.bytes.per.second", "1"),
        ("log.cleaner.max.compaction.lag.ms", "1000"),
    ]);
    still(&scene.node, LATE);
    let topic = scene.create(&[COMPACTED, SYNCED]);
    // Until the pass that waits for its turn is over nobody looks again.
    keyed(&scene, &topic, 3, b"value");
    move_from_zero(&scene.node, LATE);
}

#[test]
fn metrics_of_logs_that_cannot_be_compacted_move() {
    let scene = Scene::start(&[("log.cleaner.backoff.ms", "1"), ("log.cleaner.dedupe.buffer.size", "0")]);
    still(&scene.node, FAILED);
    let topic = scene.create(&[COMPACTED, SYNCED, ALWAYS_DIRTY]);
    keyed(&scene, &topic, 20, b"value");
    move_from_zero(&scene.node, FAILED);
}

#[test]
fn metrics_of_cleaners_that_panic_move() {
    let scene = Scene::start(&[]);
    still(&scene.node, DEAD);
    still(&scene.node, RESTARTED);
    scene.files.inject(Fault::panic(Operation::Create, 0).on_paths(".log.cleaned"));
    set(&scene.node, (BROKER, ""), "log.cleaner.backoff.ms", Some("60000"));
    let topic = scene.create(&[COMPACTED, SYNCED, ALWAYS_DIRTY]);
    move_from_zero(&scene.node, &["milena_cleaner_last_run_time_seconds"]);
    keyed(&scene, &topic, 3, b"value");
    // The cleaner has looked and rests: another pause wakes it up, and it panics.
    set(&scene.node, (BROKER, ""), "log.cleaner.backoff.ms", Some("59000"));
    move_from_zero(&scene.node, DEAD);
    set(&scene.node, (BROKER, ""), "log.cleaner.backoff.ms", Some("1"));
    move_from_zero(&scene.node, RESTARTED);
}

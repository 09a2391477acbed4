//! What a broker takes from its file only, or is shown by a test elsewhere: name by name the test that would miss it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use milena_broker::server::limits::Limits;
use milena_log::memory_files::MemoryFiles;
use milena_protocol::ErrorCode;
use milena_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use milena_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use milena_protocol::messages::describe_topic_partitions_request::{
    DescribeTopicPartitionsRequest, TopicRequest,
};
use milena_state::config::broker::Settings;
use milena_tests::process::Config;

use super::scene::{Scene, eventually};
use crate::node::{Node, batch};

/// These tests change the value of the property while the node runs.
pub const WHILE_RUNNING: &[&str] = &[
    "a_follower_does_not_ask_for_what_its_rate_does_not_allow_until_the_rate_is_taken_away",
    "a_leader_withholds_what_its_rate_does_not_allow_until_the_rate_is_taken_away",
    "connections_faster_than_the_rate_of_the_broker_are_served_late_but_on_the_listener_of_brokers",
    "connections_per_address_are_bounded_while_the_broker_runs",
    "logs_are_recovered_by_as_many_threads_as_was_said_before",
    "partitions_are_spread_over_as_many_connections_as_the_property_says",
    "single_hosts_may_have_fewer_or_more_connections_than_others",
];

const HERE: &str = "tests/integration/api/config_effects/fixed.rs";
const GROUPS: &str = "tests/integration/api/config_effects/groups.rs";
const RECOVERY: &str = "tests/integration/api/config_effects/recovery.rs";
const SOCKETS: &str = "broker/src/server/listener.rs";
const ADMIN: &str = "broker/tests/broker/admin.rs";
const BROKER: &str = "broker/state/src/config/broker_test.rs";
const CLUSTER: &str = "broker/tests/broker/cluster.rs";
const CONNECTIONS: &str = "tests/integration/api/connection_quotas.rs";
const COORDINATOR: &str = "broker/src/lifecycle_group_test.rs";
const MEMBERS: &str = "broker/src/lifecycle_group_member_test.rs";
const NODES: &str = "tests/integration/cluster/properties.rs";
const OFFSETS_TOPIC: &str = "broker/src/lifecycle_group_topic_test.rs";
const PRODUCE: &str = "tests/integration/api/produce.rs";
const QUORUM: &str = "broker/state/src/config/quorum_test.rs";
const QUOTAS: &str = "tests/integration/api/quotas.rs";
const SHAPES: (&str, &str) =
    ("broker/state/src/metadata/topics_test.rs", "coordinator_topics_get_their_shape_from_the_broker");
const FETCHES: (&str, &str) = ("broker/src/replication/link.rs", "a_leader_is_asked_as_the_properties_say");
const REPLICATION: &str = "broker/src/replication/replication_test.rs";
const ROUNDS: &str = "broker/src/controller/rounds.rs";
const THROTTLES: &str = "broker/src/replication/throttle_test.rs";
const HELD_BY_FOLLOWER: &str =
    "a_follower_does_not_ask_for_what_its_rate_does_not_allow_until_the_rate_is_taken_away";
const HELD_BY_LEADER: &str = "a_leader_withholds_what_its_rate_does_not_allow_until_the_rate_is_taken_away";
const WINDOW: (&str, &str) = (
    "broker/state/src/config/replication.rs",
    "throttles_are_measured_in_windows_of_the_file_and_rates_are_set_while_running",
);
const RELOCATION: (&str, &str) = (
    "broker/state/src/config/replication.rs",
    "moves_between_directories_have_a_window_and_workers_of_their_own",
);
const SESSIONS: (&str, &str) = (
    "broker/state/src/metadata/sessions_test.rs",
    "sessions_end_after_the_timeout_and_start_full_on_a_new_controller",
);

/// A property, the file of the test, and the test.
#[rustfmt::skip]
pub const TESTS: &[(&str, &str, &str)] = &[
    ("advertised.listeners", BROKER, "listeners_are_checked"),
    ("alter.log.dirs.replication.quota.window.num", RELOCATION.0, RELOCATION.1),
    ("alter.log.dirs.replication.quota.window.size.seconds", RELOCATION.0, RELOCATION.1),
    ("auto.create.topics.enable", PRODUCE, "metadata_creates_a_topic_only_when_both_sides_allow_it"),
    ("auto.leader.rebalance.enable", ROUNDS, "leaderships_stay_where_they_are_when_they_are_told_to"),
    ("broker.heartbeat.interval.ms", BROKER, "impossible_combinations_name_both"),
    ("broker.id", BROKER, "broker_id_is_the_older_name_of_node_id"),
    ("broker.rack", HERE, "a_node_is_as_its_file_says"),
    ("broker.session.timeout.ms", SESSIONS.0, SESSIONS.1),
    ("connections.max.idle.ms", HERE, "connections_are_bounded_as_the_file_says"),
    ("controller.listener.names", BROKER, "kafkas_own_example_starts"),
    ("controller.quorum.auto.join.enable", NODES, "a_controller_that_lost_its_directory_votes_again_by_itself"),
    ("controller.quorum.bootstrap.servers", QUORUM, "who_names_nobody_else_is_alone"),
    ("controller.quorum.voters", QUORUM, "voters_and_servers_are_read_and_counted_once"),
    ("controller.quota.window.num", QUOTAS, "windows_are_as_many_and_as_long_as_the_properties_say"),
    ("controller.quota.window.size.seconds", QUOTAS, "windows_are_as_many_and_as_long_as_the_properties_say"),
    ("default.replication.factor", HERE, "topics_are_as_the_file_says"),
    ("delete.topic.enable", HERE, "topics_are_as_the_file_says"),
    ("fetch.max.bytes", HERE, "topics_are_as_the_file_says"),
    ("follower.replication.throttled.rate", THROTTLES, HELD_BY_FOLLOWER),
    ("group.initial.rebalance.delay.ms", MEMBERS, "ten_thousand_members_wait_in_joins_and_hear_of_the_end"),
    ("group.max.session.timeout.ms", GROUPS, "groups_are_bounded_as_the_file_says"),
    ("group.max.size", MEMBERS, "a_group_has_as_many_members_as_the_property_allows"),
    ("group.min.session.timeout.ms", GROUPS, "groups_are_bounded_as_the_file_says"),
    ("initial.broker.registration.timeout.ms", CLUSTER, "an_id_that_is_taken_is_refused_while_the_other_lives"),
    ("inter.broker.listener.name", BROKER, "impossible_combinations_name_both"),
    ("leader.replication.throttled.rate", THROTTLES, HELD_BY_LEADER),
    ("leader.imbalance.check.interval.seconds", ROUNDS, "leaders_are_balanced_as_often_as_the_property_says_and_soon_again_when_much_is_left"),
    ("listener.security.protocol.map", BROKER, "listeners_are_checked"),
    ("listeners", BROKER, "listeners_are_checked"),
    ("log.cleaner.enable", "broker/src/lifecycle_cleaner_test.rs", "number_of_cleaners_follows_the_settings"),
    ("log.dir", BROKER, "log_dir_is_used_when_log_dirs_is_absent"),
    ("log.dirs", BROKER, "log_dir_is_used_when_log_dirs_is_absent"),
    ("log.flush.offset.checkpoint.interval.ms", HERE, "checkpoints_are_written_as_often_as_the_file_says"),
    ("log.flush.scheduler.interval.ms", BROKER, "durations_in_several_units_have_an_order"),
    ("log.flush.start.offset.checkpoint.interval.ms", HERE, "checkpoints_are_written_as_often_as_the_file_says"),
    ("log.retention.check.interval.ms", "tests/integration/api/alter_configs.rs", "retention_of_now_deletes_what_was_written_before"),
    ("log.retention.hours", BROKER, "durations_in_several_units_have_an_order"),
    ("log.retention.minutes", BROKER, "durations_in_several_units_have_an_order"),
    ("log.roll.hours", BROKER, "durations_in_several_units_have_an_order"),
    ("log.roll.jitter.hours", BROKER, "durations_in_several_units_have_an_order"),
    ("max.connection.creation.rate", CONNECTIONS, "connections_faster_than_the_rate_of_the_broker_are_served_late_but_on_the_listener_of_brokers"),
    ("max.connections.per.ip", ADMIN, "connections_per_address_are_bounded_while_the_broker_runs"),
    ("max.connections.per.ip.overrides", CONNECTIONS, "single_hosts_may_have_fewer_or_more_connections_than_others"),
    ("max.incremental.fetch.session.cache.slots", "tests/integration/api/fetch_sessions.rs", "without_slots_fetches_go_on_without_a_session"),
    ("max.request.partition.size.limit", HERE, "topics_are_as_the_file_says"),
    ("metadata.log.dir", "broker/src/lifecycle_fault_test.rs", "without_its_metadata_directory_a_node_serves_what_it_has"),
    ("metadata.log.max.record.bytes.between.snapshots", HERE, "snapshots_are_taken_as_often_as_the_file_says"),
    ("metadata.log.max.snapshot.interval.ms", HERE, "snapshots_are_taken_as_often_as_the_file_says"),
    ("milena.cluster.id", HERE, "a_node_is_as_its_file_says"),
    ("milena.fence.on.disconnect", NODES, "a_broker_that_dies_is_left_to_its_session_when_that_is_wanted"),
    ("milena.flush", HERE, "topics_are_as_the_file_says"),
    ("milena.http.listener", HERE, "a_node_is_as_its_file_says"),
    ("milena.log.format", HERE, "a_broker_logs_as_its_file_says"),
    ("milena.log.level", HERE, "a_broker_logs_as_its_file_says"),
    ("node.id", HERE, "a_node_is_as_its_file_says"),
    ("num.network.threads", HERE, "a_node_is_as_its_file_says"),
    ("num.partitions", HERE, "topics_are_as_the_file_says"),
    ("num.recovery.threads.per.data.dir", RECOVERY, "logs_are_recovered_by_as_many_threads_as_was_said_before"),
    ("num.replica.alter.log.dirs.threads", RELOCATION.0, RELOCATION.1),
    ("num.replica.fetchers", REPLICATION, "partitions_are_spread_over_as_many_connections_as_the_property_says"),
    ("offset.metadata.max.bytes", GROUPS, "groups_are_bounded_as_the_file_says"),
    ("offsets.commit.timeout.ms", COORDINATOR, "a_commit_that_is_not_replicated_in_time_is_no_commit_yet"),
    ("offsets.load.buffer.size", COORDINATOR, "compressed_records_are_read_again"),
    ("offsets.retention.check.interval.ms", COORDINATOR, "offsets_expire"),
    ("offsets.retention.minutes", "broker/state/src/config/coordinator.rs", "every_property_arrives"),
    ("offsets.topic.compression.codec", COORDINATOR, "compressed_records_are_read_again"),
    ("offsets.topic.num.partitions", OFFSETS_TOPIC, "first_use_creates_it_as_the_properties_say"),
    ("offsets.topic.replication.factor", OFFSETS_TOPIC, "with_too_few_brokers_there_is_no_coordinator"),
    ("offsets.topic.segment.bytes", OFFSETS_TOPIC, "first_use_creates_it_as_the_properties_say"),
    ("process.roles", QUORUM, "roles_decide_which_listeners_there_are"),
    ("queued.max.request.bytes", HERE, "connections_are_bounded_as_the_file_says"),
    ("quota.window.num", QUOTAS, "windows_are_as_many_and_as_long_as_the_properties_say"),
    ("quota.window.size.seconds", QUOTAS, "windows_are_as_many_and_as_long_as_the_properties_say"),
    ("replica.fetch.backoff.ms", "broker/state/src/partition/fetch_plan_test.rs", "errors_of_a_change_of_leaders_pause_shortly_and_others_long"),
    ("replica.fetch.max.bytes", FETCHES.0, FETCHES.1),
    ("replica.fetch.min.bytes", FETCHES.0, FETCHES.1),
    ("replica.fetch.response.max.bytes", FETCHES.0, FETCHES.1),
    ("replica.fetch.wait.max.ms", FETCHES.0, FETCHES.1),
    ("replica.high.watermark.checkpoint.interval.ms", NODES, "high_watermarks_are_written_as_often_as_the_file_says"),
    ("replica.lag.time.max.ms", REPLICATION, "a_follower_that_lags_leaves_the_in_sync_replicas_and_comes_back"),
    ("replica.selector.class", NODES, "consumers_are_sent_to_the_replica_in_their_rack"),
    ("replica.socket.timeout.ms", FETCHES.0, FETCHES.1),
    ("replication.quota.window.num", WINDOW.0, WINDOW.1),
    ("replication.quota.window.size.seconds", WINDOW.0, WINDOW.1),
    ("security.inter.broker.protocol", BROKER, "impossible_combinations_name_both"),
    ("share.coordinator.state.topic.min.isr", SHAPES.0, SHAPES.1),
    ("share.coordinator.state.topic.num.partitions", SHAPES.0, SHAPES.1),
    ("share.coordinator.state.topic.replication.factor", SHAPES.0, SHAPES.1),
    ("share.coordinator.state.topic.segment.bytes", SHAPES.0, SHAPES.1),
    ("socket.listen.backlog.size", SOCKETS, "sockets_have_the_buffers_and_the_backlog_that_are_asked_for"),
    ("socket.receive.buffer.bytes", SOCKETS, "sockets_have_the_buffers_and_the_backlog_that_are_asked_for"),
    ("socket.request.max.bytes", HERE, "connections_are_bounded_as_the_file_says"),
    ("socket.send.buffer.bytes", SOCKETS, "sockets_have_the_buffers_and_the_backlog_that_are_asked_for"),
    ("transaction.state.log.min.isr", SHAPES.0, SHAPES.1),
    ("transaction.state.log.num.partitions", SHAPES.0, SHAPES.1),
    ("transaction.state.log.replication.factor", SHAPES.0, SHAPES.1),
    ("transaction.state.log.segment.bytes", SHAPES.0, SHAPES.1),
];

/// As [`TESTS`], of topics.
pub const TOPIC_TESTS: &[(&str, &str, &str)] = &[
    ("follower.replication.throttled.replicas", THROTTLES, HELD_BY_FOLLOWER),
    ("leader.replication.throttled.replicas", THROTTLES, HELD_BY_LEADER),
];

#[test]
fn a_node_is_as_its_file_says() {
    let node = Node::start(&[
        ("node.id", "7"),
        ("broker.rack", "north"),
        ("milena.cluster.id", "clusterclusterclusterA"),
        ("num.network.threads", "3"),
    ]);
    let response = node.call(&DescribeClusterRequest { endpoint_type: 1, ..Default::default() }, 1);
    let response = response.decode::<DescribeClusterRequest>().expect("DescribeCluster");
    assert_eq!(&*response.cluster_id, "clusterclusterclusterA");
    let only = &response.brokers[0];
    assert_eq!((only.broker_id, only.rack.as_deref()), (7, Some("north")));
    // It is served at the port of this node's own, and each reactor has its figures.
    assert!(node.metrics().contains("reactor=\"2\"") && !node.metrics().contains("reactor=\"3\""));
}

#[test]
fn topics_are_as_the_file_says() {
    let scene = Scene::start(&[
        ("num.partitions", "3"),
        ("delete.topic.enable", "false"),
        ("fetch.max.bytes", "1024"),
        ("max.request.partition.size.limit", "2"),
        ("milena.flush", "durable"),
    ]);
    let node = &scene.node;
    assert_eq!(node.try_create("t", -1, &[]), ErrorCode::None);
    let topics = || vec![TopicRequest { name: "t".into() }];
    let request =
        DescribeTopicPartitionsRequest { topics: topics(), response_partition_limit: 100, cursor: None };
    let response = node.call(&request, 0);
    let response = response.decode::<DescribeTopicPartitionsRequest<'_>>().expect("DescribeTopicPartitions");
    let next = response.next_cursor.as_ref().expect("there is a third");
    assert_eq!((response.topics[0].partitions.len(), next.partition_index), (2, 2));
    let large = batch(&[&"x".repeat(600)]);
    (0..3).for_each(|_| assert_eq!(node.produce("t", &large).0, ErrorCode::None));
    assert!(scene.is_on_disk("t"), "what was acknowledged is on the disk");
    assert!(node.fetch("t", 0).1.len() < 2 * large.len(), "one batch, although more was asked for");
    let topics = vec![DeleteTopicState { name: Some("t".into()), ..Default::default() }];
    let response = node.call(&DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() }, 6);
    let response = response.decode::<DeleteTopicsRequest<'_>>().expect("DeleteTopics");
    assert_eq!(response.responses[0].error_code, ErrorCode::TopicDeletionDisabled.as_i16());

    let two = Node::start(&[("default.replication.factor", "2")]);
    assert_eq!(two.try_create("t", 1, &[]), ErrorCode::InvalidReplicationFactor);
}

#[test]
fn connections_are_bounded_as_the_file_says() {
    let properties = [
        ("connections.max.idle.ms", "300"),
        ("socket.request.max.bytes", "1000"),
        ("queued.max.request.bytes", "2000"),
    ];
    // What a connection does at each of these bounds is shown in `broker/tests/broker/server.rs`.
    let all = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let limits = Limits::of(&Settings::parse(&BTreeMap::from(all)).expect("valid"));
    assert_eq!((limits.request_bytes_max, limits.in_flight_bytes_max), (1000, Some(2000)));
    assert_eq!(limits.idle_time_max, Some(Duration::from_millis(300)));

    let node = Node::start(&properties);
    let ends = |first: &[u8]| {
        let mut stream = TcpStream::connect(node.address()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.write_all(first).expect("it reads");
        assert_eq!(stream.read(&mut [0]).expect("it is closed"), 0);
    };
    ends(&1001_i32.to_be_bytes());
    ends(&[]);
    assert!(node.metric("milena_limit_reached_total", "limit=\"idle\"") >= 1.0);
}

#[test]
fn checkpoints_are_written_as_often_as_the_file_says() {
    for name in ["log.flush.offset.checkpoint.interval.ms", "log.flush.start.offset.checkpoint.interval.ms"] {
        let scene = Scene::start(&[(name, "10")]);
        let topic = scene.create(&[("flush.messages", "1")]);
        scene.write_now(&topic);
        let path = Path::new("/data/recovery-point-offset-checkpoint");
        let line = format!("{topic} 0 1");
        let is_there = || scene.files.paths_below(Path::new("/data")).iter().any(|found| found == path);
        let text = || String::from_utf8(scene.files.contents(path)).expect("text");
        eventually("a checkpoint", || is_there() && text().lines().any(|found| found == line));
    }
}

#[test]
fn snapshots_are_taken_as_often_as_the_file_says() {
    let taken = |name: &str, value: &str| {
        let files = MemoryFiles::new();
        let node = Node::start_on(&files, &[(name, value)]);
        node.create("t", &[]);
        let ends = |path: &Path| path.to_string_lossy().ends_with(".checkpoint");
        eventually("a snapshot", || files.paths_below(Path::new("/data")).iter().any(|path| ends(path)));
    };
    taken("metadata.log.max.record.bytes.between.snapshots", "1");
    taken("metadata.log.max.snapshot.interval.ms", "1");
}

#[test]
fn a_broker_logs_as_its_file_says() {
    let lines = |name: &str, value: &str| {
        let config = Config::new().property("milena.log.format", "json").property(name, value);
        let mut broker = config.start().expect("the broker starts");
        broker.stop().expect("the broker stops");
        // What is written for people stands between.
        let output = broker.output();
        output.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect::<Vec<_>>()
    };
    let written = lines("milena.log.level", "info");
    let first: serde_json::Value = serde_json::from_str(&written[0]).expect("JSON");
    assert_eq!(first["level"], "INFO", "{first}");
    assert!(lines("milena.log.level", "error").is_empty());
}

//! Properties that nobody can see act on the one node of these tests, each with its reason: a value is kept and described.
//! What several nodes would see of one is shown by the test of its rule.

use std::collections::BTreeMap;

use milena_state::config::broker::{self, Settings};
use milena_state::config::definition::Definition;
use milena_state::config::{client_metrics, group, topic};

use super::table::Place;
use crate::alter_configs::{BROKER, GROUP, METRICS, TOPIC, described, set};
use crate::node::Node;

pub struct Harmless {
    pub place: Place,
    pub reason: &'static str,
    /// Between blanks.
    pub names: &'static str,
    /// The test of the rule that other nodes would see: its file, and its name.
    pub rule: Option<(&'static str, &'static str)>,
}

#[rustfmt::skip]
pub const ALL: &[Harmless] = &[
    Harmless { place: Place::Topic, names: "min.insync.replicas",
        reason: "there are never more in-sync replicas than replicas, and one node has one",
        rule: Some(("broker/state/src/partition/leader_test.rs", "a_minimum_above_the_replicas_means_all_of_them")) },
    Harmless { place: Place::Broker, names: "min.insync.replicas",
        reason: "there are never more in-sync replicas than replicas, and one node has one",
        rule: Some(("broker/state/src/partition/leader_test.rs", "under_the_minimum_the_watermark_stands_still_and_acks_all_is_refused")) },
    Harmless { place: Place::Topic, names: "unclean.leader.election.enable",
        reason: "the only replica, which one node has, is always the last that was in sync",
        rule: Some(("broker/state/src/metadata/partitions_test.rs", "the_last_known_leader_returns_only_alive_and_counts_as_unclean")) },
    Harmless { place: Place::Broker, names: "unclean.leader.election.enable",
        reason: "the only replica, which one node has, is always the last that was in sync",
        rule: Some(("broker/state/src/metadata/brokers_test.rs", "the_only_replica_leads_again_after_a_clean_and_after_an_unclean_end")) },
    Harmless { place: Place::Broker, rule: None,
        reason: "threads and lists of Kafka's that are not here; what bounds their work is",
        names: "background.threads delete.records.purgatory.purge.interval.requests \
            fetch.purgatory.purge.interval.requests num.io.threads producer.purgatory.purge.interval.requests \
            queued.max.requests share.fetch.purgatory.purge.interval.requests" },
    Harmless { place: Place::Group, rule: None,
        reason: "nobody can join a group of the consumer, share or streams protocol",
        names: "consumer.assignment.interval.ms consumer.heartbeat.interval.ms consumer.session.timeout.ms \
            share.assignment.interval.ms share.auto.offset.reset share.delivery.count.limit share.heartbeat.interval.ms \
            share.isolation.level share.partition.max.record.locks share.record.lock.duration.ms \
            share.renew.acknowledge.enable share.session.timeout.ms streams.assignment.interval.ms \
            streams.heartbeat.interval.ms streams.initial.rebalance.delay.ms streams.num.standby.replicas \
            streams.session.timeout.ms" },
    Harmless { place: Place::ClientMetrics, rule: None,
        reason: "no client is asked for its metrics",
        names: "interval.ms match metrics" },
];

#[test]
fn what_cannot_matter_is_kept_described_and_taken_back() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    for harmless in ALL {
        assert!(!harmless.reason.is_empty());
        for name in harmless.names.split_whitespace() {
            check(&node, harmless.place, name);
        }
    }
}

fn check(node: &Node, place: Place, name: &str) {
    let (resource, row) = match place {
        Place::Topic => ((TOPIC, "t"), topic::definition(name)),
        // Which of all brokers have so many replicas must be the same everywhere.
        Place::Broker if name == "min.insync.replicas" => ((BROKER, ""), broker::definition(name)),
        Place::Broker => ((BROKER, "1"), broker::definition(name)),
        Place::Group => ((GROUP, "g"), group::definition(name)),
        Place::ClientMetrics => ((METRICS, "m"), client_metrics::definition(name)),
    };
    let row = row.expect(name);
    let value = value_of(row);
    if place == Place::Broker && !broker::is_dynamic(row) {
        let in_file = BTreeMap::from([(name.to_owned(), value.clone())]);
        let settings = Settings::parse(&in_file).expect("it may be in a file");
        assert_eq!(settings.without_effect(), [name], "the log tells that it has no effect");
        return;
    }
    // What all brokers have together is told as far as it is set, and this must stay.
    let before = (resource != (BROKER, "")).then(|| described(node, resource, name).0);
    set(node, resource, name, Some(&value));
    assert_eq!(described(node, resource, name).0, value, "{name}");
    if let Some(before) = before {
        set(node, resource, name, None);
        assert_eq!(described(node, resource, name).0, before, "{name}");
    }
}

/// Valid, and not the default.
fn value_of(row: &Definition) -> String {
    match (row.name, row.kind) {
        ("share.auto.offset.reset", _) => "earliest".to_owned(),
        ("match", _) => "client_id=a.*".to_owned(),
        ("consumer.session.timeout.ms" | "share.session.timeout.ms" | "streams.session.timeout.ms", _) => {
            "50000".to_owned()
        }
        (name, _) if name.ends_with("heartbeat.interval.ms") => "6000".to_owned(),
        ("share.record.lock.duration.ms", _) => "40000".to_owned(),
        ("share.partition.max.record.locks", _) => "1000".to_owned(),
        ("share.delivery.count.limit", _) => "3".to_owned(),
        ("interval.ms", _) => "1000".to_owned(),
        _ => super::refused::other_than_default(row),
    }
}

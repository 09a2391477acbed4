//! Brokers that are no controllers when they start again: with a checkpoint of the metadata, and with the quorum away.

use std::net::TcpStream;
use std::sync::mpsc;

use milena_broker::metadata::checkpoint;

use super::*;
use crate::harness::{create_topic, produce, try_http};

/// More entries than a controller gives in one answer.
const ENTRIES: usize = 260;

impl Nodes {
    /// A dedicated controller, 10, and two brokers, running.
    fn two_brokers() -> Self {
        let mut nodes = Self::of(&[10]);
        nodes.start(&[(10, "controller"), (1, "broker"), (2, "broker")]);
        nodes
    }

    fn delete(&self, id: i32, name: &str) {
        let admin = self.admin(id);
        let deleted = self.client.block_on(admin.delete_topics(&[name.to_owned()])).expect("answered");
        for (name, outcome) in deleted {
            outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    fn fetched_bytes(&self, id: i32) -> u64 {
        self.running[&id].node().metrics.metadata_fetched_bytes()
    }

    fn log_end_offset(&self, id: i32, topic: &str) -> Option<i64> {
        let partition = self.running[&id].node().partitions.by_name(topic, 0).ok()?;
        Some(partition.log_end_offset().get())
    }

    fn strays(&self, id: i32) -> Vec<String> {
        let entries = std::fs::read_dir(self.directories[&id].path()).expect("listed");
        let names = entries.map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with("-stray")).collect()
    }
}

#[test]
fn a_broker_fetches_only_the_metadata_that_came_after_its_checkpoint() {
    let mut nodes = Nodes::two_brokers();
    for number in 0..20 {
        nodes.create(1, &format!("topic-{number}"), 10, 2);
    }
    nodes.eventually("2 follows", |nodes| nodes.has(2, "topic-19"));
    let all = nodes.fetched_bytes(2);
    nodes.stop(2);
    nodes.create(1, "while-2-is-away", 1, 1);
    nodes.start(&[(2, "broker")]);
    assert!(nodes.has(2, "topic-0") && nodes.has(2, "while-2-is-away"));
    let after_stop = nodes.fetched_bytes(2);
    // One that is killed goes on from the checkpoint of before.
    nodes.kill(2);
    nodes.start(&[(2, "broker")]);
    assert!(nodes.has(2, "topic-0") && nodes.has(2, "while-2-is-away"));
    let after_kill = nodes.fetched_bytes(2);
    println!("{all} bytes at first, {after_stop} after a stop, {after_kill} after a kill");
    assert!(after_stop < all && after_kill < all, "the checkpoint spares fetching topics again");
    // Without one it all comes anew, and a damaged one is no worse.
    for contents in [None, Some("no checkpoint")] {
        nodes.stop(2);
        let file = nodes.directories[&2].path().join(checkpoint::NAME);
        match contents {
            None => std::fs::remove_file(file).expect("removed"),
            Some(contents) => std::fs::write(file, contents).expect("written"),
        }
        nodes.start(&[(2, "broker")]);
        assert!(nodes.has(2, "topic-0") && nodes.has(2, "while-2-is-away"));
        assert!(nodes.fetched_bytes(2) > all, "{contents:?}");
    }
}

#[test]
fn metadata_that_are_older_than_a_partition_do_not_touch_it() {
    let mut nodes = Nodes::two_brokers();
    let create = |nodes: &Nodes| {
        let topic = NewTopic { name: "topic".to_owned(), assignments: vec![vec![1]], ..NewTopic::default() };
        let admin = nodes.admin(2);
        let created = nodes.client.block_on(admin.create_topics(&[topic], false)).expect("answered");
        for (name, outcome) in created {
            outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        nodes.eventually("1 has it", |nodes| nodes.log_end_offset(1, "topic").is_some());
    };
    create(&nodes);
    let of_the_first = nodes.running[&1].node().metadata.image().topic_by_name("topic").map(|topic| topic.id);
    let (admin, topic) = (nodes.admin(2), ConfigResource::Topic("topic".to_owned()));
    for retention_ms in 0..ENTRIES {
        let change = ("retention.ms".to_owned(), ConfigChange::Set((1_000_000 + retention_ms).to_string()));
        nodes.client.block_on(admin.alter_configs(&topic, &[change], false)).expect("altered");
    }
    drop(admin);
    nodes.stop(1);
    nodes.start(&[(1, "broker")]);
    // The checkpoint knows the topic. Another gets its name, and no checkpoint tells.
    nodes.delete(2, "topic");
    nodes.eventually("1 has deleted it", |nodes| nodes.log_end_offset(1, "topic").is_none());
    create(&nodes);
    let of_the_second =
        nodes.running[&1].node().metadata.image().topic_by_name("topic").map(|topic| topic.id);
    assert_ne!(of_the_first, of_the_second);
    produce(&mut connect(nodes.running[&1].address()), "topic", 1, 7);
    for has_checkpoint in [true, false] {
        nodes.kill(1);
        if !has_checkpoint {
            // From the beginning on the log tells of the first topic for more than one answer.
            std::fs::remove_file(nodes.directories[&1].path().join(checkpoint::NAME)).expect("removed");
        }
        nodes.start(&[(1, "broker")]);
        assert_eq!(nodes.log_end_offset(1, "topic"), Some(7), "{has_checkpoint}");
        assert!(nodes.strays(1).is_empty(), "{:?}", nodes.strays(1));
    }
}

#[test]
fn without_a_quorum_a_broker_serves_on_and_one_that_starts_waits() {
    let mut nodes = Nodes::two_brokers();
    create_topic(&mut connect(nodes.running[&1].address()), "of-both", 2);
    nodes.eventually("both know it", |nodes| nodes.has(1, "of-both") && nodes.has(2, "of-both"));
    nodes.stop(1);
    nodes.kill(10);
    // Metadata are served on, stale as they may be.
    let described = nodes.client.block_on(nodes.admin(2).describe_cluster()).expect("answered");
    assert!(described.brokers.iter().any(|broker| broker.id == 2));
    let http = TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr()).expect("a free port");
    let settings = nodes.settings(1, "broker", &[("milena.http.listener", &http.to_string())]);
    let (started, starting) = mpsc::channel();
    thread::spawn(move || {
        let _ = started.send(start(&settings));
    });
    nodes.eventually("HTTP is on", |_| TcpStream::connect(http).is_ok());
    nodes.eventually("it waits", |_| {
        let Ok((status, body)) = try_http(http, "/readyz") else { return false };
        status == 503 && body.contains("this broker is not registered yet: ")
    });
    assert!(
        matches!(starting.try_recv(), Err(mpsc::TryRecvError::Empty)),
        "who is not registered serves nothing"
    );
    nodes.start(&[(10, "controller")]);
    let broker = starting.recv_timeout(PATIENCE).expect("the quorum is back");
    nodes.running.insert(1, broker.expect("it starts"));
    assert!(nodes.has(1, "of-both") && nodes.strays(1).is_empty());
}

#[test]
fn a_checkpoint_of_a_quorum_that_was_founded_anew_is_discarded() {
    let mut nodes = Nodes::of(&[10]);
    nodes.more = vec![("milena.cluster.id", "bWlsZW5hLXRlc3QtaWQtMQ")];
    nodes.start(&[(10, "controller"), (1, "broker")]);
    for number in 0..5 {
        nodes.create(1, &format!("topic-{number}"), 1, 1);
    }
    nodes.stop(1);
    nodes.kill(10);
    nodes.directories.remove(&10);
    nodes.start(&[(10, "controller")]);
    nodes.start(&[(1, "broker")]);
    assert!(!nodes.has(1, "topic-0"), "the metadata are gone, and what remembers them must not be believed");
    // What it has is kept for a person to look at.
    assert_eq!(nodes.strays(1).len(), 5);
    nodes.create(1, "topic-0", 1, 1);
    assert!(nodes.has(1, "topic-0"));
}

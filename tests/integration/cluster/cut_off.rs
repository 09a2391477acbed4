//! A controller that is cut off from the others, and the brokers that follow it.

use milena_tests::cluster::{Cluster, Setup};
use milena_tests::network::Network;
use milena_tests::process::Broker;
use milena_tests::wait;

use crate::nodes::{PATIENCE, ask};

/// A broker and no controller.
const BROKER: i32 = 4;
/// The controller that it asks first: those of the three it counts off by its id.
const FIRST_ASKED: i32 = 2;

fn value(node: &Broker, metric: &str) -> Option<f64> {
    let metrics = node.metrics().ok()?;
    metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok())
}

/// Creates a topic and waits until the broker serves it.
fn learns_of(cluster: &Cluster, topic: &str) {
    let asked = cluster.node(1);
    let created = wait::poll(PATIENCE, || {
        let said = ask(&asked.bootstrap(), &format!("topic create {topic} --replication-factor 2"));
        (said.code == Some(0)).then_some(())
    });
    assert!(created.is_some(), "{topic} is not created");
    let committed = value(asked, "milena_raft_committed_index").expect("a controller");
    wait::eventually(&format!("the broker serves {topic}"), PATIENCE, || {
        value(cluster.node(BROKER), "milena_metadata_published_index").is_some_and(|index| index >= committed)
    });
}

#[test]
fn a_broker_does_not_follow_a_controller_that_is_cut_off() {
    let network = Network::default();
    let mut cluster = Setup::new(3).brokers(1).on(&network).start();
    learns_of(&cluster, "before");
    for other in [1, 3] {
        network.cut(other, FIRST_ASKED);
        network.cut(FIRST_ASKED, other);
    }
    learns_of(&cluster, "while-it-runs");
    wait::eventually("the metadata of the controller become old", PATIENCE, || {
        value(cluster.node(FIRST_ASKED), "milena_metadata_age_seconds").is_some_and(|age| age > 2.0)
    });
    wait::eventually("those of the broker are not", PATIENCE, || {
        value(cluster.node(BROKER), "milena_metadata_age_seconds").is_some_and(|age| age < 1.5)
    });
    cluster.kill(BROKER);
    cluster.start_again(BROKER);
    learns_of(&cluster, "after-its-start");
    network.heal();
}

//! `milena cluster status|drain|undrain`.

use std::time::{Duration, Instant};

use milena_tests::cluster::Cluster;
use milena_tests::wait;

use crate::nodes::{PATIENCE, ask, until_whole};
use crate::up::Up;

/// What a status may take that has nobody to ask.
const STATUS_TIME_MAX: Duration = Duration::from_secs(10);

#[test]
fn status_of_one_node() {
    let up = Up::new();
    up.start(1);
    up.ask(1, "topic create t --partitions 2").ok();
    let said = up.ask(1, "cluster status").ok();
    for expected in
        ["cluster     ", "controller  1, epoch ", "NODE  QUORUM", "BROKER  STATE", "under-replicated"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("TROUBLE"), "{said}");
    let status = up.ask(1, "cluster status --output json").json();
    assert_eq!(status["quorum"]["leader_id"], 1);
    assert_eq!(status["quorum"]["voters"][0]["lag"], 0);
    let broker = &status["brokers"][0];
    assert_eq!((&broker["state"], &broker["leads"], &broker["rack"]), (&"up".into(), &2.into(), &"a".into()));
    assert_eq!(status["counts"]["partitions"], 2);
    assert_eq!(status["troubles"], serde_json::json!([]));
    up.run("down").ok();
}

#[test]
fn a_broker_that_is_not_there_cannot_be_drained() {
    let up = Up::new();
    up.start(1);
    for line in ["cluster drain 9", "cluster undrain 9 --dry-run"] {
        let error = up.ask(1, line).failed(1);
        assert!(
            error.contains("broker 9 is not in the cluster") && error.contains("cluster status"),
            "{error}"
        );
    }
    up.run("down").ok();
}

/// Kills two of three nodes, and gives what is said of the quorum from then on.
fn lose_the_quorum(leader_lives: bool) {
    let mut cluster = Cluster::start(3);
    let bootstrap = cluster.bootstrap();
    ask(&bootstrap, "topic create t --partitions 3").ok();
    until_whole(&bootstrap, 3);
    let status = ask(&bootstrap, "cluster status --output json").json();
    assert_eq!(status["quorum_trouble"], serde_json::Value::Null);
    let leader = status["quorum"]["leader_id"].as_i64().expect("it has one");
    let left = cluster.ids().find(|id| (i64::from(*id) == leader) == leader_lives).expect("three");
    for id in cluster.ids().filter(|id| *id != left) {
        cluster.kill(id);
    }
    let mut last = None;
    let told = wait::poll(PATIENCE, || {
        let began = Instant::now();
        let said = ask(&bootstrap, "cluster status --output json");
        assert!(began.elapsed() < STATUS_TIME_MAX, "{:?}", began.elapsed());
        let is_told = said.code == Some(1);
        last = Some(said);
        is_told.then(|| last.take()).flatten()
    });
    let said = told.unwrap_or_else(|| panic!("the lost quorum is not told: {last:?}"));
    let status: serde_json::Value = serde_json::from_str(&said.out).expect("what is known is shown");
    assert_eq!(status["brokers"].as_array().map(Vec::len), Some(3), "{status:#}");
    assert_eq!(status["counts"]["partitions"], 3);
    assert_eq!(status["quorum"].is_null(), !leader_lives, "{status:#}");
    let expected = if leader_lives { "has no majority" } else { "no leader of the metadata quorum answers" };
    let trouble = status["quorum_trouble"].as_str().unwrap_or_default();
    assert!(trouble.contains(expected) && said.err.contains(trouble), "{said:?}");
    let table = ask(&bootstrap, "cluster status");
    assert!(table.out.contains("BROKER  STATE") && table.code == Some(1), "{table:?}");
}

#[test]
fn a_leader_that_lost_its_majority_is_not_shown_as_well() {
    lose_the_quorum(true);
}

#[test]
fn without_a_leader_brokers_and_partitions_are_shown() {
    lose_the_quorum(false);
}

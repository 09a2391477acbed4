//! Several nodes: what the README does with them, and nodes that come back empty, come twice, or come from elsewhere.

use std::time::{Duration, Instant};

use milena_tests::cluster::{Cluster, Setup};
use milena_tests::process::Config;
use milena_tests::wait;
use serde_json::Value;

use crate::said::{Said, milena};
use crate::up::Up;

pub const PATIENCE: Duration = Duration::from_secs(60);
const RECORDS: usize = 2000;

pub fn ask(bootstrap: &str, line: &str) -> Said {
    let words: Vec<&str> = line.split(' ').collect();
    milena(&words).env("MILENA_BOOTSTRAP", bootstrap).output().expect("milena runs").into()
}

/// Writes numbered lines.
pub fn produce(bootstrap: &str, topic: &str, records: usize) {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("lines");
    let lines: String = (0..records).map(|number| format!("{number}\n")).collect();
    std::fs::write(&file, lines).expect("written");
    ask(bootstrap, &format!("produce {topic} --file {}", file.display())).ok();
}

/// Every line of a topic, sorted by its number.
fn consume(bootstrap: &str, topic: &str) -> Vec<usize> {
    let read = ask(bootstrap, &format!("consume {topic}")).ok();
    let mut numbers: Vec<usize> = read.lines().map(|line| line.parse().expect("our lines")).collect();
    numbers.sort_unstable();
    numbers
}

fn all(records: usize) -> Vec<usize> {
    (0..records).collect()
}

pub fn status(bootstrap: &str) -> Option<Value> {
    let said = ask(bootstrap, "cluster status --output json");
    (said.code == Some(0)).then(|| said.json())
}

/// Waits until every broker serves and every replica is in sync.
pub fn until_whole(bootstrap: &str, brokers: usize) {
    let mut last = None;
    let whole = wait::poll(PATIENCE, || {
        let status = status(bootstrap)?;
        let up = status["brokers"].as_array()?.iter().filter(|broker| broker["state"] == "up").count();
        let whole = up == brokers && status["troubles"].as_array()?.is_empty();
        last = Some(status);
        whole.then_some(())
    });
    assert!(whole.is_some(), "not whole within {PATIENCE:?}: {last:#?}");
}

#[test]
fn three_nodes_survive_what_the_readme_does_to_them() {
    let up = Up::new();
    let began = Instant::now();
    let nodes = up.start(3);
    println!("three nodes are ready after {:?}", began.elapsed());
    assert_eq!(nodes.as_array().map(Vec::len), Some(3));
    let bootstrap = up.bootstrap(3);
    ask(&bootstrap, "topic create orders --partitions 3").ok();
    produce(&bootstrap, "orders", RECORDS);
    let described = ask(&bootstrap, "topic describe orders --output json").json();
    for partition in described[0]["partitions"].as_array().expect("three") {
        assert_eq!(partition["replicas"].as_array().map(Vec::len), Some(3), "{partition}");
    }
    // The address that is asked first is the one that dies.
    up.run("up --kill 1").ok();
    assert_eq!(consume(&bootstrap, "orders"), all(RECORDS));
    produce(&bootstrap, "orders", 1);
    let without_one = wait::poll(PATIENCE, || {
        let status = status(&bootstrap)?;
        (status["brokers"][0]["state"] == "fenced" && status["counts"]["under_replicated"] != 0)
            .then_some(status)
    });
    assert!(without_one.is_some(), "{:#?}", status(&bootstrap));
    up.run("up --restart 1").ok();
    until_whole(&bootstrap, 3);
    let said = up.run("down").ok();
    assert_eq!(said, "node 1 stopped\nnode 2 stopped\nnode 3 stopped\n");
    // All are there again after all were gone.
    up.run("up").ok();
    assert_eq!(consume(&bootstrap, "orders").len(), RECORDS + 1);
    up.run("down --delete").ok();
}

#[test]
fn all_nodes_are_killed_and_restarted_and_have_every_record() {
    let up = Up::new();
    up.start(3);
    let bootstrap = up.bootstrap(3);
    ask(&bootstrap, "topic create t --partitions 3").ok();
    produce(&bootstrap, "t", RECORDS);
    let killed = up.run("up --kill 1,2,3 --output json").json();
    assert!(killed.as_array().expect("nodes").iter().all(|node| node["running"] == false), "{killed}");
    // None of them is ready before a second one runs. Named twice it is one.
    let said = up.run("up --restart 1,2,3,1");
    assert!(said.err.contains("3 nodes are ready after "), "{said:?}");
    said.ok();
    until_whole(&bootstrap, 3);
    assert_eq!(consume(&bootstrap, "t"), all(RECORDS));
    // The one that runs waits for the one that does not: without it the other two would be no quorum.
    up.run("up --kill 2,3").ok();
    up.run("up --restart 1,2").ok();
    assert_eq!(consume(&bootstrap, "t"), all(RECORDS));
    up.run("down --delete").ok();
}

#[test]
fn a_drained_broker_leads_nothing_until_it_gets_its_share_again() {
    let cluster = Cluster::start(3);
    let bootstrap = cluster.bootstrap();
    ask(&bootstrap, "topic create t --partitions 9").ok();
    until_whole(&bootstrap, 3);
    let leads = |status: &Value, broker: usize| status["brokers"][broker - 1]["leads"].as_u64();
    let planned = ask(&bootstrap, "cluster drain 2 --dry-run --output json").json();
    assert_eq!(planned["changed"], false);
    assert!(leads(&status(&bootstrap).expect("it is whole"), 2) > Some(0), "nothing was changed");
    let drained = ask(&bootstrap, "cluster drain 2 --output json").json();
    assert_eq!(drained["leads"], 0, "{drained}");
    assert_eq!(drained["partitions"], planned["partitions"]);
    let now = status(&bootstrap).expect("it is whole");
    assert_eq!(leads(&now, 2), Some(0), "{now}");
    assert_eq!(now["brokers"][1]["preferred"], 0, "{now}");
    assert_eq!(now["counts"]["under_replicated"], 0, "{now}");
    let undrained = ask(&bootstrap, "cluster undrain 2 --output json").json();
    assert_eq!(undrained["leads"], 3, "{undrained}");
    for broker in 1..=3 {
        assert_eq!(leads(&status(&bootstrap).expect("it is whole"), broker), Some(3));
    }
}

#[test]
fn a_broker_that_comes_back_empty_catches_up() {
    let mut cluster = Cluster::start(3);
    let bootstrap = cluster.bootstrap();
    ask(&bootstrap, "topic create t --partitions 3").ok();
    produce(&bootstrap, "t", RECORDS);
    cluster.kill(3);
    cluster.wipe(3);
    produce(&bootstrap, "t", 1);
    cluster.start_again(3);
    until_whole(&bootstrap, 3);
    // What it has copied it can serve: it alone is read from when the others lead nothing.
    for other in 1..=2 {
        ask(&bootstrap, &format!("cluster drain {other}")).ok();
    }
    let leads = &status(&bootstrap).expect("it is whole")["brokers"][2]["leads"];
    assert_eq!(*leads, 3, "partitions that the third broker leads");
    assert_eq!(consume(&bootstrap, "t").len(), RECORDS + 1);
}

/// What a leader sends from the middle of a batch is the batch whole, which begins below its log's start.
#[test]
fn a_replica_begins_in_the_middle_of_a_batch_whose_first_records_were_deleted() {
    const DELETED: usize = 777;
    let mut cluster = Cluster::start(3);
    let bootstrap = cluster.bootstrap();
    ask(&bootstrap, "topic create t --partitions 1").ok();
    produce(&bootstrap, "t", RECORDS);
    ask(&bootstrap, &format!("topic delete-records t --before {DELETED}")).ok();
    cluster.kill(3);
    cluster.wipe(3);
    cluster.start_again(3);
    until_whole(&bootstrap, 3);
    let files = std::fs::read_dir(cluster.node(3).data().join("t-0")).expect("its replica");
    let mut names = files.map(|file| file.expect("an entry").file_name().into_string().expect("text"));
    let first = names.find_map(|name| name.strip_suffix(".log")?.parse::<usize>().ok());
    assert!(first.is_some_and(|offset| offset < DELETED), "a batch that begins there: {first:?}");
    for other in 1..=2 {
        ask(&bootstrap, &format!("cluster drain {other}")).ok();
    }
    let leads = &status(&bootstrap).expect("it is whole")["brokers"][2]["leads"];
    assert_eq!(*leads, 1, "partitions that the third broker leads");
    assert_eq!(consume(&bootstrap, "t"), all(RECORDS)[DELETED..], "and nothing that was deleted");
}

#[test]
fn an_id_that_is_taken_is_refused_while_the_other_lives() {
    let mut cluster = Cluster::start(3);
    let bootstrap = cluster.bootstrap();
    let folder = tempfile::tempdir().expect("a directory");
    let second = Config::at(folder.path())
        .property("node.id", 2)
        .property("initial.broker.registration.timeout.ms", 2000)
        .property("process.roles", "broker")
        .property("controller.listener.names", "CONTROLLER")
        .property("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")
        .property("controller.quorum.bootstrap.servers", cluster.controllers());
    let mut child = second.spawn().expect("the program starts");
    let status = wait::poll(PATIENCE, || child.try_wait().expect("a child"));
    if status.is_none() {
        let _ = child.kill();
    }
    let log = std::fs::read_to_string(folder.path().join("broker.log")).unwrap_or_default();
    assert!(status.is_some_and(|status| !status.success()), "it should have ended: {log}");
    assert!(log.contains("was refused: DUPLICATE_BROKER_REGISTRATION (node.id=2)"), "{log}");
    assert!(cluster.node_mut(2).is_running());
    until_whole(&bootstrap, 3);
}

#[test]
fn a_node_of_another_cluster_is_refused_by_name() {
    let one = Setup::new(1).property("milena.cluster.id", "AAAAAAAAAAAAAAAAAAAAAA").start();
    let folder = tempfile::tempdir().expect("a directory");
    let stranger = Config::at(folder.path())
        .property("node.id", 9)
        .property("process.roles", "broker")
        .property("controller.listener.names", "CONTROLLER")
        .property("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")
        .property("controller.quorum.bootstrap.servers", one.controllers());
    std::fs::create_dir_all(stranger.data()).expect("made");
    let own =
        "version=1\ncluster.id=BBBBBBBBBBBBBBBBBBBBBA\nnode.id=9\ndirectory.id=CCCCCCCCCCCCCCCCCCCCCA\n";
    std::fs::write(stranger.data().join("meta.properties"), own).expect("written");
    let mut child = stranger.spawn().expect("the program starts");
    let status = wait::poll(PATIENCE, || child.try_wait().expect("a child"));
    if status.is_none() {
        let _ = child.kill();
    }
    let log = std::fs::read_to_string(folder.path().join("broker.log")).unwrap_or_default();
    assert!(status.is_some_and(|status| !status.success()), "it should have ended: {log}");
    for id in ["AAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBA"] {
        assert!(log.contains(id), "{id}: {log}");
    }
}

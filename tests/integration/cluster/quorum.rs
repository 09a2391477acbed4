//! The quorum as the console of each node shows it.

use std::collections::BTreeMap;

use milena_tests::cluster::Cluster;
use milena_tests::process::{Broker, Config};
use milena_tests::{http, wait};
use serde_json::Value;

use crate::nodes::PATIENCE;

/// What a node shows while the leader answers it.
fn shown(node: &Broker) -> Option<Value> {
    let (status, body) = http::get(node.http_port(), "/api/v1/quorum").ok()?;
    let quorum: Value = serde_json::from_str(&body).ok()?;
    (status == 200 && quorum["is_told_by_leader"] == true).then_some(quorum)
}

/// The directory ids of the voters.
pub fn directories(node: &Broker) -> Option<BTreeMap<i64, String>> {
    let quorum = shown(node)?;
    let voters = quorum["voters"].as_array()?.iter();
    voters
        .map(|voter| Some((voter["node_id"].as_i64()?, voter["directory_id"].as_str()?.to_owned())))
        .collect()
}

fn ids(replicas: &Value) -> Vec<i64> {
    let replicas = replicas.as_array().map(Vec::as_slice).unwrap_or_default();
    replicas.iter().filter_map(|replica| replica["node_id"].as_i64()).collect()
}

/// Waits until a node shows voters and observers that have everything.
fn until_all_are_there(node: &Broker, observers: &[i64]) -> Value {
    let mut last = None;
    let there = wait::poll(PATIENCE, || {
        let quorum = shown(node)?;
        let lack = |of: &str| quorum[of].as_array().is_none_or(|all| all.iter().any(|one| one["lag"] != 0));
        let has_all = !lack("voters") && !lack("observers") && ids(&quorum["observers"]) == observers;
        last = Some(quorum);
        has_all.then(|| last.clone()).flatten()
    });
    there.unwrap_or_else(|| panic!("observers should be {observers:?}: {last:#?}"))
}

#[test]
fn every_node_shows_the_quorum_as_its_leader_sees_it() {
    let mut cluster = Cluster::start(3);
    let folder = tempfile::tempdir().expect("a directory");
    let broker = Config::at(folder.path())
        .property("node.id", 4)
        .property("process.roles", "broker")
        .property("controller.listener.names", "CONTROLLER")
        .property("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")
        .property("controller.quorum.bootstrap.servers", cluster.controllers())
        .start()
        .expect("a broker starts");
    let leaders: Vec<_> = cluster
        .ids()
        .map(|id| until_all_are_there(cluster.node(id), &[id.into(), 4]))
        .chain([until_all_are_there(&broker, &[4])])
        .map(|quorum| {
            assert_eq!(ids(&quorum["voters"]), [1, 2, 3], "{quorum:#?}");
            let voters = quorum["voters"].as_array().expect("voters").iter();
            let leads = voters.filter(|voter| voter["is_leader"] == true).collect::<Vec<_>>();
            assert!(leads.len() == 1 && leads[0]["node_id"] == quorum["leader_id"], "{quorum:#?}");
            quorum["leader_id"].as_i64()
        })
        .collect();
    assert!(leaders.iter().all(|leader| *leader == leaders[0]), "{leaders:?}");
    // Without a majority nobody leads, and nobody pretends to know.
    let left = [1, 2, 3].into_iter().find(|id| Some(i64::from(*id)) != leaders[0]).expect("two follow");
    for id in cluster.ids().filter(|id| *id != left) {
        cluster.kill(id);
    }
    let unknown = wait::poll(PATIENCE, || {
        let (_, body) = http::get(cluster.node(left).http_port(), "/api/v1/quorum").ok()?;
        let quorum: Value = serde_json::from_str(&body).ok()?;
        (quorum["is_told_by_leader"] == false).then_some(quorum)
    });
    let unknown = unknown.expect("the leader is gone");
    for voter in unknown["voters"].as_array().expect("it knows who votes") {
        let is_itself = voter["node_id"] == left;
        assert!(voter["lag"].is_null() && voter["log_end_offset"].is_null() != is_itself, "{unknown:#?}");
    }
}

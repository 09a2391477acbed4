//! Brokers that lose their registration while they live: taken for gone, or followed by another process with their id.

use std::collections::BTreeSet;

use milena_client::cluster::Cluster as Client;
use milena_client::config::ClientConfig;
use milena_protocol::ErrorCode;
use milena_protocol::messages::UnregisterBrokerRequest;
use milena_tests::cluster::{Cluster, Setup};
use milena_tests::process::{Broker, Config};
use milena_tests::wait;

use crate::nodes::{PATIENCE, ask, produce, status, until_whole};

/// The one that is taken for gone.
const VICTIM: i32 = 3;

/// Three nodes of which one that hangs is soon taken for gone, with a topic.
fn start() -> Cluster {
    let cluster = Setup::new(3)
        .property("broker.session.timeout.ms", 2000)
        .property("broker.heartbeat.interval.ms", 500)
        .property("initial.broker.registration.timeout.ms", 3000)
        .start();
    ask(&cluster.bootstrap(), "topic create t --partitions 3").ok();
    produce(&cluster.bootstrap(), "t", 500);
    cluster
}

/// Addresses of those that are not held still.
fn others(cluster: &Cluster) -> String {
    let others = cluster.ids().filter(|id| *id != VICTIM);
    others.map(|id| cluster.node(id).bootstrap()).collect::<Vec<_>>().join(",")
}

/// Holds the victim still until it is fenced.
fn pause(cluster: &Cluster) {
    cluster.pause(VICTIM);
    let others = others(cluster);
    let fenced = wait::poll(PATIENCE, || {
        let status = status(&others)?;
        let brokers = status["brokers"].as_array()?;
        brokers.iter().any(|broker| broker["id"] == VICTIM && broker["state"] == "fenced").then_some(())
    });
    assert!(fenced.is_some(), "{:#?}", status(&others));
}

fn unregister(bootstrap: &str, broker_id: i32) -> ErrorCode {
    let bootstrap_servers = bootstrap.split(',').map(str::to_owned).collect();
    let config = ClientConfig { bootstrap_servers, ..ClientConfig::default() };
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let request = UnregisterBrokerRequest { broker_id };
        let response = Client::new(config).call_any(&request).await.expect("an answer");
        let response = response.decode::<UnregisterBrokerRequest>().expect("a response");
        ErrorCode::from_i16(response.error_code).expect("a known error")
    })
}

/// Lines that `node` has logged with this text.
fn logged(node: &Broker, text: &str) -> usize {
    node.output().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_broker_that_was_unregistered_while_it_hung_comes_back_into_every_isr() {
    let cluster = start();
    assert_eq!(unregister(&cluster.bootstrap(), VICTIM), ErrorCode::InvalidRequest, "it lives");
    pause(&cluster);
    let others = others(&cluster);
    assert_eq!(unregister(&others, VICTIM), ErrorCode::None);
    assert_eq!(unregister(&others, VICTIM), ErrorCode::BrokerIdNotRegistered);
    produce(&others, "t", 500);
    cluster.resume(VICTIM);
    until_whole(&cluster.bootstrap(), 3);
    let node = cluster.node(VICTIM);
    assert_eq!(logged(node, "this broker is registered again"), 1, "{}", node.output());
    // It leads, and what it leads has everything.
    for other in cluster.ids().filter(|id| *id != VICTIM) {
        ask(&cluster.bootstrap(), &format!("cluster drain {other}")).ok();
    }
    let led = status(&cluster.bootstrap()).expect("it is whole");
    assert_eq!(led["brokers"][2]["leads"], 3, "{led}");
    let read = ask(&cluster.bootstrap(), "consume t").ok();
    let numbers: BTreeSet<&str> = read.lines().collect();
    assert_eq!((read.lines().count(), numbers.len()), (1000, 500), "each number twice");
}

#[test]
fn a_broker_whose_id_another_process_has_taken_ends_and_says_so() {
    let mut cluster = start();
    pause(&cluster);
    let folder = tempfile::tempdir().expect("a directory");
    let mut second = Config::at(folder.path())
        .property("node.id", VICTIM)
        .property("process.roles", "broker")
        .property("controller.listener.names", "CONTROLLER")
        .property("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")
        .property("controller.quorum.bootstrap.servers", cluster.controllers())
        .property("broker.heartbeat.interval.ms", 500)
        .start()
        .expect("its id is free");
    cluster.resume(VICTIM);
    let first = cluster.node_mut(VICTIM);
    let ended = wait::poll(PATIENCE, || first.ended());
    let output = first.output();
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "{output}");
    let why = "milena-broker: this broker has lost its registration, and a new one was refused: \
               DUPLICATE_BROKER_REGISTRATION (node.id=3)";
    assert!(output.contains(why), "{output}");
    // Who has the id keeps it, and copies what the other one had.
    assert!(second.is_running());
    until_whole(&format!("{},{}", others(&cluster), second.bootstrap()), 3);
    assert_eq!(logged(&second, "not in force any more"), 0, "{}", second.output());
    second.stop().expect("it stops");
}

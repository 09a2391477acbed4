//! Links between nodes are cut, both ways and one way, and become slow; clients reach every node all the time.

use std::time::{Duration, Instant};

use milena_tests::cluster::Setup;
use milena_tests::network::Network;

use crate::KILL_LIMIT;
use crate::scene::Scene;

/// A node that is cut off is noticed when its session ends, after 9 s, and by a client that can reach it and waits for its
/// answer at the next of its own timeouts, every 5 s; it may then ask for metadata in vain once.
const CUT_LIMIT: Duration = Duration::from_secs(30);
/// Less than Apache Kafka's 30 s, so that a test need not wait for them.
const LAG_TIME_MAX: Duration = Duration::from_secs(5);
/// What each piece takes over a slow link: two continents.
const FAR: Duration = Duration::from_millis(150);

/// A cluster on a network, under load that goes on.
fn start() -> (Network, Scene) {
    let network = Network::default();
    // Whoever cannot copy is waited for so long.
    let setup = Setup::new(3).on(&network).property("replica.lag.time.max.ms", LAG_TIME_MAX.as_millis());
    let scene = Scene::start_with(setup);
    scene.progress(300, KILL_LIMIT);
    (network, scene)
}

/// Cuts what the others send to `node`.
fn deafen(network: &Network, scene: &Scene, node: i32) {
    scene.cluster.ids().filter(|id| *id != node).for_each(|other| network.cut(other, node));
}

/// Cuts what `node` sends to the others.
fn silence(network: &Network, scene: &Scene, node: i32) {
    scene.cluster.ids().filter(|id| *id != node).for_each(|other| network.cut(node, other));
}

fn active_controller(scene: &Scene) -> i32 {
    scene.runtime.block_on(scene.admin.describe_quorum()).expect("it has a leader").leader_id
}

/// The cluster goes on without `node`, and with it once the network is whole.
fn goes_on(network: &Network, scene: Scene, what: &str, began: Instant) {
    scene.progress(600, CUT_LIMIT);
    network.heal();
    scene.until_whole();
    scene.progress(300, KILL_LIMIT);
    scene.finish(&[(what, began)], CUT_LIMIT);
}

#[test]
fn a_node_that_is_cut_off_costs_nothing() {
    let (network, scene) = start();
    let node = active_controller(&scene);
    let began = Instant::now();
    silence(&network, &scene, node);
    deafen(&network, &scene, node);
    goes_on(&network, scene, "the active controller is cut off from the others", began);
}

#[test]
fn a_node_that_hears_nobody_costs_nothing() {
    let (network, scene) = start();
    let node = active_controller(&scene);
    let began = Instant::now();
    deafen(&network, &scene, node);
    goes_on(&network, scene, "the active controller hears nobody", began);
}

#[test]
fn a_node_that_nobody_hears_costs_nothing() {
    let (network, scene) = start();
    let node = scene.leader_of(0);
    let began = Instant::now();
    silence(&network, &scene, node);
    goes_on(&network, scene, "nobody hears a leader", began);
}

#[test]
fn two_nodes_that_do_not_hear_each_other_cost_nothing() {
    let (network, scene) = start();
    let (one, other) = (scene.leader_of(0), scene.leader_of(1));
    let began = Instant::now();
    network.cut(one, other);
    network.cut(other, one);
    goes_on(&network, scene, "two leaders do not hear each other", began);
}

#[test]
fn a_node_that_is_far_away_costs_no_records() {
    let (network, scene) = start();
    let node = scene.leader_of(0);
    let began = Instant::now();
    for other in scene.cluster.ids().filter(|id| *id != node) {
        network.slow(node, other, FAR);
        network.slow(other, node, FAR);
    }
    goes_on(&network, scene, "a leader is far away", began);
}

#[test]
fn a_link_that_comes_and_goes_costs_nothing() {
    let (network, scene) = start();
    let (one, other) = (scene.leader_of(0), scene.leader_of(1));
    let began = Instant::now();
    for _ in 0..3 {
        network.cut(one, other);
        scene.progress(50, CUT_LIMIT);
        network.heal();
        scene.progress(50, CUT_LIMIT);
    }
    goes_on(&network, scene, "a link comes and goes", began);
}

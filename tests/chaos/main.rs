//! Three real nodes under load, of which some die, hang or leave: nothing that was acknowledged is lost, nothing is there
//! twice, and nobody waits for longer than it takes to notice.
//!
//! `MILENA_CHAOS_ROUNDS=100 cargo test --release -p milena-tests --features librdkafka --test chaos again -- --nocapture` is
//! the long run; it prints how long producers waited. `MILENA_CHAOS_KEEP=DIR` keeps the output of the nodes there.

mod controller;
mod disk;
mod groups;
mod load;
mod network;
mod rdkafka;
mod rolling;
mod scene;

use std::time::{Duration, Instant};

use scene::Scene;

/// Time in which the cluster must go on after a node has gone, on a machine that has other things to do as well. What is
/// usual is printed, and stands in docs/cluster.md.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// A node that hangs is noticed when its session ends.
const PAUSE_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_leader_that_is_killed_costs_nothing() {
    let mut scene = Scene::start(3);
    let victim = scene.leader_of(0);
    scene.progress(300, KILL_LIMIT);
    let began = Instant::now();
    scene.cluster.kill(victim);
    scene.progress(600, KILL_LIMIT);
    scene.cluster.start_again(victim);
    scene.until_whole();
    scene.progress(300, KILL_LIMIT);
    scene.finish(&[("kill -9 of a leader", began)], KILL_LIMIT);
}

/// A leader hangs, believes that it leads until it hears otherwise, and comes back.
fn hangs(what: &str, meanwhile: impl FnOnce(&Scene, i32)) {
    let scene = Scene::start(3);
    let victim = scene.leader_of(0);
    scene.progress(300, KILL_LIMIT);
    let began = Instant::now();
    scene.cluster.pause(victim);
    scene.progress(600, PAUSE_LIMIT);
    meanwhile(&scene, victim);
    scene.cluster.resume(victim);
    scene.until_whole();
    scene.progress(300, KILL_LIMIT);
    scene.finish(&[(what, began)], PAUSE_LIMIT);
}

#[test]
fn a_leader_that_hangs_costs_nothing() {
    hangs("SIGSTOP of a leader", |_, _| {});
}

#[test]
fn a_leader_that_hangs_and_is_taken_for_gone_costs_nothing() {
    hangs("SIGSTOP and UnregisterBroker of a leader", |scene, victim| {
        // It hears that it is nobody and registers again.
        scene.unregister(victim, PAUSE_LIMIT);
        scene.progress(300, KILL_LIMIT);
    });
}

#[test]
fn a_leader_that_stops_in_order_costs_nothing() {
    let mut scene = Scene::start(3);
    let victim = scene.leader_of(0);
    scene.progress(300, KILL_LIMIT);
    let began = Instant::now();
    scene.cluster.stop(victim);
    scene.progress(600, KILL_LIMIT);
    scene.cluster.start_again(victim);
    scene.until_whole();
    scene.progress(300, KILL_LIMIT);
    scene.finish(&[("SIGTERM of a leader", began)], KILL_LIMIT);
}

#[test]
fn one_node_after_the_other_is_killed_again_and_again() {
    let rounds = std::env::var("MILENA_CHAOS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut scene = Scene::start(3).with_group(2);
    scene.group_progress(100, KILL_LIMIT);
    let mut kills = Vec::new();
    for round in 0..rounds {
        let victim = scene.leader_of(round % scene::PARTITIONS);
        kills.push(("kill -9", Instant::now()));
        scene.cluster.kill(victim);
        scene.progress(300, KILL_LIMIT);
        scene.group_progress(300, KILL_LIMIT);
        scene.cluster.start_again(victim);
        scene.until_whole();
        scene.progress(100, KILL_LIMIT);
    }
    scene.finish(&kills, KILL_LIMIT);
}

//! The disk of one node fails or is full, metadata and all: the others go on.

use std::time::Instant;

use milena_tests::cluster::Setup;
use milena_tests::disk::{Filler, Injector, may};

use crate::scene::Scene;
use crate::{KILL_LIMIT, PAUSE_LIMIT};

/// Enough for everything but a filler.
const DISK_MEGABYTES: u32 = 256;

/// The node whose disk costs most: it leads the quorum, and partitions.
fn active_controller(scene: &Scene) -> i32 {
    scene.runtime.block_on(scene.admin.describe_quorum()).expect("it has a leader").leader_id
}

/// The cluster goes on without the node, and with it once its disk is good again.
fn goes_on<Fault>(mut scene: Scene, victim: i32, fault: Fault, what: &str, began: Instant) {
    scene.progress(600, PAUSE_LIMIT);
    assert!(scene.cluster.node_mut(victim).is_running(), "a bad disk ends no process");
    drop(fault);
    scene.cluster.kill(victim);
    scene.cluster.start_again(victim);
    scene.until_whole();
    scene.progress(300, KILL_LIMIT);
    scene.finish(&[(what, began)], PAUSE_LIMIT);
}

#[test]
fn a_disk_that_is_full_costs_nothing() {
    if !may("a small disk", "mount") {
        return;
    }
    let scene = Scene::start_with(Setup::new(3).disks(DISK_MEGABYTES));
    scene.progress(300, KILL_LIMIT);
    let victim = active_controller(&scene);
    let began = Instant::now();
    let filler = Filler::fill(&scene.cluster.node(victim).data());
    goes_on(scene, victim, filler, "the disk of the active controller is full", began);
}

#[test]
fn a_disk_whose_syncs_fail_costs_nothing() {
    if !may("failing syncs", "strace") {
        return;
    }
    let scene = Scene::start_with(Setup::new(3).property("milena.flush", "durable"));
    scene.progress(300, KILL_LIMIT);
    let victim = active_controller(&scene);
    let began = Instant::now();
    let injector = Injector::attach(scene.cluster.node(victim).pid(), "fdatasync,fsync", &[]);
    goes_on(scene, victim, injector, "syncs of the active controller fail", began);
}

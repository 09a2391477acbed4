//! How fast replicas move between the directories of a broker.

use std::path::Path;

use super::Effect;
use super::scene::{Scene, eventually};
use crate::log_dirs::alter;
use crate::node::batch;

/// What was copied is forgotten after four seconds, so that the next move begins soon.
const TWO: &[(&str, &str)] = &[
    ("log.dirs", "/data,/more"),
    ("metadata.log.dir", "/meta"),
    ("alter.log.dirs.replication.quota.window.num", "4"),
];
const NO_LIMIT: &str = "9223372036854775807";
/// A step copies one of them and a part of another.
const VALUE_BYTES: usize = 700_000;
/// How often a move that is held is seen not to get on.
const LOOKS: usize = 5;

#[rustfmt::skip]
pub const EFFECTS: &[Effect] = &[
    Effect { topic: None, broker: Some("replica.alter.log.dirs.io.max.bytes.per.second"), values: ("1", NO_LIMIT), with: &[],
        shows: |scene, topic, acts| if acts { begins_and_waits(scene, topic) } else { moves(scene, topic) } },
];

#[test]
fn replicas_move_as_fast_as_is_said_now() {
    Scene::start(TWO).check(EFFECTS);
}

/// The directory where the replica is not, after there is something to copy.
fn target(scene: &Scene, topic: &str) -> &'static str {
    let partition = scene.node.partition(topic);
    while partition.log_end_offset().get() < 3 {
        scene.node.produce(topic, &batch(&[&"x".repeat(VALUE_BYTES)]));
    }
    if partition.directory().path() == Path::new("/data") { "/more" } else { "/data" }
}

fn moves(scene: &Scene, topic: &str) {
    let target = target(scene, topic);
    alter(&scene.node, topic, target);
    eventually("the replica has moved", || {
        scene.node.partition(topic).directory().path() == Path::new(target)
    });
}

fn begins_and_waits(scene: &Scene, topic: &str) {
    let target = target(scene, topic);
    alter(&scene.node, topic, target);
    let partition = scene.node.partition(topic);
    let future = partition.future_replica().expect("it moves");
    eventually("the copy has begun", || future.log_end_offset() > 0);
    for _ in 0..LOOKS {
        scene.node.metrics();
        assert!(future.log_end_offset() < 3, "nothing holds it");
    }
    let home = partition.directory().path().to_string_lossy().into_owned();
    alter(&scene.node, topic, &home);
    assert!(partition.future_replica().is_none());
}

//! When records are on the disk, seen by what a power loss would leave.

use super::Effect;
use super::scene::{PATIENCE, Scene, comes_true, eventually};
use crate::node::now_ms;

const NEVER: &str = "9223372036854775807";

#[rustfmt::skip]
pub const EFFECTS: &[Effect] = &[
    Effect { topic: Some("flush.messages"), broker: Some("log.flush.interval.messages"), values: ("1", NEVER), with: &[],
        shows: |scene, topic, acts| synced_when_answered(scene, topic, acts) },
    Effect { topic: Some("flush.ms"), broker: Some("log.flush.interval.ms"), values: ("1000", NEVER), with: &[],
        shows: synced_after_two_seconds },
    // A property of ours; a broker has it in its file only.
    Effect { topic: Some("milena.flush"), broker: None, values: ("durable", "page-cache"), with: &[],
        shows: |scene, topic, acts| synced_when_answered(scene, topic, acts) },
];

#[test]
fn records_are_on_the_disk_by_values_of_now() {
    Scene::start(&[]).check(EFFECTS);
}

fn synced_when_answered(scene: &Scene, topic: &str, acts: bool) {
    let written = || {
        scene.write_now(topic);
        scene.is_on_disk(topic)
    };
    if acts {
        assert!(written() && written());
    } else {
        // A sync of before may come in between, and takes along what has been written.
        assert!(comes_true(|| !written(), PATIENCE), "each record is synced");
    }
}

/// The directory's flusher goes through its requests in their order: what another topic asked for later is waited for.
fn synced_after_two_seconds(scene: &Scene, topic: &str, acts: bool) {
    let other = scene.create(&[("flush.ms", "1000")]);
    let synced = || {
        for topic in [topic, &other] {
            scene.write_now(topic);
            scene.node.partition(topic).maintain(now_ms() + 2_000);
        }
        eventually("the other is synced", || scene.is_on_disk(&other));
        scene.is_on_disk(topic)
    };
    if acts {
        eventually("it is synced", synced);
    } else {
        assert!(comes_true(|| !synced(), PATIENCE), "each record is synced");
    }
}

//! What a topic says to the log cleaner, seen by how far its log is compacted.

use std::path::Path;

use milena_protocol::records::{Batches, Builder};

use super::Effect;
use super::scene::{Scene, eventually};
use crate::node::now_ms;

/// Each append is on the disk, so that a checkpoint can vouch for it: what is not vouched for is not compacted.
pub const COMPACTED: (&str, &str) = ("cleanup.policy", "compact");
pub const SYNCED: (&str, &str) = ("flush.messages", "1");
pub const ALWAYS_DIRTY: (&str, &str) = ("min.cleanable.dirty.ratio", "0");
const NEVER_DIRTY: (&str, &str) = ("min.cleanable.dirty.ratio", "1");
const FOR_EVER: &str = "9223372036854775807";

#[rustfmt::skip]
pub const EFFECTS: &[Effect] = &[
    Effect { topic: Some("min.cleanable.dirty.ratio"), broker: Some("log.cleaner.min.cleanable.ratio"), values: ("0", "0.5"),
        with: &[COMPACTED, SYNCED], shows: compacted_though_hardly_dirty },
    // The records are years old, and nearly thirty years younger than they would have to be.
    Effect { topic: Some("min.compaction.lag.ms"), broker: Some("log.cleaner.min.compaction.lag.ms"),
        values: ("900000000000", "0"), with: &[COMPACTED, SYNCED, ALWAYS_DIRTY],
        shows: |scene, topic, acts| { let upto = filled(scene, topic); compacts(scene, topic, upto, !acts); } },
    Effect { topic: Some("max.compaction.lag.ms"), broker: Some("log.cleaner.max.compaction.lag.ms"),
        values: ("1000", FOR_EVER), with: &[COMPACTED, SYNCED, NEVER_DIRTY],
        shows: |scene, topic, acts| { let upto = filled(scene, topic); compacts(scene, topic, upto, acts); } },
    Effect { topic: Some("delete.retention.ms"), broker: Some("log.cleaner.delete.retention.ms"), values: ("0", "86400000"),
        with: &[COMPACTED, SYNCED, ALWAYS_DIRTY], shows: forgets_tombstones },
];

#[test]
fn logs_are_compacted_by_values_of_now() {
    Scene::start(&[("log.cleaner.backoff.ms", "1")]).check(EFFECTS);
}

/// How far the log is compacted, as its directory notes it.
pub fn compacted_upto(scene: &Scene, topic: &str) -> i64 {
    let path = Path::new("/data/cleaner-offset-checkpoint");
    if !scene.files.paths_below(Path::new("/data")).iter().any(|found| found == path) {
        return 0;
    }
    let text = String::from_utf8(scene.files.contents(path)).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{topic} 0 ")));
    line.map_or(0, |offset| offset.parse().expect("an offset"))
}

/// Closes a segment, so that everything so far may be compacted; gives where that ends.
pub fn seal(scene: &Scene, topic: &str) -> i64 {
    let upto = scene.roll(topic);
    scene.node.partition(topic).directory().checkpoint().expect("a disk");
    upto
}

/// A segment with so many keys, which may be compacted.
pub fn keyed(scene: &Scene, topic: &str, keys: usize, value: &[u8]) -> i64 {
    let mut builder = Builder::new();
    for key in 0..keys {
        builder
            .append(scene.time_ms(), Some(format!("key {key}").as_bytes()), Some(value), &[])
            .expect("room");
    }
    scene.node.produce(topic, &builder.finish().expect("a batch"));
    seal(scene, topic)
}

fn filled(scene: &Scene, topic: &str) -> i64 {
    keyed(scene, topic, 3, b"value")
}

/// Waits for looks at all logs that began after now; the pass that the first one may begin has ended when there is
/// another.
pub fn looks(scene: &Scene, count: usize) {
    for _ in 0..count {
        let now_ms = now_ms() as f64;
        let looked_ms = || scene.node.metric("milena_cleaner_last_run_time_seconds", "") * 1e3;
        eventually("a look", || looked_ms() > now_ms + 0.5);
    }
}

pub fn compacts(scene: &Scene, topic: &str, upto: i64, expected: bool) {
    if expected {
        eventually("it is compacted", || compacted_upto(scene, topic) >= upto);
    } else {
        looks(scene, 2);
        assert!(compacted_upto(scene, topic) < upto, "it is left as it is");
    }
}

/// Behind a large record that is compacted already a small one makes no log half dirty.
fn compacted_though_hardly_dirty(scene: &Scene, topic: &str, acts: bool) {
    if compacted_upto(scene, topic) == 0 {
        scene.write(topic, scene.time_ms(), Some("large"), Some(&[b'x'; 200_000]));
        let upto = seal(scene, topic);
        compacts(scene, topic, upto, true);
    }
    let upto = filled(scene, topic);
    compacts(scene, topic, upto, acts);
}

/// A tombstone goes with the pass after the one that met it, or stays for a day.
fn forgets_tombstones(scene: &Scene, topic: &str, acts: bool) {
    scene.write(topic, scene.time_ms(), Some("key"), Some(b"value"));
    let tombstone = scene.write(topic, scene.time_ms(), Some("key"), None);
    let upto = seal(scene, topic);
    compacts(scene, topic, upto, true);
    let another_pass = || {
        let upto = filled(scene, topic);
        compacts(scene, topic, upto, true);
        !has_record(scene, topic, tombstone)
    };
    if acts {
        eventually("the tombstone goes", another_pass);
    } else {
        assert!(!another_pass() && !another_pass(), "the tombstone stays");
    }
}

fn has_record(scene: &Scene, topic: &str, offset: i64) -> bool {
    let bytes = scene.node.fetch(topic, offset).1;
    let batches = Batches::new(&bytes).map(|batch| batch.expect("a batch"));
    let mut offsets = batches.flat_map(|batch| {
        let records = batch.records().expect("not compressed").map(|record| record.expect("a record"));
        records.map(|record| batch.offset_of(&record)).collect::<Vec<_>>()
    });
    offsets.any(|found| found == offset)
}

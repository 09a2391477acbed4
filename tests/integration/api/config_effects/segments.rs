//! When a log begins a segment, how it is indexed, and when old ones go.

use std::os::unix::fs::MetadataExt;

use super::Effect;
use super::scene::{Scene, eventually};
use crate::node::now_ms;

const WEEK_MS: i64 = 604_800_000;
const NEVER_OLD: (&str, &str) = ("retention.ms", "-1");

#[rustfmt::skip]
pub const EFFECTS: &[Effect] = &[
    Effect { topic: Some("segment.bytes"), broker: Some("log.segment.bytes"), values: ("1048576", "1073741824"), with: &[],
        shows: |scene, topic, acts| {
            let half = vec![b'x'; 600 << 10];
            begins_a_segment(scene, topic, acts, |time_ms| {
                (0..2).for_each(|_| { scene.write(topic, time_ms, None, Some(&half)); });
            });
        } },
    Effect { topic: Some("segment.ms"), broker: Some("log.roll.ms"), values: ("1000", "604800000"), with: &[],
        shows: |scene, topic, acts| begins_a_segment(scene, topic, acts, |time_ms| {
            scene.write(topic, time_ms + 10_000, None, Some(b"later"));
        }) },
    Effect { topic: Some("segment.jitter.ms"), broker: Some("log.roll.jitter.ms"), values: ("604800000", "0"), with: &[],
        // All but certain for each segment, and the same in every run.
        shows: |scene, topic, acts| begins_a_segment(scene, topic, acts, |time_ms| {
            scene.write(topic, time_ms + WEEK_MS - 100_000, None, Some(b"nearly a week later"));
        }) },
    Effect { topic: Some("segment.index.bytes"), broker: Some("log.index.size.max.bytes"), values: ("16", "10485760"),
        with: &[],
        shows: |scene, topic, acts| begins_a_segment(scene, topic, acts, |time_ms| {
            (0..5).for_each(|_| { scene.write(topic, time_ms, None, Some(&[b'x'; 5_000])); });
        }) },
    Effect { topic: Some("index.interval.bytes"), broker: Some("log.index.interval.bytes"), values: ("1", "4096"),
        with: &[], shows: indexed },
    Effect { topic: Some("retention.ms"), broker: Some("log.retention.ms"), values: ("1000", "604800000"), with: &[],
        shows: |scene, topic, acts| {
            scene.write(topic, now_ms() - 10_000, None, Some(b"old"));
            begins_later(scene, topic, acts);
        } },
    Effect { topic: Some("retention.bytes"), broker: Some("log.retention.bytes"), values: ("1", "-1"), with: &[NEVER_OLD],
        shows: |scene, topic, acts| {
            scene.roll(topic);
            begins_later(scene, topic, acts);
        } },
    Effect { topic: Some("file.delete.delay.ms"), broker: Some("log.segment.delete.delay.ms"), values: ("1", "60000"),
        with: &[NEVER_OLD, ("retention.bytes", "1")], shows: removed },
];

/// Only a real disk has blocks.
#[rustfmt::skip]
pub const ON_DISK: &[Effect] = &[
    Effect { topic: Some("preallocate"), broker: Some("log.preallocate"), values: ("true", "false"),
        with: &[("segment.bytes", "4194304")], shows: reserved },
];

#[test]
fn segments_begin_and_go_by_values_of_now() {
    Scene::start(&[]).check(EFFECTS);
}

#[test]
fn space_is_reserved_by_values_of_now() {
    Scene::start_on_disk(&[]).check(ON_DISK);
}

fn begins_a_segment(scene: &Scene, topic: &str, acts: bool, write: impl FnOnce(i64)) {
    scene.roll(topic);
    let before = scene.segments(topic);
    write(scene.time_ms());
    assert_eq!(scene.segments(topic) > before, acts);
}

/// Ten small batches have an entry each in their segment's index, or one for all of them at most.
fn indexed(scene: &Scene, topic: &str, acts: bool) {
    let base_offset = scene.roll(topic);
    (0..10).for_each(|_| {
        scene.write(topic, scene.time_ms(), None, Some(b"small"));
    });
    scene.roll(topic);
    let entries = scene.file(topic, base_offset, ".index").len() / 8;
    assert_eq!(entries > 5, acts, "{entries} entries");
}

fn begins_later(scene: &Scene, topic: &str, acts: bool) {
    let partition = scene.node.partition(topic);
    let before = partition.log_start_offset();
    partition.delete_old_segments(now_ms());
    assert_eq!(partition.log_start_offset() > before, acts);
}

/// Half a minute after a segment was deleted its files are gone, or still there. Files go when the names are synced: so
/// a topic whose files go at once is waited for.
fn removed(scene: &Scene, topic: &str, acts: bool) {
    let small = [NEVER_OLD, ("retention.bytes", "1"), ("file.delete.delay.ms", "1")];
    let other = scene.create(&small);
    let now_ms = now_ms();
    for topic in [topic, &other] {
        scene.roll(topic);
        scene.roll(topic);
        assert!(scene.node.partition(topic).delete_old_segments(now_ms));
    }
    let waiting = |topic: &str, later_ms: i64| {
        let partition = scene.node.partition(topic);
        partition.directory().checkpoint().expect("a disk");
        partition.maintain(now_ms + later_ms);
        !scene.paths(topic, ".deleted").is_empty()
    };
    eventually("the other's files go", || {
        waiting(topic, 30_000);
        !waiting(&other, 30_000)
    });
    if acts {
        eventually("the files go at once", || !waiting(topic, 30_000));
    } else {
        assert!(waiting(topic, 30_000), "the files stay for a minute");
        eventually("the files go after a minute", || !waiting(topic, 100_000));
    }
}

/// A segment that has begun has all its blocks, or some more than it holds.
fn reserved(scene: &Scene, topic: &str, acts: bool) {
    let base_offset = scene.roll(topic);
    let path = scene.node.directory().join(format!("{topic}-0/{base_offset:020}.log"));
    let file = std::fs::metadata(path).expect("the active segment");
    assert!(file.len() < 1 << 20, "its size is what it holds");
    assert_eq!(file.blocks() * 512 >= 4 << 20, acts, "{} blocks", file.blocks());
}

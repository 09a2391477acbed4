//! The log cleaner of a node: when it compacts, what it leaves alone, how it ends.

use milena_log::Log;
use milena_log::memory_files::{Fault, MemoryFiles, Operation};
use milena_state::metadata::topics::{DeleteTopics, TopicRef};

use super::cleaner_scene::{DAY_MS, Scene};
use super::test_node::{Node, eventually};
use super::*;
use crate::metrics::cleaning::Outcome;
use crate::partition::upkeep;

/// Segments of one record each, with keys that nothing else has.
fn fill(scene: &Scene, topic: &str, keys: std::ops::Range<i32>) {
    for key in keys {
        scene.append(topic, &[(&format!("key {key:06}"), Some("the same length"))]);
        let partition = scene.node.partition(topic);
        partition.with_log(|log| log.roll(0)).expect("a disk");
    }
    scene.seal(topic);
}

#[test]
fn log_that_is_dirty_enough_is_compacted_unasked_and_one_that_is_not_is_left() {
    let scene = Scene::start(&[]);
    scene.create("t", &[]);
    fill(&scene, "t", 0..6);
    scene.done(1);
    fill(&scene, "t", 6..10);
    let look = scene.look();
    assert!((look.dirty_ratio_max - 0.4).abs() < 0.01, "{look:?}");
    scene.look();
    assert_eq!(scene.passes(Outcome::Done), 1);
    fill(&scene, "t", 10..15);
    scene.done(2);
    assert!(scene.look().dirty_ratio_max < 0.01);
    assert_eq!(scene.offsets("t"), (0..15).collect::<Vec<_>>());
    scene.stop();
}

#[test]
fn last_record_of_each_key_stays_where_it_was_also_after_a_restart() {
    let scene = Scene::start(&[]);
    scene.create("t", &[]);
    scene.append("t", &[("a", Some("1")), ("b", Some("1"))]);
    scene.append("t", &[("c", Some("1"))]);
    scene.segment("t", &[("a", Some("2")), ("b", None)]);
    scene.append("t", &[("c", Some("2"))]);
    scene.done(1);
    let seen = scene.seen("t");
    let offsets: Vec<_> = seen.iter().map(|seen| seen.offset).collect();
    assert_eq!(offsets, [2, 3, 4, 5], "the head is not compacted, and its last records do not count yet");
    assert_eq!(scene.node.partition("t").extent().expect("open").log_end_offset, 6);
    let scene = scene.restart();
    assert_eq!(scene.seen("t"), seen);
    scene.stop();
}

#[test]
fn tombstone_is_seen_before_its_horizon_and_gone_after_it() {
    let scene = Scene::start(&[("log.cleaner.min.cleanable.ratio", "0")]);
    scene.create("t", &[("min.cleanable.dirty.ratio", "0")]);
    scene.segment("t", &[("k", Some("1"))]);
    scene.segment("t", &[("k", None)]);
    // What is left of the two, with or without what came between.
    eventually("a pass over both", || scene.offsets("t") == [1]);
    // The one cleaner looks again when it has counted the pass.
    scene.look();
    let passes = scene.passes(Outcome::Done);
    scene.advance_ms(DAY_MS - 60_000);
    scene.segment("t", &[("other", Some("1"))]);
    scene.done(passes + 1);
    assert_eq!(scene.offsets("t"), [1, 2], "a day has not passed since the first pass that met it");
    scene.advance_ms(120_000);
    scene.segment("t", &[("other", Some("2"))]);
    scene.done(passes + 2);
    assert_eq!(scene.offsets("t"), [3]);
    scene.stop();
}

#[test]
fn topic_settings_act_on_the_cleaner_at_once() {
    let scene = Scene::start(&[]);
    scene.create("t", &[("min.cleanable.dirty.ratio", "1")]);
    fill(&scene, "t", 0..3);
    assert!(scene.look().dirty_ratio_max > 0.99);
    assert_eq!(scene.passes(Outcome::Done), 0);
    scene.node.set_topic("t", "min.cleanable.dirty.ratio", "0.5");
    scene.done(1);

    // Timestamps are those of the scene's beginning.
    scene.node.set_topic("t", "min.compaction.lag.ms", "3600000");
    fill(&scene, "t", 3..9);
    scene.look();
    assert_eq!(scene.passes(Outcome::Done), 1);
    scene.advance_ms(3_600_000);
    scene.done(2);

    scene.node.set_topic("t", "min.cleanable.dirty.ratio", "1");
    scene.node.set_topic("t", "max.compaction.lag.ms", "7200000");
    fill(&scene, "t", 9..10);
    scene.look();
    assert_eq!(scene.passes(Outcome::Done), 2);
    scene.advance_ms(3_600_000);
    scene.done(3);

    scene.node.set_topic("t", "cleanup.policy", "delete");
    scene.append("t", &[("key 000001", Some("2"))]);
    fill(&scene, "t", 10..30);
    eventually("no topic is compacted", || {
        scene.node.lifecycle.partitions().compacted_partitions().is_empty()
    });
    assert_eq!(scene.passes(Outcome::Done), 3);
    scene.stop();
}

#[test]
fn policy_with_both_compacts_and_deletes_and_without_any_keeps_everything() {
    let scene = Scene::start(&[]);
    scene.create("both", &[("cleanup.policy", "compact,delete"), ("retention.ms", "1000")]);
    scene.create("none", &[("cleanup.policy", ""), ("retention.ms", "1000"), ("retention.bytes", "1")]);
    for topic in ["both", "none"] {
        fill(&scene, topic, 0..4);
        scene.segment(topic, &[("key 000001", Some("again"))]);
    }
    eventually("the older record of the key goes", || scene.offsets("both") == [0, 2, 3, 4]);
    // The records are years old by the clock that retention goes by.
    let retain = || {
        upkeep::delete_old_segments(scene.node.lifecycle.partitions(), scene.node.lifecycle.directories());
    };
    eventually("old segments go", || {
        retain();
        scene.offsets("both").is_empty()
    });
    retain();
    assert_eq!(scene.node.partition("both").log_start_offset(), 5);
    assert_eq!(scene.offsets("none"), [0, 1, 2, 3, 4]);
    scene.stop();
}

#[test]
fn cleaner_that_panics_is_started_again_and_the_partition_left_out() {
    let files = MemoryFiles::new();
    let scene = Scene::start_on(files.clone(), &[]);
    files.inject(Fault::panic(Operation::Create, 0).on_paths("bad-0/00000000000000000000.log.cleaned"));
    scene.create("bad", &[]);
    fill(&scene, "bad", 0..3);
    eventually("the restart", || scene.metrics.cleaning.restarts() == 1);
    scene.create("good", &[]);
    fill(&scene, "good", 0..3);
    scene.done(1);
    let look = scene.look();
    let uncleanable = look.uncleanable["/data"];
    assert_eq!((uncleanable.partitions, uncleanable.bytes > 0), (1, true), "{look:?}");
    assert_eq!(scene.offsets("bad"), [0, 1, 2], "it is served all the same");
    assert_eq!(scene.metrics.cleaning.restarts(), 1);
    scene.stop();
}

#[test]
fn log_that_cannot_be_compacted_is_left_out_until_the_settings_change() {
    let scene = Scene::start(&[("log.cleaner.dedupe.buffer.size", "0")]);
    scene.create("wide", &[]);
    let keys: Vec<String> = (0..20).map(|key| format!("key {key}")).collect();
    let records: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("1"))).collect();
    scene.segment("wide", &records);
    eventually("the failure", || scene.passes(Outcome::Failed) == 1);
    assert_eq!(scene.look().uncleanable["/data"].partitions, 1);
    scene.look();
    assert_eq!(scene.passes(Outcome::Failed), 1, "it is not tried again");
    scene.set(&[("log.cleaner.dedupe.buffer.size", "1000000")]);
    scene.done(1);
    assert!(scene.look().uncleanable.is_empty());
    scene.stop();
}

#[test]
fn damaged_log_is_left_as_it_is_and_the_others_are_compacted() {
    let files = MemoryFiles::new();
    let mut scene = Scene::start_on(files.clone(), &[]);
    scene.stop_cleaner();
    scene.create("t", &[]);
    fill(&scene, "t", 0..4);
    let path = std::path::Path::new("/data/t-0/00000000000000000002.log");
    let before = files.contents(path);
    files.damage(path, |bytes| *bytes.last_mut().expect("a batch") ^= 1);
    let mut scene = scene.restart();
    scene.create("good", &[]);
    fill(&scene, "good", 0..4);
    scene.done(1);
    assert_eq!(scene.look().uncleanable["/data"].partitions, 1);
    assert_eq!(files.contents(path).len(), before.len());
    scene.stop_cleaner();
    scene.node.crash();
}

/// A pass that waits for the speed limit, at one byte a second.
fn slow() -> Scene {
    let scene = Scene::start(&[("log.cleaner.io.max.bytes.per.second", "1")]);
    scene.create("t", &[]);
    fill(&scene, "t", 0..40);
    let is_compacted = || scene.node.partition("t").with_log(|log| log.is_being_compacted());
    eventually("a pass that waits", || is_compacted() && scene.metrics.cleaning.moved_bytes() > 0);
    scene
}

#[test]
fn slow_pass_ends_when_the_node_stops() {
    let mut scene = slow();
    scene.stop_cleaner();
    assert_eq!((scene.passes(Outcome::Interrupted), scene.passes(Outcome::Done)), (1, 0));
    assert_eq!(scene.offsets("t"), (0..40).collect::<Vec<_>>());
    let scene = scene.restart();
    assert_eq!(scene.offsets("t"), (0..40).collect::<Vec<_>>());
    scene.stop();
}

#[test]
fn slow_pass_ends_when_its_topic_is_deleted() {
    let scene = slow();
    let topics = vec![TopicRef::Name("t".to_owned())];
    scene.node.submit(Command::DeleteTopics(DeleteTopics { topics }));
    eventually("the pass ends", || scene.passes(Outcome::Interrupted) == 1);
    eventually("nothing is left of it", || {
        let paths = scene.files.paths_below(std::path::Path::new("/data"));
        !paths.iter().any(|path| path.to_string_lossy().ends_with(".cleaned"))
    });
    scene.stop();
}

#[test]
fn slow_pass_goes_on_at_once_when_the_limit_is_lifted() {
    let scene = slow();
    scene.set(&[]);
    scene.done(1);
    assert_eq!(scene.passes(Outcome::Interrupted), 0);
    scene.stop();
}

#[test]
fn number_of_cleaners_follows_the_settings() {
    let scene = slow();
    scene.create("u", &[]);
    fill(&scene, "u", 0..40);
    let is_compacted = |topic| scene.node.partition(topic).with_log(|log| log.is_being_compacted());
    assert!(!is_compacted("u"), "the one cleaner waits");
    scene.set(&[("log.cleaner.io.max.bytes.per.second", "1"), ("log.cleaner.threads", "2")]);
    eventually("the second one takes it", || is_compacted("u"));
    assert!(is_compacted("t"));
    scene.set(&[("log.cleaner.enable", "false")]);
    eventually("both end", || scene.passes(Outcome::Interrupted) == 2);
    scene.set(&[("log.cleaner.threads", "4")]);
    scene.done(2);
    scene.stop();
}

#[test]
fn closed_log_ends_a_pass_however_far_it_is() {
    let scene = slow();
    let partition = scene.node.partition("t");
    let log: Option<Log> = partition.take_log();
    eventually("the pass ends", || scene.passes(Outcome::Interrupted) == 1);
    let closed: Result<(), milena_log::Error> = log.expect("was open").close_clean();
    closed.expect("in order");
    assert!(scene.look().uncleanable.is_empty(), "nothing is wrong with it");
    scene.stop();
}

#[test]
fn node_compacts_by_its_own_settings() {
    let files = MemoryFiles::new();
    let properties =
        [("log.dirs", "/data"), ("log.cleaner.backoff.ms", "1"), ("log.cleanup.policy", "compact")];
    let node = Node::start_on(Arc::new(files), &properties).expect("starts");
    node.create("t", &[]);
    let append = crate::partition::AppendAs { acks_all: true, log_append_time: None };
    let partition = node.partition("t");
    for value in ["1", "2"] {
        let batch =
            super::cleaner_scene::batch(milena_protocol::records::Builder::new(), &[("k", Some(value))]);
        partition.append(&batch, append, now_ms()).expect("appended");
        partition.with_log(|log| log.roll(0).and_then(|()| log.sync())).expect("a disk");
    }
    partition.directory().checkpoint().expect("a disk");
    eventually("one is left", || node.consume("t") == ["2"]);
    node.stop();
}

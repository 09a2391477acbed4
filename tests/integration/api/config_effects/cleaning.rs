//! What a broker says to its log cleaners.

use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use milena_protocol::records::Builder;

use super::Effect;
use super::cleaner::{ALWAYS_DIRTY, COMPACTED, SYNCED, compacted_upto, compacts, keyed, seal};
use super::scene::{Scene, comes_true, eventually};
use crate::alter_configs::{BROKER, set};

const WITH: &[(&str, &str)] = &[COMPACTED, SYNCED, ALWAYS_DIRTY];
const NO_LIMIT: &str = "1.7976931348623157E308";
/// Rests that take fifteen seconds are told by it from rests of a millisecond.
const SOON: Duration = Duration::from_secs(5);

#[rustfmt::skip]
pub const PASSES: &[Effect] = &[
    // That both then work is shown beside the cleaner: `number_of_cleaners_follows_the_settings`.
    Effect { topic: None, broker: Some("log.cleaner.threads"), values: ("2", "1"), with: WITH,
        shows: |scene, _, acts| {
            let expected = if acts { 2.0 } else { 1.0 };
            eventually("the number of cleaners", || scene.node.metric("milena_cleaner_threads", "") == expected);
        } },
    Effect { topic: None, broker: Some("log.cleaner.io.max.bytes.per.second"), values: ("1", NO_LIMIT), with: WITH,
        shows: |scene, topic, acts| if acts { begins_and_waits(scene, topic) } else { is_compacted(scene, topic) } },
    Effect { topic: None, broker: Some("log.cleaner.dedupe.buffer.size"), values: ("0", "134217728"), with: WITH,
        shows: |scene, topic, acts| if acts { fails(scene, topic) } else { is_compacted(scene, topic) } },
];

/// In memory for a thousand keys.
#[rustfmt::skip]
pub const SMALL_MAP: &[Effect] = &[
    Effect { topic: None, broker: Some("log.cleaner.io.buffer.load.factor"), values: ("0.01", "0.9"), with: WITH,
        shows: |scene, topic, acts| if acts { fails(scene, topic) } else { is_compacted(scene, topic) } },
];

/// At a byte a second each pass waits after its first read.
#[rustfmt::skip]
pub const SLOW: &[Effect] = &[
    Effect { topic: None, broker: Some("log.cleaner.io.buffer.size"), values: ("16384", "524288"), with: &[],
        shows: reads_at_once },
];

#[rustfmt::skip]
pub const RESTS: &[Effect] = &[
    Effect { topic: None, broker: Some("log.cleaner.backoff.ms"), values: ("1", "15000"), with: WITH, shows: rests },
];

#[test]
fn passes_go_by_values_of_now() {
    Scene::start(&[("log.cleaner.backoff.ms", "1")]).check(PASSES);
}

#[test]
fn keys_fill_the_memory_to_the_share_of_now() {
    Scene::start(&[("log.cleaner.backoff.ms", "1"), ("log.cleaner.dedupe.buffer.size", "24000")])
        .check(SMALL_MAP);
}

#[test]
fn passes_read_as_much_at_once_as_is_said_now() {
    Scene::start(&[("log.cleaner.backoff.ms", "1"), ("log.cleaner.io.max.bytes.per.second", "1")])
        .check(SLOW);
}

#[test]
fn cleaners_rest_as_long_as_is_said_now() {
    Scene::start(&[]).check(RESTS);
}

fn is_compacted(scene: &Scene, topic: &str) {
    let upto = keyed(scene, topic, 20, b"value");
    compacts(scene, topic, upto, true);
}

fn read_bytes(scene: &Scene) -> f64 {
    scene.node.metric("milena_cleaner_read_bytes_total", "")
}

fn begins_and_waits(scene: &Scene, topic: &str) {
    let before = read_bytes(scene);
    let upto = keyed(scene, topic, 20, &[b'x'; 10_000]);
    eventually("a pass begins", || read_bytes(scene) > before);
    scene.stays("it waits", || compacted_upto(scene, topic) < upto);
}

/// Twenty keys are more than there is room for.
fn fails(scene: &Scene, topic: &str) {
    let failed = || scene.node.metric("milena_cleaner_passes_total", "outcome=\"failed\"");
    let before = failed();
    let upto = keyed(scene, topic, 20, b"value");
    eventually("the pass fails", || failed() > before);
    assert!(compacted_upto(scene, topic) < upto);
}

/// One half of the buffer is for reading.
fn reads_at_once(scene: &Scene, other: &str, acts: bool) {
    // Another limit forgets what was read under the one before: the names of topics count up.
    let topic = scene.create(WITH);
    let bytes_per_second = topic.trim_start_matches('t');
    assert_ne!(topic, other);
    set(&scene.node, (BROKER, ""), "log.cleaner.io.max.bytes.per.second", Some(bytes_per_second));
    let before = read_bytes(scene);
    for key in 0..60 {
        let mut builder = Builder::new();
        let key = format!("key {key}");
        builder.append(scene.time_ms(), Some(key.as_bytes()), Some(&[b'x'; 5_000]), &[]).expect("room");
        assert_eq!(scene.node.produce(&topic, &builder.finish().expect("a batch")).0, ErrorCode::None);
    }
    seal(scene, &topic);
    let read = || read_bytes(scene) - before;
    if acts {
        eventually("the first read", || read() > 0.0);
        scene.stays("it was a small one", || read() < 100_000.0);
    } else {
        eventually("the first read is a large one", || read() > 200_000.0);
    }
    // A pass that waits ends with its topic, and counts for nothing afterwards.
    let ended = || scene.node.metric("milena_cleaner_passes_total", "outcome=\"interrupted\"");
    let before = ended();
    let topics = vec![DeleteTopicState { name: Some(topic.into()), ..Default::default() }];
    scene.node.call(&DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() }, 6);
    eventually("the pass ends", || ended() > before);
}

fn rests(scene: &Scene, _: &str, acts: bool) {
    let looked = || scene.node.metric("milena_cleaner_last_run_time_seconds", "");
    let is_still = || {
        let before = looked();
        before > 0.0 && (0..20).all(|_| looked() == before)
    };
    if acts {
        let before = looked();
        assert!(comes_true(|| looked() > before, SOON), "it looks");
        let before = looked();
        assert!(comes_true(|| looked() > before, SOON), "it looks again");
    } else {
        assert!(comes_true(is_still, SOON), "it never rests");
    }
}

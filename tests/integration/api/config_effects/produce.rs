//! What a produce is judged by and stored as.

use milena_protocol::ErrorCode;
use milena_protocol::records::{Batch, Builder, Compression};

use super::Effect;
use super::scene::Scene;
use crate::node::{BY_NAME, batch, now_ms};

#[rustfmt::skip]
pub const EFFECTS: &[Effect] = &[
    Effect { topic: Some("max.message.bytes"), broker: Some("message.max.bytes"), values: ("10", "1048588"), with: &[],
        shows: |scene, topic, acts| refused(scene, topic, &batch(&["x"]), acts, ErrorCode::MessageTooLarge) },
    Effect { topic: Some("message.timestamp.before.max.ms"), broker: Some("log.message.timestamp.before.max.ms"),
        values: ("30000", "3600000"), with: &[],
        shows: |scene, topic, acts| refused(scene, topic, &aged(60_000), acts, ErrorCode::InvalidTimestamp) },
    Effect { topic: Some("message.timestamp.after.max.ms"), broker: Some("log.message.timestamp.after.max.ms"),
        values: ("60000", "3600000"), with: &[],
        shows: |scene, topic, acts| refused(scene, topic, &aged(-1_800_000), acts, ErrorCode::InvalidTimestamp) },
    Effect { topic: Some("cleanup.policy"), broker: Some("log.cleanup.policy"), values: ("compact", "delete"), with: &[],
        shows: |scene, topic, acts| refused(scene, topic, &batch(&["without a key"]), acts, ErrorCode::InvalidRecord) },
    Effect { topic: Some("message.timestamp.type"), broker: Some("log.message.timestamp.type"),
        values: ("LogAppendTime", "CreateTime"), with: &[], shows: stamped },
    Effect { topic: Some("compression.type"), broker: Some("compression.type"), values: ("gzip", "producer"), with: &[],
        shows: |scene, topic, acts| {
            let expected = if acts { Compression::Gzip } else { Compression::None };
            stored(scene, topic, expected, None);
        } },
    Effect { topic: Some("compression.gzip.level"), broker: Some("compression.gzip.level"), values: ("1", "-1"),
        with: &[("compression.type", "gzip")],
        shows: |scene, topic, acts| stored(scene, topic, Compression::Gzip, acts.then_some(1)) },
    Effect { topic: Some("compression.zstd.level"), broker: Some("compression.zstd.level"), values: ("19", "3"),
        with: &[("compression.type", "zstd")],
        shows: |scene, topic, acts| stored(scene, topic, Compression::Zstd, acts.then_some(19)) },
];

#[test]
fn a_produce_is_judged_and_stored_by_values_of_now() {
    Scene::start(&[]).check(EFFECTS);
}

fn refused(scene: &Scene, topic: &str, batch: &[u8], acts: bool, with: ErrorCode) {
    let expected = if acts { with } else { ErrorCode::None };
    assert_eq!(scene.node.produce(topic, batch).0, expected);
}

fn aged(age_ms: i64) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.append(now_ms() - age_ms, None, Some(b"aged"), &[]).expect("room");
    builder.finish().expect("a batch")
}

/// The answer and the batch have the broker's time, or neither has.
fn stamped(scene: &Scene, topic: &str, acts: bool) {
    let sent = aged(60_000);
    let answer = scene.node.produce_at(topic, &sent, -1, BY_NAME);
    let (error, stored) = scene.node.fetch(topic, answer.base_offset);
    assert_eq!((answer.error, error), (ErrorCode::None, ErrorCode::None));
    let (stored, _) = Batch::parse(&stored).expect("a batch");
    let (sent, _) = Batch::parse(&sent).expect("a batch");
    let time_ms = if acts { answer.log_append_time } else { sent.max_timestamp };
    assert_eq!((answer.log_append_time > 0, stored.max_timestamp), (acts, time_ms));
}

/// Words that a stronger level finds more in.
fn text() -> String {
    let words = ["stone", "leaf", "river", "cloud", "ember", "salt", "north", "glass"];
    let mut seed = 7_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words[(seed >> 29) as usize]
    };
    (0..4_000).map(|_| next()).collect::<Vec<_>>().join(" ")
}

/// An uncompressed batch is kept as if its producer had compressed it so.
fn stored(scene: &Scene, topic: &str, codec: Compression, level: Option<i32>) {
    let (text, time_ms) = (text(), now_ms());
    let packed = |codec, level| {
        let mut builder = Builder::new().compression(codec, level);
        builder.append(time_ms, None, Some(text.as_bytes()), &[]).expect("room");
        builder.finish().expect("a batch")
    };
    let (error, offset) = scene.node.produce(topic, &packed(Compression::None, None));
    assert_eq!(error, ErrorCode::None);
    let kept = scene.node.fetch(topic, offset).1;
    let (kept, _) = Batch::parse(&kept).expect("a batch");
    assert_eq!(kept.attributes.compression(), Ok(codec));
    assert_eq!(kept.size_bytes(), packed(codec, level).len(), "{codec} at {level:?}");
    if level.is_some() {
        assert_ne!(kept.size_bytes(), packed(codec, None).len(), "the levels can be told apart");
    }
}

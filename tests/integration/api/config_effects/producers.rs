//! How long a partition remembers its producers.

use std::sync::atomic::{AtomicI64, Ordering};

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use milena_protocol::records::Builder;

use super::Effect;
use super::scene::Scene;
use crate::node::{Node, now_ms};

/// A log looks for expired producers every ten minutes.
const LOOK_MS: i64 = 600_000;

#[rustfmt::skip]
pub const EFFECTS: &[Effect] = &[
    Effect { topic: None, broker: Some("producer.id.expiration.ms"), values: ("1000", "86400000"), with: &[],
        shows: forgotten },
];

#[test]
fn producers_are_forgotten_by_values_of_now() {
    Scene::start(&[]).check(EFFECTS);
}

fn forgotten(scene: &Scene, topic: &str, acts: bool) {
    static PRODUCERS: AtomicI64 = AtomicI64::new(1_000);
    let producer_id = PRODUCERS.fetch_add(1, Ordering::Relaxed);
    let partition = scene.node.partition(topic);
    // Each look is ten minutes behind the one before, and all of them on the same day.
    let looked_ms = now_ms() + (producer_id - 999) * (LOOK_MS + 1_000);
    partition.maintain(looked_ms - LOOK_MS - 1_000);
    let mut builder = Builder::new().producer(producer_id, 0, 0);
    builder.append(now_ms(), None, Some(b"x"), &[]).expect("room");
    assert_eq!(scene.node.produce(topic, &builder.finish().expect("a batch")).0, ErrorCode::None);
    assert!(remembered(&scene.node, topic).contains(&producer_id));
    partition.maintain(looked_ms);
    assert_eq!(!remembered(&scene.node, topic).contains(&producer_id), acts);
}

fn remembered(node: &Node, topic: &str) -> Vec<i64> {
    let topic = TopicRequest { name: topic.into(), partition_indexes: vec![0] };
    let response = node.call(&DescribeProducersRequest { topics: vec![topic] }, 0);
    let response = response.decode::<DescribeProducersRequest<'_>>().expect("DescribeProducers");
    response.topics[0].partitions[0].active_producers.iter().map(|producer| producer.producer_id).collect()
}

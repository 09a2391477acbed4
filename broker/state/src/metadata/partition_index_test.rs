use super::*;
use crate::config::broker::Settings;
use crate::metadata::brokers::tests::image_with_brokers;
use crate::metadata::brokers::{FenceBroker, Heartbeat};
use crate::metadata::command::{Command, Context, decide};
use crate::metadata::image::Applied;
use crate::metadata::record::{PartitionRecord, Record, RecoveryState, TopicRecord};

const BROKERS: i32 = 10;

/// `topics` of ten partitions each, three replicas, spread over ten brokers.
fn large(topics: i32) -> Image {
    let mut image = image_with_brokers(&(0..BROKERS).collect::<Vec<_>>());
    for topic in 0..topics {
        // Ids come in no order, as they do when they are drawn.
        let topic_id =
            Uuid::from_u128(u128::from((topic as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | 1);
        image.apply(&Record::Topic(TopicRecord { name: format!("topic-{topic}"), topic_id })).unwrap();
        for index in 0..10 {
            let first = (topic + index) % BROKERS;
            let replicas = vec![first, (first + 1) % BROKERS, (first + 2) % BROKERS];
            let record = PartitionRecord {
                topic_id,
                partition_id: index,
                isr: replicas.clone(),
                removing_replicas: vec![],
                adding_replicas: vec![],
                leader: Some(first),
                leader_recovery_state: RecoveryState::Recovered,
                leader_epoch: 0,
                partition_epoch: 0,
                directories: vec![Uuid::ZERO; 3],
                eligible_leader_replicas: vec![],
                last_known_elr: vec![],
                replicas,
            };
            image.apply(&Record::Partition(record)).unwrap();
        }
    }
    image
}

/// What a command looks at, and how many records it makes; they are applied.
fn run(image: &mut Image, command: &Command) -> (usize, usize) {
    let settings = Settings::own_defaults();
    let mut records = Vec::new();
    let visits = visits::during(|| {
        records = decide(image, command, Context { now_ms: 0, settings: &settings }).records;
    });
    let next = Applied { index: image.applied().index + 1, term: 1 };
    image.apply_entry(next, &records, &mut crate::metadata::Delta::default()).unwrap();
    (visits, records.len())
}

fn heartbeat(image: &Image, broker_id: i32) -> Command {
    Command::BrokerHeartbeat(Heartbeat {
        broker_id,
        broker_epoch: image.broker(broker_id).unwrap().broker_epoch,
        current_metadata_offset: image.applied().index,
        want_fence: false,
        want_shut_down: false,
        offline_log_dirs: vec![],
        others_caught_up: false,
    })
}

/// Each decision looks at what it changes, and at nothing else, however much there is.
#[test]
fn nothing_looks_at_all_partitions() {
    let mut image = large(1000);
    let broker_epoch = image.broker(3).unwrap().broker_epoch;
    let (own, total) = (3_000, 10_000);
    assert_eq!((image.partitions_of(3).count(), image.leaderships(3)), (own, total / 10));
    let fence = Command::FenceBroker(FenceBroker { broker_id: 3, broker_epoch });
    assert_eq!(run(&mut image, &fence), (own, own + 1), "its replicas, and the fence");
    assert_eq!(image.leaderships(3), 0);
    let alive = heartbeat(&image, 5);
    assert_eq!(run(&mut image, &alive), (0, 0), "a heartbeat that changes nothing looks at nothing");
    let mut leaving = heartbeat(&image, 5);
    if let Command::BrokerHeartbeat(heartbeat) = &mut leaving {
        heartbeat.want_shut_down = true;
    }
    let (visits, _) = run(&mut image, &leaving);
    assert_eq!(visits, own, "whether it leads anything is known without looking");
    let back = heartbeat(&image, 3);
    let (visits, records) = run(&mut image, &back);
    assert_eq!((visits, records), (own, 1), "where its directories are; nothing waits for a leader");
    assert_eq!(leaderless_count(&image), 0);
    let (visits, elections) = run(&mut image, &Command::BalanceLeaders);
    assert_eq!(elections, 0, "it has not caught up anywhere");
    assert!(visits <= total / 5, "what the lost brokers ought to lead: {visits}");
    assert_eq!(run(&mut image, &Command::ElectUncleanLeaders), (0, 0));
}

/// Each is in the list of its first replica.
fn leaderless_count(image: &Image) -> usize {
    image.imbalanced().filter(|(_, _, partition)| partition.leader.is_none()).count()
}

#[test]
fn an_arriving_broker_looks_at_leaderless_partitions_of_its_own() {
    let mut image = large(100);
    for broker_id in [3, 4, 5] {
        let broker_epoch = image.broker(broker_id).unwrap().broker_epoch;
        run(&mut image, &Command::FenceBroker(FenceBroker { broker_id, broker_epoch }));
    }
    assert_eq!(leaderless_count(&image), 100, "those of 3, 4 and 5");
    let mut records = Vec::new();
    let settings = Settings::own_defaults();
    let context = Context { now_ms: 0, settings: &settings };
    let visits = visits::during(|| {
        crate::metadata::partitions::broker_arrived(&image, 5, context, &mut records);
    });
    assert_eq!(visits, 100);
    let other = visits::during(|| {
        crate::metadata::partitions::broker_arrived(&image, 9, context, &mut records);
    });
    assert_eq!(other, 0);
}

/// The figure is in the module's own page: when it grows, so does every controller and every broker.
#[test]
fn three_replicas_cost_about_ninety_bytes() {
    let image = large(2_000);
    let of = image
        .index
        .brokers
        .iter()
        .map(|(_, of)| of.replicas.heap_bytes() + of.leaderless.heap_bytes() + of.unled.heap_bytes());
    let bytes_each = of.sum::<usize>() / 20_000;
    assert!((60..=110).contains(&bytes_each), "{bytes_each} bytes");
}

#[test]
fn a_partition_leaves_no_trace() {
    let mut image = large(3);
    let ids: Vec<Uuid> = image.topics().map(|topic| topic.id).collect();
    for topic_id in ids {
        let remove = crate::metadata::record::RemoveTopic { topic_id };
        image.apply(&Record::RemoveTopic(remove)).unwrap();
    }
    assert_eq!(image.index, PartitionIndex::default());
}

use milena_protocol::types::Uuid;

use super::*;
use crate::metadata::record::{ClearElr, ProducerIds, RecoveryState, RemoveTopic, UnregisterBroker};

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn topic(name: &str, number: u128) -> Record {
    Record::Topic(TopicRecord { name: name.to_owned(), topic_id: id(number) })
}

fn partition(number: u128, index: i32) -> Record {
    Record::Partition(PartitionRecord {
        topic_id: id(number),
        partition_id: index,
        replicas: vec![1, 2],
        isr: vec![1],
        removing_replicas: vec![],
        adding_replicas: vec![],
        leader: Some(1),
        leader_recovery_state: RecoveryState::Recovered,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![id(71), id(72)],
        eligible_leader_replicas: vec![2],
        last_known_elr: vec![],
    })
}

fn register(broker_id: i32, broker_epoch: i64) -> Record {
    Record::RegisterBroker(RegisterBroker {
        broker_id,
        incarnation_id: id(900),
        broker_epoch,
        endpoints: vec![],
        features: vec![],
        rack: None,
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: vec![],
    })
}

fn image(records: &[Record]) -> (Image, Delta) {
    let mut image = Image::default();
    let mut delta = Delta::default();
    image.apply_entry(Applied { index: 7, term: 2 }, records, &mut delta).unwrap();
    (image, delta)
}

#[test]
fn topics_are_found_by_name_and_id_and_listed_by_name() {
    let (image, delta) = image(&[topic("b", 1), topic("a", 2), partition(1, 0), partition(1, 1)]);
    assert_eq!(image.topic_by_name("b").unwrap().id, id(1));
    assert_eq!(&*image.topic(id(2)).unwrap().name, "a");
    assert_eq!(image.topics().map(|t| t.name.to_string()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(image.topics_from("ab").map(|t| t.name.to_string()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(image.partition(id(1), 1).unwrap().directory_of(2), Some(id(72)));
    assert!(image.partition(id(1), 2).is_none() && image.partition(id(1), -1).is_none());
    assert_eq!(delta.topics_changed, [id(1), id(2)].into());
    assert_eq!(delta.partitions_changed, [(id(1), 0), (id(1), 1)].into());
}

#[test]
fn a_registration_without_an_epoch_gets_the_index_of_its_entry() {
    let (mut image, _) = image(&[register(1, -1)]);
    assert_eq!(image.broker(1).unwrap().broker_epoch, 7);
    image.begin_entry(Applied { index: 8, term: 2 });
    image.apply(&register(1, -1)).unwrap();
    assert_eq!(image.broker(1).unwrap().broker_epoch, 8);
}

#[test]
fn a_partition_change_touches_only_its_fields_and_raises_the_epochs() {
    let (mut image, _) = image(&[topic("t", 1), partition(1, 0)]);
    let before = image.partition(id(1), 0).unwrap().as_ref().clone();
    let change = PartitionChange { isr: Some(vec![1, 2]), ..PartitionChange::new(id(1), 0) };
    image.apply(&Record::PartitionChange(change)).unwrap();
    let expected = Partition { isr: vec![1, 2], partition_epoch: 1, ..before };
    assert_eq!(**image.partition(id(1), 0).unwrap(), expected);

    let change = PartitionChange { leader: Some(None), ..PartitionChange::new(id(1), 0) };
    image.apply(&Record::PartitionChange(change)).unwrap();
    let expected = Partition { leader: None, leader_epoch: 1, partition_epoch: 2, ..expected };
    assert_eq!(**image.partition(id(1), 0).unwrap(), expected);
}

#[test]
fn clones_keep_the_image_they_were_taken_from() {
    let (mut image, _) = image(&[topic("t", 1), partition(1, 0)]);
    let published = image.clone();
    image.apply(&partition(1, 1)).unwrap();
    image.apply(&topic("u", 2)).unwrap();
    assert_eq!((published.topics_count(), published.topic(id(1)).unwrap().partitions.len()), (1, 1));
    assert_eq!((image.topics_count(), image.topic(id(1)).unwrap().partitions.len()), (2, 2));
}

#[test]
fn a_removed_topic_takes_its_settings_along() {
    let config = ConfigResource::topic("t").record("retention.ms", Some("1".to_owned()));
    let (mut image, _) = image(&[topic("t", 1), partition(1, 0), config]);
    assert_eq!(image.topic_config("t").len(), 1);
    let mut delta = Delta::default();
    let remove = Record::RemoveTopic(RemoveTopic { topic_id: id(1) });
    let records = [topic("u", 2), partition(1, 1), remove];
    image.apply_entry(Applied { index: 8, term: 2 }, &records, &mut delta).unwrap();
    assert!(image.topic_by_name("t").is_none() && image.topic_config("t").is_empty());
    assert_eq!(delta.topics_removed.keys().copied().collect::<Vec<_>>(), [id(1)]);
    assert_eq!((delta.topics_changed, delta.partitions_changed), ([id(2)].into(), [].into()));
}

#[test]
fn records_that_do_not_fit_are_named_and_change_nothing() {
    let (image, _) = image(&[topic("t", 1), partition(1, 0), register(1, 5)]);
    let change = Record::PartitionChange(PartitionChange::new(id(1), 1));
    let cases = [
        (topic("t", 2), Misfit::TopicExists { name: "t".to_owned(), topic_id: id(2) }),
        (topic("u", 1), Misfit::TopicExists { name: "u".to_owned(), topic_id: id(1) }),
        (partition(9, 0), Misfit::UnknownTopic { topic_id: id(9) }),
        (partition(1, 2), Misfit::PartitionGap { topic_id: id(1), partition_id: 2 }),
        (partition(1, -1), Misfit::PartitionGap { topic_id: id(1), partition_id: -1 }),
        (change, Misfit::UnknownPartition { topic_id: id(1), partition_id: 1 }),
        (
            Record::UnregisterBroker(UnregisterBroker { broker_id: 1, broker_epoch: 4 }),
            Misfit::UnknownBroker { broker_id: 1, broker_epoch: 4 },
        ),
        (
            Record::Config(ConfigRecord {
                resource_type: 3,
                resource_name: String::new(),
                name: String::new(),
                value: None,
            }),
            Misfit::UnknownResourceType { resource_type: 3 },
        ),
    ];
    for (record, misfit) in cases {
        let mut after = image.clone();
        let mut delta = Delta::default();
        let outcome = after.apply_entry(image.applied(), std::slice::from_ref(&record), &mut delta);
        assert_eq!(outcome, Err(misfit));
        assert_eq!((after, delta.is_empty()), (image.clone(), true), "{record:?}");
    }
}

#[test]
fn producer_ids_never_go_back() {
    let block = |next_producer_id| {
        Record::ProducerIds(ProducerIds { broker_id: 1, broker_epoch: 1, next_producer_id })
    };
    let (image, _) = image(&[block(3000), block(1000)]);
    assert_eq!(image.next_producer_id(), 3000);
}

#[test]
fn clear_elr_reaches_one_topic_or_all() {
    let records = [topic("t", 1), partition(1, 0), topic("u", 2), partition(2, 0)];
    for (topic_name, cleared) in [("t", vec![id(1)]), ("", vec![id(1), id(2)]), ("v", vec![])] {
        let (mut image, _) = image(&records);
        let mut delta = Delta::default();
        let clear = Record::ClearElr(ClearElr { topic_name: topic_name.to_owned() });
        image.apply_entry(Applied { index: 9, term: 2 }, &[clear], &mut delta).unwrap();
        for number in [1, 2] {
            let empty = image.partition(id(number), 0).unwrap().eligible_leader_replicas.is_empty();
            assert_eq!(empty, cleared.contains(&id(number)), "{topic_name:?} and {number}");
        }
        assert_eq!(delta.topics_changed.into_iter().collect::<Vec<_>>(), cleared);
    }
}

/// Publishing after every entry must not copy what did not change.
#[test]
fn an_unchanged_topic_is_shared_between_images() {
    let mut image = Image::default();
    for number in 0..1000 {
        image.apply(&topic(&format!("topic-{number:04}"), number)).unwrap();
        image.apply(&partition(number, 0)).unwrap();
    }
    let old = image.clone();
    image.apply(&partition(500, 1)).unwrap();
    let delta = Delta::between(&old, &image);
    assert_eq!(delta.topics_changed, [id(500)].into());
    assert_eq!(delta.partitions_changed, [(id(500), 1)].into());
    let shared = old.topics().zip(image.topics()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
    assert_eq!(shared, 999);
}

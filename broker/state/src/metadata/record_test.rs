use proptest::prelude::*;

use super::*;
use crate::quota::{Entity, Key, Name, Value};

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn ids() -> impl Strategy<Value = Vec<i32>> {
    prop::collection::vec(any::<i32>(), 0..6)
}

fn text() -> impl Strategy<Value = String> {
    "[a-z.é\u{1F600}]{0,12}"
}

fn recovery() -> impl Strategy<Value = RecoveryState> {
    prop_oneof![Just(RecoveryState::Recovered), Just(RecoveryState::Recovering)]
}

fn register() -> impl Strategy<Value = Record> {
    let endpoint = (text(), text(), any::<u16>(), any::<i16>())
        .prop_map(|(name, host, port, security_protocol)| Endpoint { name, host, port, security_protocol });
    let feature =
        (text(), any::<i16>(), any::<i16>()).prop_map(|(name, min, max)| SupportedFeature { name, min, max });
    (
        (any::<i32>(), uuid(), any::<i64>()),
        prop::collection::vec(endpoint, 0..3),
        prop::collection::vec(feature, 0..3),
        prop::option::of(text()),
        (any::<bool>(), any::<bool>()),
        prop::collection::vec(uuid(), 0..3),
    )
        .prop_map(
            |((broker_id, incarnation_id, broker_epoch), endpoints, features, rack, flags, log_dirs)| {
                Record::RegisterBroker(RegisterBroker {
                    broker_id,
                    incarnation_id,
                    broker_epoch,
                    endpoints,
                    features,
                    rack,
                    fenced: flags.0,
                    in_controlled_shutdown: flags.1,
                    log_dirs,
                })
            },
        )
}

fn register_controller() -> impl Strategy<Value = Record> {
    register().prop_map(|record| {
        let Record::RegisterBroker(broker) = record else { unreachable!("that is what it makes") };
        Record::RegisterController(RegisterController {
            controller_id: broker.broker_id,
            incarnation_id: broker.incarnation_id,
            endpoints: broker.endpoints,
            features: broker.features,
        })
    })
}

fn partition() -> impl Strategy<Value = Record> {
    (
        (uuid(), any::<i32>()),
        (ids(), ids(), ids(), ids(), ids(), ids()),
        prop::option::of(any::<i32>()),
        recovery(),
        (any::<i32>(), any::<i32>()),
        prop::collection::vec(uuid(), 0..4),
    )
        .prop_map(
            |((topic_id, partition_id), lists, leader, leader_recovery_state, epochs, directories)| {
                Record::Partition(PartitionRecord {
                    topic_id,
                    partition_id,
                    replicas: lists.0,
                    isr: lists.1,
                    removing_replicas: lists.2,
                    adding_replicas: lists.3,
                    leader,
                    leader_recovery_state,
                    leader_epoch: epochs.0,
                    partition_epoch: epochs.1,
                    directories,
                    eligible_leader_replicas: lists.4,
                    last_known_elr: lists.5,
                })
            },
        )
}

fn partition_change() -> impl Strategy<Value = Record> {
    let some = || prop::option::of(ids());
    (
        (uuid(), any::<i32>()),
        (some(), some(), some(), some(), some(), some()),
        prop::option::of(prop::option::of(any::<i32>())),
        prop::option::of(recovery()),
        prop::option::of(prop::collection::vec(uuid(), 0..4)),
    )
        .prop_map(|((topic_id, partition_id), lists, leader, leader_recovery_state, directories)| {
            Record::PartitionChange(PartitionChange {
                topic_id,
                partition_id,
                isr: lists.0,
                leader,
                replicas: lists.1,
                removing_replicas: lists.2,
                adding_replicas: lists.3,
                leader_recovery_state,
                directories,
                eligible_leader_replicas: lists.4,
                last_known_elr: lists.5,
            })
        })
}

fn client_quota() -> impl Strategy<Value = Record> {
    let name = || prop::option::of(prop_oneof![Just(Name::Default), text().prop_map(Name::Exactly)]);
    let key = prop::sample::select(Key::ALL.to_vec());
    let entity = (name(), name(), name()).prop_map(|(client_id, ip, user)| Entity { client_id, ip, user });
    (entity, key, prop::option::of(any::<f64>())).prop_map(|(entity, key, value)| {
        Record::ClientQuota(ClientQuotaRecord { entity, key, value: value.map(Value::new) })
    })
}

pub(in crate::metadata) fn any_record() -> impl Strategy<Value = Record> {
    let change = (
        any::<(i32, i64)>(),
        any::<Option<bool>>(),
        any::<Option<bool>>(),
        prop::option::of(prop::collection::vec(uuid(), 0..3)),
    )
        .prop_map(|((broker_id, broker_epoch), fenced, in_controlled_shutdown, log_dirs)| {
            Record::BrokerRegistrationChange(BrokerRegistrationChange {
                broker_id,
                broker_epoch,
                fenced,
                in_controlled_shutdown,
                log_dirs,
            })
        });
    let config = (any::<i8>(), text(), text(), prop::option::of(text())).prop_map(
        |(resource_type, resource_name, name, value)| {
            Record::Config(ConfigRecord { resource_type, resource_name, name, value })
        },
    );
    prop_oneof![
        register(),
        register_controller(),
        any::<(i32, i64)>().prop_map(|(broker_id, broker_epoch)| {
            Record::UnregisterBroker(UnregisterBroker { broker_id, broker_epoch })
        }),
        (text(), uuid()).prop_map(|(name, topic_id)| Record::Topic(TopicRecord { name, topic_id })),
        partition(),
        config,
        partition_change(),
        uuid().prop_map(|topic_id| Record::RemoveTopic(RemoveTopic { topic_id })),
        (text(), any::<i16>()).prop_map(|(name, level)| Record::FeatureLevel(FeatureLevel { name, level })),
        any::<(i32, i64, i64)>().prop_map(|(broker_id, broker_epoch, next_producer_id)| {
            Record::ProducerIds(ProducerIds { broker_id, broker_epoch, next_producer_id })
        }),
        client_quota(),
        change,
        Just(Record::NoOp),
        text().prop_map(|topic_name| Record::ClearElr(ClearElr { topic_name })),
    ]
}

proptest! {
    #[test]
    fn batches_come_back_as_they_were(records in prop::collection::vec(any_record(), 0..20)) {
        prop_assert_eq!(decode_batch(&encode_batch(&records)), Ok(records));
    }

    #[test]
    fn every_shortened_batch_is_refused(records in prop::collection::vec(any_record(), 1..4)) {
        let bytes = encode_batch(&records);
        for size in 0..bytes.len() {
            prop_assert!(decode_batch(&bytes[..size]).is_err(), "{} of {} bytes", size, bytes.len());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_batch(&bytes);
        // Past the batch header too.
        let mut batch = vec![1, 1, bytes.len() as u8 & 0x7f];
        batch.extend_from_slice(&bytes);
        let _ = decode_batch(&batch);
    }

    #[test]
    fn flipped_bytes_never_panic(
        records in prop::collection::vec(any_record(), 1..4),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut bytes = encode_batch(&records);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _ = decode_batch(&bytes);
    }
}

/// The bytes of one record of each type. A change here is a change of the format on disk.
fn golden() -> Vec<(Record, &'static str)> {
    let id = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    let dir = Uuid::from_u128(0xff);
    vec![
        (
            Record::RegisterBroker(RegisterBroker {
                broker_id: 1,
                incarnation_id: id,
                broker_epoch: -1,
                endpoints: vec![Endpoint {
                    name: "PLAINTEXT".to_owned(),
                    host: "h".to_owned(),
                    port: 9092,
                    security_protocol: 0,
                }],
                features: vec![SupportedFeature { name: "f".to_owned(), min: 1, max: 2 }],
                rack: Some("r".to_owned()),
                fenced: true,
                in_controlled_shutdown: false,
                log_dirs: vec![dir],
            }),
            "0000 00000001 0102030405060708090a0b0c0d0e0f10 ffffffffffffffff \
             01 09504c41494e54455854 0168 2384 0000 01 0166 0001 0002 01 0172 01 00 \
             01 000000000000000000000000000000ff",
        ),
        (
            Record::UnregisterBroker(UnregisterBroker { broker_id: 1, broker_epoch: 2 }),
            "0100 00000001 0000000000000002",
        ),
        (
            Record::Topic(TopicRecord { name: "t".to_owned(), topic_id: id }),
            "0200 0174 0102030405060708090a0b0c0d0e0f10",
        ),
        (
            Record::Partition(PartitionRecord {
                topic_id: id,
                partition_id: 3,
                replicas: vec![1, 2],
                isr: vec![1],
                removing_replicas: vec![],
                adding_replicas: vec![2],
                leader: Some(1),
                leader_recovery_state: RecoveryState::Recovering,
                leader_epoch: 4,
                partition_epoch: 5,
                directories: vec![dir],
                eligible_leader_replicas: vec![2],
                last_known_elr: vec![],
            }),
            "0300 0102030405060708090a0b0c0d0e0f10 00000003 02 00000001 00000002 01 00000001 00 \
             01 00000002 01 00000001 01 00000004 00000005 01 000000000000000000000000000000ff \
             01 00000002 00",
        ),
        (
            Record::Config(ConfigRecord {
                resource_type: 2,
                resource_name: "t".to_owned(),
                name: "a".to_owned(),
                value: Some("1".to_owned()),
            }),
            "0400 02 0174 0161 01 0131",
        ),
        (
            Record::PartitionChange(PartitionChange {
                isr: Some(vec![1]),
                leader: Some(None),
                last_known_elr: Some(vec![]),
                ..PartitionChange::new(id, 3)
            }),
            "0500 0102030405060708090a0b0c0d0e0f10 00000003 0103 01 00000001 00 00",
        ),
        (Record::RemoveTopic(RemoveTopic { topic_id: id }), "0900 0102030405060708090a0b0c0d0e0f10"),
        (Record::FeatureLevel(FeatureLevel { name: "f".to_owned(), level: 7 }), "0c00 0166 0007"),
        (
            Record::ClientQuota(ClientQuotaRecord {
                entity: Entity::user_and_client_id(Name::Default, Name::exactly("c")),
                key: Key::ProducerByteRate,
                value: Some(Value::new(2.0)),
            }),
            "0e00 01 01 0163 00 01 00 03 01 4000000000000000",
        ),
        (
            Record::ProducerIds(ProducerIds { broker_id: 1, broker_epoch: 2, next_producer_id: 1000 }),
            "0f00 00000001 0000000000000002 00000000000003e8",
        ),
        (
            Record::BrokerRegistrationChange(BrokerRegistrationChange {
                broker_id: 1,
                broker_epoch: 2,
                fenced: Some(false),
                in_controlled_shutdown: None,
                log_dirs: None,
            }),
            "1100 00000001 0000000000000002 01 00 00 00",
        ),
        (Record::NoOp, "1400"),
        (
            Record::RegisterController(RegisterController {
                controller_id: 1,
                incarnation_id: id,
                endpoints: vec![Endpoint {
                    name: "CONTROLLER".to_owned(),
                    host: "h".to_owned(),
                    port: 9093,
                    security_protocol: 0,
                }],
                features: vec![SupportedFeature { name: "f".to_owned(), min: 1, max: 2 }],
            }),
            "1b00 00000001 0102030405060708090a0b0c0d0e0f10 \
             01 0a434f4e54524f4c4c4552 0168 2385 0000 01 0166 0001 0002",
        ),
        (Record::ClearElr(ClearElr { topic_name: "t".to_owned() }), "1c00 0174"),
    ]
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn bytes_are_the_documented_ones() {
    for (record, hex) in golden() {
        assert_eq!(record.encode(), bytes_of(hex), "{record:?}");
        assert_eq!(Record::decode(&bytes_of(hex)), Ok(record));
    }
    let topic = &golden()[2].0;
    let batch = encode_batch(std::slice::from_ref(topic));
    assert_eq!(batch[..3], [1, 1, 20], "format, count, size");
}

#[test]
fn unknown_things_are_named() {
    let cases = [
        ("", DecodeError::Truncated { needed: 1, left: 0 }),
        ("02 00", DecodeError::UnknownFormat { format: 2 }),
        ("01 01 02 6300", DecodeError::UnknownType { kind: 99 }),
        ("01 01 02 1401", DecodeError::UnknownVersion { kind: 20, version: 1 }),
        ("01 01 03 1400ff", DecodeError::LeftOver { left: 1 }),
        ("01 01 02 1400 ff", DecodeError::LeftOver { left: 1 }),
        // Nothing is allocated by a count that the bytes cannot hold.
        ("01 ffffffff7f", DecodeError::Truncated { needed: 3 * ((1 << 35) - 1), left: 0 }),
        ("01 ffffffffff", DecodeError::Field { what: "a length", value: (1 << 35) - 1 }),
        ("01 01 05 0c00 01ff 00", DecodeError::NotUtf8),
    ];
    for (hex, expected) in cases {
        assert_eq!(decode_batch(&bytes_of(hex)), Err(expected), "{hex}");
    }
}

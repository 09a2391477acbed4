//! Bytes of records: Kafka's own, and whatever else may stand in the log.

use proptest::prelude::*;

use super::*;

fn committed() -> CommittedOffset {
    CommittedOffset {
        offset: 42,
        leader_epoch: -1,
        metadata: "note".into(),
        commit_timestamp_ms: 1_700_000_000_000,
        expire_timestamp_ms: None,
        topic_id: Uuid::ZERO,
    }
}

fn offset(value: Option<CommittedOffset>) -> Record {
    Record::offset(&"g".into(), &"topic".into(), 3, value)
}

fn group(members: Vec<StoredMember>) -> Record {
    let has_members = !members.is_empty();
    let metadata = GroupMetadata {
        protocol_type: if has_members { "consumer".into() } else { "".into() },
        generation: if has_members { 5 } else { 0 },
        protocol: has_members.then(|| "range".into()),
        leader: has_members.then(|| "m-1".into()),
        state_timestamp_ms: 1_700_000_000_000,
        members,
    };
    Record::group(&"g".into(), Some(metadata))
}

fn member() -> StoredMember {
    StoredMember {
        id: "m-1".into(),
        instance_id: Some("i".into()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 10_000,
        subscription: Bytes::from_static(&[0, 1, 2]),
        assignment: Bytes::from_static(&[3, 4]),
    }
}

/// Written by GroupCoordinatorRecordSerde of Apache Kafka 4.3.1: the record, its key, its value.
fn golden() -> Vec<(Record, &'static str, Option<&'static str>)> {
    let with_id = CommittedOffset {
        leader_epoch: 7,
        topic_id: Uuid::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
        ..committed()
    };
    let expiring = CommittedOffset { expire_timestamp_ms: Some(1_700_000_060_000), ..committed() };
    let offset_key = "000100016700 05746f70696300000003";
    let group_key = "0002000167";
    vec![
        (offset(Some(with_id)), offset_key, Some(GOLDEN_OFFSET)),
        (
            offset(Some(CommittedOffset { metadata: "".into(), ..committed() })),
            offset_key,
            Some(GOLDEN_PLAIN),
        ),
        (offset(Some(expiring)), offset_key, Some(GOLDEN_EXPIRES)),
        (offset(None), offset_key, None),
        (Record::group(&"g".into(), None), group_key, None),
        (group(vec![member()]), group_key, Some(GOLDEN_GROUP)),
        (group(vec![]), group_key, Some(GOLDEN_EMPTY)),
    ]
}

const GOLDEN_OFFSET: &str = "\
    0004000000000000002a00000007056e6f74650000018bcfe568000100100102030405060708090a0b0c0d0e0f \
    10";
const GOLDEN_PLAIN: &str = "0004000000000000002affffffff010000018bcfe5680000";
const GOLDEN_EXPIRES: &str = "0001000000000000002a00046e6f74650000018bcfe568000000018bcfe65260";
const GOLDEN_GROUP: &str = "\
    00030008636f6e73756d657200000005000572616e676500036d2d310000018bcfe568000000000100036d2d31 \
    000169000163000a2f3132372e302e302e310000ea600000271000000003000102000000020304";
const GOLDEN_EMPTY: &str = "0003000000000000ffffffff0000018bcfe5680000000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}

#[test]
fn records_have_kafkas_bytes() {
    for (record, key, value) in golden() {
        let encoded = record.encode().expect("short texts");
        assert_eq!(encoded, (bytes(key), value.map(bytes)), "{record:?}");
        let decoded = Record::decode(Some(&encoded.0), encoded.1.as_deref());
        assert_eq!(decoded, Ok(Decoded::Record(record)));
    }
}

#[test]
fn every_version_that_kafka_ever_wrote_is_read() {
    let key = |kind: u8| [&[0, kind][..], &bytes("0001670005746f70696300000003")].concat();
    // Offset 42, metadata "note", commit time 5; the time to expire, the leader epoch, a topic id.
    let common = "000000000000002a 00046e6f7465 0000000000000005";
    for (version, value) in [
        (0, common.to_owned()),
        (1, format!("{common} 0000000000000009")),
        (2, common.to_owned()),
        (3, "000000000000002a 00000007 00046e6f7465 0000000000000005".to_owned()),
    ] {
        let value = [&[0, version][..], &bytes(&value)].concat();
        for kind in [0, 1] {
            let expected = CommittedOffset {
                leader_epoch: if version == 3 { 7 } else { -1 },
                commit_timestamp_ms: 5,
                expire_timestamp_ms: (version == 1).then_some(9),
                ..committed()
            };
            let decoded = Record::decode(Some(&key(kind)), Some(&value));
            assert_eq!(decoded, Ok(Decoded::Record(offset(Some(expected)))), "{version}");
        }
    }
    // Type "t", generation 1, protocol "p", leader "m", then a state timestamp from 2 on, and a member.
    let head = "000174 00000001 000170 00016d";
    let texts = "00016d 000163 000168";
    for (version, value) in [
        (0, format!("{head} 00000001 {texts} 0000000a 0000000101 0000000102")),
        (1, format!("{head} 00000001 {texts} 00000014 0000000a 0000000101 0000000102")),
        (2, format!("{head} 0000000000000007 00000001 {texts} 00000014 0000000a 0000000101 0000000102")),
    ] {
        let value = [&[0, version][..], &bytes(&value)].concat();
        let decoded = Record::decode(Some(&bytes("0002000167")), Some(&value));
        let Ok(Decoded::Record(Record::Group(GroupRecord { value: Some(found), .. }))) = decoded else {
            panic!("{version}: {decoded:?}")
        };
        assert_eq!(found.state_timestamp_ms, if version == 2 { 7 } else { -1 });
        assert_eq!(found.members[0].rebalance_timeout_ms, if version == 0 { -1 } else { 20 });
        assert_eq!((found.members[0].session_timeout_ms, &found.members[0].assignment[..]), (10, &[2][..]));
    }
}

#[test]
fn records_of_newer_protocols_are_left_alone() {
    for kind in 3..=20 {
        let key = [0, kind, 1, 2, 3];
        assert_eq!(Record::decode(Some(&key), None), Ok(Decoded::Other { kind: i16::from(kind) }));
    }
}

#[test]
fn garbage_is_an_error_that_says_where() {
    let key = bytes("0002000167");
    assert_eq!(Record::decode(None, None), Err(DecodeError::NoKey));
    assert_eq!(Record::decode(Some(&[1]), None), Err(DecodeError::NoVersion { size: 1 }));
    assert_eq!(Record::decode(Some(&key), Some(&[])), Err(DecodeError::NoVersion { size: 0 }));
    assert_eq!(
        Record::decode(Some(&key), Some(&[0, 9])),
        Err(DecodeError::UnknownVersion { kind: 2, version: 9 })
    );
    for cut in 2..key.len() {
        let found = Record::decode(Some(&key[..cut]), None);
        assert!(matches!(found, Err(DecodeError::Field { part: "key", .. })), "{found:?}");
    }
    let value = bytes(GOLDEN_GROUP);
    for cut in 2..value.len() {
        let found = Record::decode(Some(&key), Some(&value[..cut]));
        assert!(matches!(found, Err(DecodeError::Field { part: "value", .. })), "{cut}: {found:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(key in prop::collection::vec(any::<u8>(), 0..40), value: Option<Vec<u8>>, kind in 0..4_u8) {
        let _ = Record::decode(Some(&key), value.as_deref());
        let key = [&[0, kind][..], &key].concat();
        let _ = Record::decode(Some(&key), value.as_deref());
    }

    #[test]
    fn offsets_come_back(
        texts in [".{0,20}", ".{0,20}", ".{0,20}"],
        numbers: (i32, i64, i64),
        epoch in -1..i32::MAX,
        expires in prop::option::of(0..i64::MAX),
        id: [u8; 16],
    ) {
        let [group, topic, metadata] = texts.map(|text| Arc::<str>::from(&*text));
        let (partition, offset, commit_timestamp_ms) = numbers;
        let value = CommittedOffset {
            offset,
            // The one layout with room for a time to expire has none for these.
            leader_epoch: if expires.is_some() { -1 } else { epoch },
            metadata,
            commit_timestamp_ms,
            expire_timestamp_ms: expires,
            topic_id: if expires.is_some() { Uuid::ZERO } else { Uuid::from_bytes(id) },
        };
        let record = Record::offset(&group, &topic, partition, Some(value));
        let (key, value) = record.encode().expect("short texts");
        prop_assert_eq!(Record::decode(Some(&key), value.as_deref()), Ok(Decoded::Record(record)));
    }

    #[test]
    fn groups_come_back(
        texts in prop::collection::vec(".{0,12}", 6),
        numbers: (i32, i64, i32, i32),
        named: bool,
        members in 0..4_usize,
        blobs: (Vec<u8>, Vec<u8>),
    ) {
        let text = |index: usize| Arc::<str>::from(&*texts[index]);
        let member = StoredMember {
            id: text(0),
            instance_id: named.then(|| text(1)),
            client_id: text(2),
            client_host: text(3),
            rebalance_timeout_ms: numbers.2,
            session_timeout_ms: numbers.3,
            subscription: blobs.0.into(),
            assignment: blobs.1.into(),
        };
        let metadata = GroupMetadata {
            protocol_type: text(4),
            generation: numbers.0,
            protocol: named.then(|| text(5)),
            leader: named.then(|| text(0)),
            state_timestamp_ms: numbers.1,
            members: vec![member; members],
        };
        let record = Record::group(&text(1), Some(metadata));
        let (key, value) = record.encode().expect("short texts");
        prop_assert_eq!(Record::decode(Some(&key), value.as_deref()), Ok(Decoded::Record(record)));
    }
}

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const DIRECTORY: Uuid = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

fn entry(payload: Payload) -> Entry {
    let node_id = VoterId { id: 1, directory: DIRECTORY };
    Entry { log_id: LogId::new(LeaderId { term: 3, node_id }, 7), payload }
}

fn membership() -> Membership {
    let voter = VoterId { id: 2, directory: DIRECTORY };
    let address = VoterAddress { host: "h".to_owned(), port: 9093 };
    Membership::new(vec![BTreeSet::from([voter])], BTreeMap::from([(voter, address)])).expect("a membership")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// These bytes are on disks: a change of them needs a new version.
#[test]
fn the_bytes_of_an_entry_stay_what_they_are() {
    const PROPOSER: &str = "000000010102030405060708090a0b0c0d0e0f10";
    let records =
        Payload::Normal(Proposal { append_time_ms: 256, records: Bytes::from_static(&[0xaa, 0xbb]) });
    let voter = "000000020102030405060708090a0b0c0d0e0f10";
    let cases = [
        (Payload::Blank, format!("0100{PROPOSER}")),
        (records, format!("0101{PROPOSER}0000000000000100aabb")),
        (
            Payload::Membership(membership()),
            format!("0102{PROPOSER}00010001{voter}0001{voter}000168{}", "2385"),
        ),
    ];
    for (payload, expected) in cases {
        let entry = entry(payload);
        let mut value = Vec::new();
        encode_value(&entry, &mut value);
        assert_eq!(hex(&value), expected);
        assert_eq!(decode_value(7, 3, &Bytes::from(value)), Ok(entry));
    }
}

#[test]
fn an_entry_cut_anywhere_is_an_error() {
    for payload in [Payload::Blank, Payload::Membership(membership())] {
        let mut value = Vec::new();
        encode_value(&entry(payload), &mut value);
        for end in 0..value.len() {
            assert!(decode_value(7, 3, &Bytes::copy_from_slice(&value[..end])).is_err(), "cut at {end}");
        }
        value.push(0);
        assert_eq!(decode_value(7, 3, &Bytes::from(value)), Err(EntryError::Trailing(1)));
    }
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_number() {
    assert_eq!(decode_value(0, 0, &Bytes::from_static(&[9, 0])), Err(EntryError::UnknownVersion(9)));
    let mut value = Vec::new();
    encode_value(&entry(Payload::Blank), &mut value);
    value[1] = 8;
    assert_eq!(decode_value(0, 0, &Bytes::from(value)), Err(EntryError::UnknownKind(8)));
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), known in any::<bool>()) {
        let mut bytes = bytes;
        if known && bytes.len() > 1 {
            bytes[0] = VERSION;
            bytes[1] %= 3;
        }
        if let Ok(entry) = decode_value(1, 1, &Bytes::from(bytes.clone())) {
            let mut again = Vec::new();
            encode_value(&entry, &mut again);
            prop_assert_eq!(decode_value(1, 1, &Bytes::from(again)), Ok(entry));
        }
    }
}

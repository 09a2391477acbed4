//! Records that are damaged in every way a length can be.

use super::*;
use crate::records::{Builder, Header};
use proptest::prelude::*;

/// A payload of three records, one with headers.
fn payload() -> Vec<u8> {
    let mut builder = Builder::new();
    let headers = [Header { key: b"h", value: Some(b"v") }, Header { key: b"", value: None }];
    builder.append(1000, Some(b"key"), Some(b"value"), &headers).unwrap();
    builder.append(1500, None, Some(b"no key"), &[]).unwrap();
    builder.append(900, Some(b""), None, &[]).unwrap();
    builder.finish().unwrap().split_off(crate::records::HEADER_SIZE)
}

/// One record from its body.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write_i32(&mut out, body.len() as i32);
    out.extend_from_slice(body);
    out
}

fn error_of(body: &[u8]) -> RecordError {
    Record::parse(&framed(body)).unwrap_err()
}

#[test]
fn all_fields_are_read() {
    let payload = payload();
    let records: Vec<Record<'_>> = RecordIter::new(&payload, 3).collect::<Result<_, _>>().unwrap();
    let headers: Vec<Header<'_>> = records[0].headers.collect();
    assert_eq!(headers, [Header { key: b"h", value: Some(b"v") }, Header { key: b"", value: None }]);
    let places: Vec<_> = records.iter().map(|r| (r.offset_delta, r.timestamp_delta)).collect();
    assert_eq!(places, [(0, 0), (1, 500), (2, -100)]);
    let contents: Vec<_> = records.iter().map(|r| (r.key, r.value)).collect();
    assert_eq!(
        contents,
        [(Some(&b"key"[..]), Some(&b"value"[..])), (None, Some(b"no key")), (Some(b""), None)]
    );
    assert_eq!(records.iter().map(|r| r.size_bytes).sum::<usize>(), payload.len());
}

#[test]
fn a_walk_finds_the_latest_record_and_those_without_key() {
    let walked = validate(&payload(), 3).unwrap();
    assert_eq!(walked, Walked { max_timestamp: Some((500, 1)), keyless_count: 1 });
}

#[test]
fn wrong_counts_are_found_on_both_sides() {
    let payload = payload();
    assert!(matches!(validate(&payload, 2), Err(BatchError::TrailingBytes { count: 2, .. })));
    let error = RecordError::Truncated;
    assert_eq!(validate(&payload, 4), Err(BatchError::Record { index: 3, error }));
    assert_eq!(validate(&payload, i32::MAX), Err(BatchError::Record { index: 3, error }));
    assert!(matches!(validate(&payload, -1), Err(BatchError::TrailingBytes { count: 0, .. })));
}

#[test]
fn offset_deltas_must_count_up_from_zero() {
    let mut builder = Builder::new();
    builder.append(0, None, None, &[]).unwrap();
    builder.append_at(2, 0, None, None, std::iter::empty()).unwrap();
    let batch = builder.finish().unwrap();
    let error = RecordError::OffsetDelta { expected: 1, found: 2 };
    assert_eq!(validate(&batch[61..], 2), Err(BatchError::Record { index: 1, error }));
}

#[test]
fn every_cut_is_an_error() {
    let payload = payload();
    for cut in 0..payload.len() {
        assert!(validate(&payload[..cut], 3).is_err(), "cut at {cut}");
    }
}

#[test]
fn lengths_that_lie_are_named() {
    // Attributes and both deltas, then what is wrong: zig-zag doubles a number, so 20 says 10.
    assert_eq!(Record::parse(&[1]), Err(RecordError::Size(-1)));
    assert_eq!(error_of(&[]), RecordError::Size(0));
    assert_eq!(error_of(&[0]), RecordError::Number);
    assert_eq!(error_of(&[0, 0, 0, 20, b'k']), RecordError::Key(10));
    assert_eq!(error_of(&[0, 0, 0, 1, 20, b'v']), RecordError::Value(10));
    assert_eq!(error_of(&[0, 0, 0, 1, 1, 1]), RecordError::HeaderCount(-1));
    assert_eq!(error_of(&[0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]), RecordError::HeaderCount(i32::MAX));
    assert_eq!(error_of(&[0, 0, 0, 1, 1, 2, 1, 1]), RecordError::Header(0), "null header key");
    assert_eq!(error_of(&[0, 0, 0, 1, 1, 0, 9]), RecordError::TrailingBytes(1));
}

proptest! {
    #[test]
    fn damage_never_panics_and_never_loops(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        count in any::<i32>(),
    ) {
        let mut payload = payload();
        for (position, byte) in flips {
            *position.get_mut(&mut payload) = byte;
        }
        let walked = RecordIter::new(&payload, count).take(1000).count();
        prop_assert!(walked <= payload.len() + 1);
        for record in RecordIter::new(&payload, count).flatten() {
            prop_assert_eq!(record.headers.count(), record.headers.len());
        }
    }
}

//! The walk that only looks accepts what the walk that reads accepts, and shows the same.

use super::*;
use crate::records::{Builder, HEADER_SIZE, Header, RecordIter};
use proptest::prelude::*;

/// What the reading walk shows of each record, and whether it came through.
fn read(payload: &[u8], count: i32) -> (Vec<Skimmed>, bool) {
    let mut seen = Vec::new();
    for record in RecordIter::new(payload, count) {
        let Ok(record) = record else { return (seen, false) };
        seen.push(Skimmed {
            timestamp_delta: record.timestamp_delta,
            offset_delta: record.offset_delta,
            has_key: record.key.is_some(),
        });
    }
    (seen, true)
}

fn skimmed(payload: &[u8], count: i32) -> (Vec<Skimmed>, bool) {
    let mut seen = Vec::new();
    let is_sound = skim(payload, count, |index, record| {
        assert_eq!(index as usize, seen.len());
        seen.push(record);
    });
    (seen, is_sound)
}

/// Records with every shape of field: absent, empty, lengths of one, two and three bytes, far deltas, headers.
fn payload() -> (Vec<u8>, i32) {
    let mut builder = Builder::new();
    let headers = [Header { key: b"h", value: Some(b"v") }, Header { key: b"", value: None }];
    for (delta, key, size) in
        [(0, None, 0), (1, Some(&b"k"[..]), 62), (64, Some(b""), 100), (-9_000, None, 9_000)]
    {
        builder.append(1_000_000 + delta, key, Some(&vec![b'v'; size]), &headers[..size % 3]).unwrap();
    }
    builder.append(i64::MAX, None, None, &headers).unwrap();
    builder.append_at(70, 1_000_000, None, None, std::iter::empty()).unwrap();
    builder.append_at(10_000, 1_000_000, Some(b"k"), None, std::iter::empty()).unwrap();
    (builder.finish().unwrap().split_off(HEADER_SIZE), 7)
}

#[test]
fn records_of_every_shape_are_seen() {
    let (payload, count) = payload();
    let (seen, is_sound) = skimmed(&payload, count);
    assert_eq!((seen.len(), is_sound), (7, true));
    assert_eq!((seen, is_sound), read(&payload, count));
}

#[test]
fn numbers_longer_than_they_need_be_are_read() {
    // Size 8, attributes, timestamp delta 0 in two bytes, offset delta 0 in three, then null, null, no headers.
    let record = [0x10, 0, 0x80, 0, 0x80, 0x80, 0, 1, 1, 0];
    assert_eq!(read(&record, 1), skimmed(&record, 1));
    let record = [0x12, 0, 0x80, 0, 0x80, 0x80, 0, 1, 1, 0];
    assert_eq!(skimmed(&record, 1).1, read(&record, 1).1);
}

#[test]
fn every_cut_and_every_other_count_is_refused() {
    let (payload, count) = payload();
    for cut in 0..payload.len() {
        assert_eq!(skimmed(&payload[..cut], count), read(&payload[..cut], count), "cut at {cut}");
    }
    for count in [i32::MIN, -1, 0, 1, 6, 8, i32::MAX] {
        assert_eq!(skimmed(&payload, count), read(&payload, count), "{count} records");
        assert!(!skimmed(&payload, count).1);
    }
    assert_eq!(skimmed(&[], 0), (Vec::new(), true));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_judged_as_by_the_reading_walk(
        payload in prop::collection::vec(any::<u8>(), 0..64),
        count in -1..5i32,
    ) {
        prop_assert_eq!(skimmed(&payload, count), read(&payload, count));
    }

    /// Small numbers and few bytes: many of these are sound.
    #[test]
    fn nearly_sound_bytes_are_judged_as_by_the_reading_walk(
        bodies in prop::collection::vec((prop::collection::vec(0..12u8, 0..12), -1..2i32), 0..4),
    ) {
        let mut payload = Vec::new();
        for (body, error) in &bodies {
            varint::write_i32(&mut payload, body.len() as i32 + error / 2);
            payload.extend_from_slice(body);
        }
        prop_assert_eq!(skimmed(&payload, bodies.len() as i32), read(&payload, bodies.len() as i32));
    }

    #[test]
    fn mutated_batches_are_judged_as_by_the_reading_walk(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        // Most bytes are those of one long value, which nobody looks into.
        near in prop::collection::vec((0..120usize, any::<u8>()), 0..4),
        count in 6..9i32,
    ) {
        let (mut payload, _) = payload();
        for (position, byte) in changes {
            *position.get_mut(&mut payload) = byte;
        }
        for (position, byte) in near {
            payload[position] = byte;
        }
        prop_assert_eq!(skimmed(&payload, count), read(&payload, count));
    }
}

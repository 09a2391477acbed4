//! What is built is read back; the bounds of offsets and timestamps.

use super::*;
use crate::records::{Batch, Limits, Record, RecordIter, record};
use proptest::prelude::*;

type Bytes = Option<Vec<u8>>;
type Built = (i64, Bytes, Bytes, Vec<(Vec<u8>, Bytes)>);

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..100))
}

fn built_record() -> impl Strategy<Value = Built> {
    let headers = prop::collection::vec((prop::collection::vec(any::<u8>(), 0..10), bytes()), 0..4);
    (-1_000_000..i64::MAX / 2, bytes(), bytes(), headers)
}

fn read_back(batch: &[u8]) -> Vec<Built> {
    let (batch, rest) = Batch::parse(batch).unwrap();
    assert!(rest.is_empty());
    batch.verify_crc().unwrap();
    let compression = batch.attributes.compression().unwrap();
    let mut payload = Vec::new();
    compression::decompress(compression, batch.payload(), Limits::default(), &mut payload).unwrap();
    record::validate(&payload, batch.count).unwrap();
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let read = |record: Record<'_>| {
        let headers = record.headers.map(|header| (header.key.to_vec(), own(header.value))).collect();
        (batch.timestamp_of(&record), own(record.key), own(record.value), headers)
    };
    RecordIter::new(&payload, batch.count).map(|record| read(record.unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_built_is_read_back(
        records in prop::collection::vec(built_record(), 1..20),
        base_offset in 0..i64::MAX / 2,
        codec in prop::sample::select(&Compression::ALL),
    ) {
        let mut builder = Builder::new().base_offset(base_offset).compression(codec, None);
        for (timestamp, key, value, headers) in &records {
            let headers: Vec<Header<'_>> =
                headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
            builder.append(*timestamp, key.as_deref(), value.as_deref(), &headers).unwrap();
        }
        let estimate = builder.size_estimate();
        let batch = builder.finish().unwrap();
        prop_assert!(codec != Compression::None || batch.len() == estimate);
        prop_assert_eq!(read_back(&batch), records.clone());
        let (batch, _) = Batch::parse(&batch).unwrap();
        prop_assert_eq!(batch.last_offset(), base_offset + records.len() as i64 - 1);
        prop_assert_eq!(batch.max_timestamp, records.iter().map(|record| record.0).max().unwrap().max(NO_TIMESTAMP));
        batch.check_count().unwrap();
    }
}

#[test]
fn offsets_must_rise_and_stay_within_reach() {
    let mut builder = Builder::new().base_offset(100);
    builder.append_at(100, 0, None, None, std::iter::empty()).unwrap();
    let mut refused = |offset| {
        let error = builder.append_at(offset, 0, None, None, std::iter::empty()).unwrap_err();
        assert!(matches!(error, BuildError::Offset { base_offset: 100, next_offset: 101, .. }), "{error}");
    };
    for offset in [100, 99, i64::MIN, 101 + i64::from(i32::MAX), i64::MAX] {
        refused(offset);
    }
    builder.append_at(100 + i64::from(i32::MAX), 0, None, None, std::iter::empty()).unwrap();
    assert_eq!(builder.count(), 2);
}

#[test]
fn a_last_offset_before_the_last_record_is_refused() {
    let build = |last_offset| {
        let mut builder = Builder::new().last_offset(last_offset);
        builder.append_at(5, 0, None, None, std::iter::empty()).unwrap();
        builder.finish()
    };
    assert!(matches!(build(4), Err(BuildError::Offset { offset: 4, .. })));
    let batch = build(9).unwrap();
    assert_eq!(Batch::parse(&batch).unwrap().0.next_offset(), 10);
}

#[test]
fn timestamps_too_far_apart_are_refused() {
    let mut builder = Builder::new();
    builder.append(i64::MIN, None, None, &[]).unwrap();
    let error = builder.append(1, None, None, &[]).unwrap_err();
    assert!(matches!(error, BuildError::Timestamp { timestamp: 1, base_timestamp: i64::MIN }));
}

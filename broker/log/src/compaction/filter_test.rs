use milena_protocol::records::Header;

use super::*;

const NOW_MS: i64 = 1_700_000_000_000;

fn rules() -> Rules {
    Rules { now_ms: NOW_MS, delete_retention_ms: 1000, end_offset: 1000, producers: BTreeMap::new() }
}

/// A map of these keys' latest offsets, complete up to offset 99.
fn map(latest: &[(&str, i64)]) -> OffsetMap {
    let mut map = OffsetMap::new(4096, 0.9);
    map.reset(50);
    for (key, offset) in latest {
        assert!(map.put(key.as_bytes(), *offset));
    }
    map.mapped_upto(99);
    map
}

fn built(builder: Builder, records: &[(Option<&str>, Option<&str>)]) -> Vec<u8> {
    let mut builder = builder.base_offset(10);
    let headers = [Header { key: b"h", value: Some(b"1") }];
    for (timestamp, (key, value)) in (500..).zip(records) {
        let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
        builder.append(timestamp, key, value, &headers).expect("small");
    }
    builder.finish().expect("small")
}

fn filtered(bytes: &[u8], map: &OffsetMap, rules: &Rules) -> Filtered {
    let (batch, _) = Batch::parse(bytes).expect("built");
    filter(&batch, map, &mut Fates::default(), rules).expect("sound")
}

fn rewritten(filtered: &Filtered) -> Batch<'_> {
    let Kept::Rewritten(bytes) = &filtered.kept else { panic!("{filtered:?}") };
    let (batch, rest) = Batch::parse(bytes).expect("whole");
    batch.verify_crc().expect("sealed");
    assert!(rest.is_empty());
    batch
}

#[test]
fn batch_built_again_keeps_all_but_the_records_that_go() {
    let builder = Builder::new().leader_epoch(5).producer(9, 2, 40).transactional(true);
    let bytes = built(builder, &[(Some("a"), Some("1")), (Some("b"), Some("2")), (Some("a"), Some("3"))]);
    let found = filtered(&bytes, &map(&[("a", 50), ("b", 11)]), &rules());
    assert_eq!((found.records_kept, found.keyless), (1, 0));
    let batch = rewritten(&found);
    let (before, _) = Batch::parse(&bytes).expect("built");
    assert_eq!((batch.base_offset, batch.last_offset(), batch.count), (10, 12, 1));
    assert_eq!((batch.leader_epoch, batch.attributes), (5, before.attributes));
    assert_eq!((batch.producer_id, batch.producer_epoch, batch.base_sequence), (9, 2, 40));
    assert_eq!(batch.last_sequence(), before.last_sequence());
    let record = batch.records().expect("plain").next().expect("one").expect("sound");
    assert_eq!((batch.offset_of(&record), batch.timestamp_of(&record)), (11, 501));
    assert_eq!((record.value, record.headers.len()), (Some(&b"2"[..]), 1));
}

#[test]
fn log_append_time_stays() {
    let bytes =
        built(Builder::new().log_append_time(7777), &[(Some("a"), Some("1")), (Some("b"), Some("2"))]);
    let found = filtered(&bytes, &map(&[("a", 50)]), &rules());
    let batch = rewritten(&found);
    assert_eq!((batch.timestamp_type(), batch.max_timestamp), (TimestampType::LogAppendTime, 7777));
}

#[test]
fn tombstone_begins_its_time_with_the_first_pass_and_goes_after_it() {
    let bytes = built(Builder::new(), &[(Some("a"), None), (Some("b"), Some("2"))]);
    let map = map(&[("a", 10), ("b", 11)]);
    let found = filtered(&bytes, &map, &rules());
    let batch = rewritten(&found);
    assert_eq!((batch.count, batch.delete_horizon_ms()), (2, Some(NOW_MS + 1000)));
    let timestamps: Vec<i64> =
        batch.records().expect("plain").map(|record| batch.timestamp_of(&record.expect("sound"))).collect();
    assert_eq!(timestamps, [500, 501]);
    let later = |now_ms: i64| filtered(batch.as_bytes(), &map, &Rules { now_ms, ..rules() });
    assert_eq!(later(NOW_MS + 999).kept, Kept::Whole);
    let over = later(NOW_MS + 1000);
    assert_eq!((rewritten(&over).count, rewritten(&over).delete_horizon_ms()), (1, Some(NOW_MS + 1000)));
}

#[test]
fn batch_without_records_stays_only_where_its_header_is_needed() {
    let bytes = built(Builder::new().producer(9, 2, 40), &[(Some("a"), Some("1"))]);
    let map = map(&[("a", 50)]);
    assert_eq!(filtered(&bytes, &map, &rules()).kept, Kept::Nothing);
    let last = |last: LastOfProducer| Rules { producers: BTreeMap::from([(9, last)]), ..rules() };
    assert_eq!(filtered(&bytes, &map, &last(LastOfProducer::Marker { epoch: 2 })).kept, Kept::Nothing);
    for rules in [last(LastOfProducer::Data { last_offset: 10 }), Rules { end_offset: 11, ..rules() }] {
        let found = filtered(&bytes, &map, &rules);
        let batch = rewritten(&found);
        assert_eq!((batch.count, batch.base_offset, batch.last_offset()), (0, 10, 10));
        assert_eq!((batch.last_sequence(), batch.max_timestamp), (40, 500));
        assert_eq!(filtered(batch.as_bytes(), &map, &rules).kept, Kept::Whole);
    }
}

#[test]
fn records_without_a_key_go_and_are_counted() {
    let bytes = built(Builder::new(), &[(None, Some("1")), (Some("b"), Some("2")), (None, Some("3"))]);
    let found = filtered(&bytes, &map(&[]), &rules());
    assert_eq!((found.records_kept, found.keyless), (1, 2));
}

#[test]
fn batch_above_what_the_map_holds_is_left_as_it_is() {
    let bytes = built(Builder::new(), &[(Some("a"), None), (None, None)]);
    let mut map = OffsetMap::new(4096, 0.9);
    map.reset(50);
    assert!(map.put(b"a", 12));
    map.mapped_upto(9);
    assert_eq!(filtered(&bytes, &map, &rules()).kept, Kept::Whole);
}

#[test]
fn damaged_records_are_an_error() {
    let bytes = built(Builder::new().compression(Compression::Zstd, None), &[(Some("a"), Some("1"))]);
    let mut damaged = bytes.clone();
    damaged[HEADER_SIZE..].fill(7);
    let (batch, _) = Batch::parse(&damaged).expect("whole");
    assert!(filter(&batch, &map(&[]), &mut Fates::default(), &rules()).is_err());
}

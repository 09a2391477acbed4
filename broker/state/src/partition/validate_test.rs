//! One test per rule; the batch is built, spoiled in one place, and judged.

use super::*;
use milena_protocol::records::{BatchHeader, Builder, HEADER_SIZE, Header, RecordIter};

const NOW: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
const CLIENT: Origin = Origin::Client { produce_version: 11 };
const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Kafka's defaults.
fn rules() -> Rules {
    Rules {
        compression: Target::Producer,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: HOUR,
        message_bytes_max: 1_048_588,
        compacted: false,
        inner: Inner::WhenNeeded,
        unpack: Limits::default(),
    }
}

fn to(compression: Compression) -> Rules {
    Rules { compression: Target::Codec { compression, level: None }, ..rules() }
}

fn append_time() -> Rules {
    Rules { timestamp_type: TimestampType::LogAppendTime, ..rules() }
}

fn built(builder: Builder, timestamps: &[i64]) -> Vec<u8> {
    let mut builder = builder;
    for (index, timestamp) in timestamps.iter().enumerate() {
        let key = format!("key {index}");
        let headers = [Header { key: b"h", value: None }];
        builder.append(*timestamp, Some(key.as_bytes()), Some(&[b'v'; 200]), &headers).unwrap();
    }
    builder.finish().unwrap()
}

/// Three records a second apart.
fn batch(codec: Compression) -> Vec<u8> {
    built(Builder::new().compression(codec, None), &[NOW - 2000, NOW, NOW - 1000])
}

/// The batch with a changed header and the CRC that fits it.
fn with_header(batch: &[u8], change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let (header, payload) = batch.split_first_chunk::<HEADER_SIZE>().unwrap();
    let mut header = BatchHeader::from_bytes(header);
    change(&mut header);
    [&header.sealed(payload), payload].concat()
}

/// The batch with another payload, length and CRC put right.
fn with_payload(batch: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = batch[..HEADER_SIZE].to_vec();
    out.extend_from_slice(payload);
    let length = (out.len() - 12) as i32;
    with_header(&out, |header| header.batch_length = length)
}

#[track_caller]
fn check(batch: &[u8], rules: &Rules, expected: Verdict) {
    assert_eq!(validate(batch, rules, CLIENT, NOW), expected);
}

#[track_caller]
fn rejected(batch: &[u8], rules: &Rules, expected: ErrorCode) -> (Vec<i32>, String) {
    refused_for(batch, rules, CLIENT, expected)
}

#[track_caller]
fn refused_for(batch: &[u8], rules: &Rules, origin: Origin, expected: ErrorCode) -> (Vec<i32>, String) {
    match validate(batch, rules, origin, NOW) {
        Verdict::Rejected { error, record_errors, message } if error == expected => {
            (record_errors.into_iter().map(|(index, _)| index).collect(), message)
        }
        other => panic!("wanted {expected:?}, got {other:?}"),
    }
}

#[track_caller]
fn rewritten(batch: &[u8], rules: &Rules) -> Vec<u8> {
    rewritten_for(batch, rules, CLIENT)
}

#[track_caller]
fn rewritten_for(batch: &[u8], rules: &Rules, origin: Origin) -> Vec<u8> {
    match validate(batch, rules, origin, NOW) {
        Verdict::Rewritten(bytes) => bytes,
        other => panic!("wanted a rewritten batch, got {other:?}"),
    }
}

/// The only batch of `bytes`, sound, and its records unpacked.
fn opened(bytes: &[u8]) -> (Batch<'_>, Vec<u8>) {
    let (batch, rest) = Batch::parse(bytes).unwrap();
    assert!(rest.is_empty());
    batch.verify_crc().unwrap();
    batch.check_count().unwrap();
    let mut payload = Vec::new();
    let codec = batch.attributes.compression().unwrap();
    compression::decompress(codec, batch.payload(), Limits::default(), &mut payload).unwrap();
    (batch, payload)
}

#[test]
fn a_sound_batch_of_any_codec_is_stored_as_sent() {
    for codec in Compression::ALL {
        for inner in [Inner::WhenNeeded, Inner::Always] {
            check(&batch(codec), &Rules { inner, ..rules() }, Verdict::AsSent);
            check(&batch(codec), &Rules { inner, ..to(codec) }, Verdict::AsSent);
        }
    }
}

#[test]
fn log_append_time_stamps_without_rewriting() {
    for codec in Compression::ALL {
        check(&batch(codec), &append_time(), Verdict::Stamp { log_append_time: NOW });
        let old = built(Builder::new().compression(codec, None), &[0, NOW * 2]);
        check(&old, &append_time(), Verdict::Stamp { log_append_time: NOW });
    }
}

#[test]
fn a_partition_needs_exactly_one_batch() {
    let sound = batch(Compression::None);
    rejected(&[], &rules(), ErrorCode::InvalidRecord);
    rejected(&sound[..sound.len() - 1], &rules(), ErrorCode::InvalidRecord);
    rejected(&[sound.clone(), sound.clone()].concat(), &rules(), ErrorCode::InvalidRecord);
    let coordinator =
        |bytes: &[u8]| refused_for(bytes, &rules(), Origin::Coordinator, ErrorCode::InvalidRecord);
    coordinator(&[sound.clone(), sound].concat());
}

#[test]
fn an_incomplete_batch_behind_the_first_is_dropped() {
    let sound = batch(Compression::None);
    let trailed = [&sound[..], &sound[..40]].concat();
    assert_eq!(rewritten(&trailed, &rules()), sound);
    let stamped = rewritten(&trailed, &append_time());
    let (stored, _) = opened(&stamped);
    assert_eq!((stored.timestamp_type(), stored.max_timestamp), (TimestampType::LogAppendTime, NOW));
}

#[test]
fn old_formats_are_invalid_and_unknown_ones_corrupt() {
    let with_magic = |magic: u8| {
        let mut bytes = batch(Compression::None);
        bytes[16] = magic;
        bytes
    };
    rejected(&with_magic(0), &rules(), ErrorCode::InvalidRecord);
    rejected(&with_magic(1), &rules(), ErrorCode::InvalidRecord);
    rejected(&with_magic(3), &rules(), ErrorCode::CorruptMessage);
    let short = with_header(&batch(Compression::None), |header| header.batch_length = 20);
    rejected(&short, &rules(), ErrorCode::CorruptMessage);
}

#[test]
fn a_flipped_bit_is_corrupt_whatever_else_is_wrong() {
    for codec in Compression::ALL {
        let mut bytes = with_header(&batch(codec), |header| header.count = 99);
        *bytes.last_mut().unwrap() ^= 1;
        rejected(&bytes, &rules(), ErrorCode::CorruptMessage);
    }
}

#[test]
fn the_size_is_judged_before_the_crc() {
    let mut bytes = batch(Compression::None);
    let max = Rules { message_bytes_max: bytes.len() as i32, ..rules() };
    check(&bytes, &max, Verdict::AsSent);
    bytes[20] ^= 1;
    let small = Rules { message_bytes_max: bytes.len() as i32 - 1, ..rules() };
    rejected(&bytes, &small, ErrorCode::MessageTooLarge);
}

#[test]
fn zstd_needs_produce_7() {
    for version in [3, 6] {
        let origin = Origin::Client { produce_version: version };
        refused_for(&batch(Compression::Zstd), &rules(), origin, ErrorCode::UnsupportedCompressionType);
        assert_eq!(validate(&batch(Compression::Lz4), &rules(), origin, NOW), Verdict::AsSent);
    }
    let origin = Origin::Client { produce_version: 7 };
    assert_eq!(validate(&batch(Compression::Zstd), &rules(), origin, NOW), Verdict::AsSent);
}

#[test]
fn an_unknown_codec_is_refused() {
    let bytes = with_header(&batch(Compression::None), |header| header.attributes.0 |= 5);
    rejected(&bytes, &rules(), ErrorCode::UnsupportedCompressionType);
}

#[test]
fn producers_count_offsets_from_zero() {
    let shifted = with_header(&batch(Compression::None), |header| header.base_offset = 5);
    rejected(&shifted, &rules(), ErrorCode::InvalidRecord);
    assert_eq!(validate(&shifted, &rules(), Origin::Coordinator, NOW), Verdict::AsSent);
}

#[test]
fn the_count_must_cover_the_offsets() {
    for codec in [Compression::None, Compression::Lz4] {
        for (count, last_offset_delta) in [(3, 3), (4, 2), (0, -1), (-1, 2), (3, -1)] {
            let bytes = with_header(&batch(codec), |header| {
                (header.count, header.last_offset_delta) = (count, last_offset_delta);
            });
            rejected(&bytes, &rules(), ErrorCode::InvalidRecord);
        }
    }
}

#[test]
fn the_payload_must_hold_what_the_header_counts() {
    for (codec, inner) in [(Compression::None, Inner::WhenNeeded), (Compression::Zstd, Inner::Always)] {
        let rules = Rules { inner, ..rules() };
        for count in [2, 4] {
            let bytes = with_header(&batch(codec), |header| {
                (header.count, header.last_offset_delta) = (count, count - 1);
            });
            rejected(&bytes, &rules, ErrorCode::InvalidRecord);
        }
    }
}

#[test]
fn clients_may_not_write_control_batches_and_coordinators_may() {
    let control = built(Builder::new().control(true), &[NOW]);
    rejected(&control, &rules(), ErrorCode::InvalidRecord);
    assert_eq!(validate(&control, &rules(), Origin::Coordinator, NOW), Verdict::AsSent);
    let zstd = to(Compression::Zstd);
    assert_eq!(validate(&control, &zstd, Origin::Coordinator, NOW), Verdict::AsSent, "never compressed");
}

#[test]
fn a_producer_id_needs_a_sequence() {
    check(&built(Builder::new().producer(9, 0, 0), &[NOW]), &rules(), Verdict::AsSent);
    rejected(&built(Builder::new().producer(9, 0, -1), &[NOW]), &rules(), ErrorCode::InvalidRecord);
}

#[test]
fn compacted_topics_name_each_record_without_key() {
    for codec in Compression::ALL {
        let mut builder = Builder::new().compression(codec, None);
        for key in [None, Some(&b"k"[..]), Some(&b""[..]), None] {
            builder.append(NOW, key, Some(b"v"), &[]).unwrap();
        }
        let bytes = builder.finish().unwrap();
        let compacted = Rules { compacted: true, ..rules() };
        let (records, _) = rejected(&bytes, &compacted, ErrorCode::InvalidRecord);
        assert_eq!(records, [0, 3], "{codec}");
        check(&batch(codec), &compacted, Verdict::AsSent);
        check(&bytes, &rules(), Verdict::AsSent);
    }
}

#[test]
fn timestamps_out_of_bounds_are_named() {
    let day = Rules { timestamp_before_max_ms: 24 * HOUR, ..rules() };
    for codec in Compression::ALL {
        let times = [NOW, NOW + HOUR + 1, NOW - 24 * HOUR - 1, NOW + HOUR, NOW - 24 * HOUR, -1];
        let bytes = built(Builder::new().compression(codec, None), &times);
        let (records, _) = rejected(&bytes, &day, ErrorCode::InvalidTimestamp);
        assert_eq!(records, [1, 2], "{codec}");
        let (records, _) = rejected(&bytes, &rules(), ErrorCode::InvalidTimestamp);
        assert_eq!(records, [1], "{codec}: nothing is too old by default");
        check(&built(Builder::new().compression(codec, None), &times[3..]), &day, Verdict::AsSent);
    }
}

#[test]
fn a_record_that_is_too_old_is_found_behind_a_maximum_in_bounds() {
    let day = Rules { timestamp_before_max_ms: 24 * HOUR, ..rules() };
    for codec in Compression::ALL {
        let bytes = built(Builder::new().compression(codec, None), &[NOW, NOW - 25 * HOUR]);
        let (records, _) = rejected(&bytes, &day, ErrorCode::InvalidTimestamp);
        assert_eq!(records, [1], "{codec}");
    }
}

#[test]
fn one_bad_timestamp_beside_a_missing_key_makes_it_a_matter_of_timestamps() {
    let mut builder = Builder::new();
    builder.append(NOW, None, None, &[]).unwrap();
    builder.append(NOW * 2, Some(b"k"), None, &[]).unwrap();
    let compacted = Rules { compacted: true, ..rules() };
    let (records, _) = rejected(&builder.finish().unwrap(), &compacted, ErrorCode::InvalidTimestamp);
    assert_eq!(records, [0, 1]);
}

#[test]
fn timestamps_at_the_ends_of_time_do_not_wrap() {
    for timestamp in [i64::MAX, i64::MIN] {
        let bytes = with_header(&built(Builder::new(), &[NOW]), |header| {
            (header.base_timestamp, header.max_timestamp) = (timestamp, timestamp);
        });
        let (records, _) = rejected(&bytes, &rules(), ErrorCode::InvalidTimestamp);
        assert_eq!(records, [0]);
    }
}

#[test]
fn a_batch_that_claims_append_time_is_refused_or_put_right() {
    for codec in Compression::ALL {
        let claims = built(Builder::new().compression(codec, None).log_append_time(NOW - 5), &[NOW, NOW]);
        let (records, _) = rejected(&claims, &append_time(), ErrorCode::InvalidTimestamp);
        assert_eq!(records, [0, 1], "{codec}");
        // Kafka takes the claimed time for that of all records, finds it in bounds, and corrects the type.
        let stored = rewritten(&claims, &rules());
        let (stored, _) = opened(&stored);
        assert_eq!((stored.timestamp_type(), stored.max_timestamp), (TimestampType::CreateTime, NOW - 5));
    }
}

#[test]
fn a_wrong_maximum_timestamp_is_corrected_where_the_records_are_seen() {
    let wrong = |codec| with_header(&batch(codec), |header| header.max_timestamp = NOW - 7);
    assert_eq!(rewritten(&wrong(Compression::None), &rules()), batch(Compression::None));
    let always = Rules { inner: Inner::Always, ..rules() };
    assert_eq!(rewritten(&wrong(Compression::Lz4), &always), batch(Compression::Lz4));
    check(&wrong(Compression::Lz4), &rules(), Verdict::AsSent);
}

#[test]
fn another_codec_is_rewritten_with_the_same_records() {
    for source in Compression::ALL {
        for target in Compression::ALL.into_iter().filter(|target| *target != source) {
            let producer = Builder::new().compression(source, None).producer(9, 3, 42).transactional(true);
            let sent = built(producer, &[NOW - 9, NOW]);
            let rewritten = rewritten_for(&sent, &to(target), Origin::Coordinator);
            let ((sent, sent_payload), (stored, payload)) = (opened(&sent), opened(&rewritten));
            assert_eq!(stored.attributes, sent.attributes.with_compression(target), "{source} to {target}");
            assert!(payload == sent_payload, "{source} to {target}");
            let fields = |batch: &BatchHeader| {
                (
                    batch.producer_id,
                    batch.producer_epoch,
                    batch.base_sequence,
                    batch.base_timestamp,
                    batch.max_timestamp,
                )
            };
            assert_eq!(fields(&stored), fields(&sent));
        }
    }
}

#[test]
fn recompression_carries_the_append_time() {
    let rules = Rules { timestamp_type: TimestampType::LogAppendTime, ..to(Compression::Zstd) };
    let stored = rewritten(&batch(Compression::Gzip), &rules);
    let (stored, _) = opened(&stored);
    assert_eq!((stored.timestamp_type(), stored.max_timestamp), (TimestampType::LogAppendTime, NOW));
}

#[test]
fn recompression_may_make_a_batch_too_large() {
    let sent = batch(Compression::Zstd);
    let rules = Rules { message_bytes_max: sent.len() as i32 + 50, ..to(Compression::None) };
    rejected(&sent, &rules, ErrorCode::MessageTooLarge);
}

#[test]
fn a_payload_that_does_not_unpack_is_refused_where_it_is_unpacked() {
    for codec in CODECS {
        let damaged = with_payload(&batch(codec), b"\x82SNAPPY no stream of any codec");
        rejected(&damaged, &to(Compression::None), ErrorCode::InvalidRecord);
        rejected(&damaged, &Rules { inner: Inner::Always, ..rules() }, ErrorCode::InvalidRecord);
        check(&damaged, &rules(), Verdict::AsSent);
    }
}

#[test]
fn a_bomb_is_too_large_where_it_is_unpacked() {
    let limits = Limits { bytes_max: 500, ratio_max: 1000 };
    for codec in CODECS {
        let compacted = Rules { compacted: true, unpack: limits, ..rules() };
        rejected(&batch(codec), &compacted, ErrorCode::MessageTooLarge);
    }
}

#[test]
fn records_that_do_not_count_up_are_renumbered() {
    for codec in Compression::ALL {
        let mut builder = Builder::new().compression(codec, None).producer(9, 3, 42);
        for offset in [0, 1, 5] {
            builder.append_at(offset, NOW + offset, Some(b"k"), None, std::iter::empty()).unwrap();
        }
        let gaps = with_header(&builder.finish().unwrap(), |header| header.last_offset_delta = 2);
        let stored = rewritten(&gaps, &Rules { inner: Inner::Always, ..rules() });
        let (stored, payload) = opened(&stored);
        let records: Vec<(i64, i64)> = RecordIter::new(&payload, 3)
            .map(|record| record.unwrap())
            .map(|record| (stored.offset_of(&record), stored.timestamp_of(&record)))
            .collect();
        assert_eq!(records, [(0, NOW), (1, NOW + 1), (2, NOW + 5)], "{codec}");
        assert_eq!((stored.producer_id, stored.producer_epoch, stored.base_sequence), (9, 3, 42));
    }
}

#[test]
fn record_errors_are_bounded() {
    let bytes = built(Builder::new(), &vec![NOW * 2; RECORD_ERRORS_MAX + 5]);
    let (records, message) = rejected(&bytes, &rules(), ErrorCode::InvalidTimestamp);
    assert_eq!(records.len(), RECORD_ERRORS_MAX);
    assert!(message.contains("1005"), "{message}");
}

proptest::proptest! {
    #[test]
    fn damaged_batches_never_panic_and_what_is_stored_is_sound(
        codec in proptest::sample::select(&Compression::ALL),
        target in proptest::sample::select(&Compression::ALL),
        flips in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 0..8), 1..4),
        compacted: bool,
        now in proptest::prelude::any::<i64>(),
    ) {
        let mut payload = batch(codec).split_off(HEADER_SIZE);
        for (position, bit) in flips {
            *position.get_mut(&mut payload) ^= 1u8 << bit;
        }
        let rules = Rules { compacted, inner: Inner::Always, ..to(target) };
        if let Verdict::Rewritten(stored) = validate(&with_payload(&batch(codec), &payload), &rules, CLIENT, now) {
            let (stored, payload) = opened(&stored);
            proptest::prop_assert!(RecordIter::new(&payload, stored.count).all(|record| record.is_ok()));
        }
    }
}

#[test]
fn transactional_batches_of_clients_are_refused_and_those_of_coordinators_are_not() {
    let of = |producer_id: i64, sequence: i32| {
        built(Builder::new().producer(producer_id, 0, sequence).transactional(true), &[NOW])
    };
    rejected(&of(9, 0), &rules(), ErrorCode::InvalidProducerIdMapping);
    let bare = with_header(&of(9, 0), |header| (header.producer_id, header.base_sequence) = (-1, -1));
    rejected(&bare, &rules(), ErrorCode::InvalidProducerIdMapping);
    assert_eq!(validate(&of(9, 0), &rules(), Origin::Coordinator, NOW), Verdict::AsSent);
}

#[test]
fn transactional_batch_needs_a_transactional_id() {
    let transactional = built(Builder::new().producer(9, 0, 0).transactional(true), &[NOW]);
    let error = ErrorCode::TransactionalIdAuthorizationFailed;
    assert_eq!(may_be_transactional(&transactional, None), Err(error));
    assert_eq!(may_be_transactional(&transactional, Some("id")), Ok(()));
    assert_eq!(may_be_transactional(&batch(Compression::None), None), Ok(()));
    // What cannot be read is not named here.
    assert_eq!(may_be_transactional(&transactional[..60], None), Ok(()));
    assert_eq!(may_be_transactional(&[], None), Ok(()));
}

#[test]
fn topics_of_the_coordinators_are_not_for_clients() {
    assert_eq!(may_write("orders"), Ok(()));
    assert_eq!(may_write("__consumer_offsets"), Err(ErrorCode::InvalidTopicException));
    assert_eq!(may_write("__transaction_state"), Err(ErrorCode::InvalidTopicException));
}

#[test]
fn only_an_admin_client_produces_into_topics_of_the_coordinators() {
    for (topic, client_id, allowed) in [
        ("orders", "a", true),
        ("orders", "__admin_client", true),
        ("__consumer_offsets", "__admin_client", true),
        ("__consumer_offsets", "__admin_client2", false),
        ("__consumer_offsets", "", false),
        ("__transaction_state", "a", false),
    ] {
        assert_eq!(may_produce(topic, client_id).is_ok(), allowed, "{topic} {client_id}");
    }
}

#![no_main]
//! Record batches: parsing, walking, and a leader's judgement of what a client sent.
//!
//! Input: one byte that chooses the topic's rules, then a run of batches. Their checksums are set right before they are
//! judged, because no fuzzer finds them and everything interesting is behind that check.

use libfuzzer_sys::fuzz_target;
use milena_fuzz::allocations::{self, decoding_bound};
use milena_protocol::records::control::EndTxnMarker;
use milena_protocol::records::{
    Batch, Batches, Compression, HEADER_SIZE, Limits, RecordIter, TimestampType, compression, record,
};
use milena_state::partition::validate::{Inner, Origin, Rules, Target, Verdict, validate};

const NOW_MS: i64 = 1_700_000_000_000;
const UNPACK: Limits = Limits { bytes_max: 256 << 10, ratio_max: 1100 };

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let ((), taken) = allocations::total(|| walk(bytes));
    assert!(taken <= decoding_bound(bytes.len()), "walking {} bytes took {taken}", bytes.len());
    let sealed = seal(bytes);
    unpack(&sealed);
    judge(&sealed, *choice);
});

/// Looks at everything that can be looked at without unpacking.
fn walk(bytes: &[u8]) {
    for batch in Batches::maybe_truncated(bytes) {
        let Ok(batch) = batch else { return };
        let _ = (batch.verify_crc(), batch.check_count(), batch.attributes.compression());
        let _ =
            (batch.next_offset(), batch.last_sequence(), batch.delete_horizon_ms(), EndTxnMarker::of(&batch));
        assert_eq!(batch.to_bytes(), batch.as_bytes()[..HEADER_SIZE], "a header is what it was read from");
        if let Some(records) = batch.records() {
            walk_records(&batch, records);
        }
    }
}

fn walk_records(batch: &Batch<'_>, records: RecordIter<'_>) {
    for record in records {
        let Ok(record) = record else { return };
        let _ = (batch.offset_of(&record), batch.timestamp_of(&record), EndTxnMarker::of_record(&record));
        let declared = record.headers.len();
        assert_eq!(record.headers.count(), declared, "checked headers are all there");
    }
}

/// The batches with the checksums that belong to them; what is no whole batch stays as it is.
fn seal(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(bytes.len());
    for batch in Batches::maybe_truncated(bytes).map_while(Result::ok) {
        sealed.extend(batch.header().sealed(batch.payload()));
        sealed.extend(batch.payload());
    }
    let whole = sealed.len();
    sealed.extend(&bytes[whole..]);
    sealed
}

fn unpack(bytes: &[u8]) {
    for batch in Batches::maybe_truncated(bytes).map_while(Result::ok).take(4) {
        let Ok(codec) = batch.attributes.compression() else { continue };
        let mut payload = Vec::new();
        if compression::decompress(codec, batch.payload(), UNPACK, &mut payload).is_ok() {
            let _ = record::validate(&payload, batch.count);
            walk_records(&batch, RecordIter::new(&payload, batch.count));
        }
    }
}

/// Oracles: what is accepted holds a batch with a true checksum, and what was rewritten needs no further change.
fn judge(bytes: &[u8], choice: u8) {
    let rules = rules(choice);
    let origin = match choice & 0x80 {
        0 => Origin::Client { produce_version: 12 },
        _ => Origin::Coordinator,
    };
    match validate(bytes, &rules, origin, NOW_MS) {
        Verdict::AsSent => assert!(Batch::parse(bytes).is_ok_and(|(batch, _)| batch.verify_crc().is_ok())),
        Verdict::Stamp { log_append_time } => {
            let (batch, _) = Batch::parse(bytes).expect("what is accepted is a batch");
            let header = batch.patched_header(7, 3, Some(log_append_time));
            let stamped = [&header[..], batch.payload()].concat();
            assert_eq!(Batch::parse(&stamped).expect("the length is as before").0.verify_crc(), Ok(()));
        }
        Verdict::Rewritten(rewritten) => {
            let (batch, rest) = Batch::parse(&rewritten).expect("what is rewritten is a batch");
            assert!(rest.is_empty(), "a rewritten batch is alone");
            assert_eq!(batch.verify_crc(), Ok(()));
            let sent = Batch::parse(bytes).expect("what is rewritten was a batch").0;
            if [sent.timestamp_type(), rules.timestamp_type].contains(&TimestampType::LogAppendTime) {
                // What carries the append time may not be sent again; and of what claims it, the claimed time is
                // stored as the latest, as in Kafka.
                return;
            }
            let rules = Rules { message_bytes_max: i32::MAX, ..rules };
            let again = validate(&rewritten, &rules, Origin::Coordinator, NOW_MS);
            let settled = matches!(again, Verdict::AsSent | Verdict::Stamp { .. });
            assert!(settled, "a rewritten batch is not accepted as it is: {again:?}");
        }
        Verdict::Rejected { .. } => {}
    }
}

fn rules(choice: u8) -> Rules {
    let compression = match choice & 7 {
        code @ 0..=4 => {
            let compression = Compression::from_code(code).expect("0 to 4 are codecs");
            Target::Codec { compression, level: None }
        }
        _ => Target::Producer,
    };
    let is_set = |bit: u8| choice & bit != 0;
    Rules {
        compression,
        timestamp_type: if is_set(0x08) { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
        timestamp_before_max_ms: if is_set(0x10) { 3_600_000 } else { i64::MAX },
        timestamp_after_max_ms: 3_600_000,
        message_bytes_max: 1 << 20,
        compacted: is_set(0x20),
        inner: if is_set(0x40) { Inner::Always } else { Inner::WhenNeeded },
        unpack: UNPACK,
    }
}

//! Parsing, patching and walking batches; golden bytes are checked in `tests/batches.rs`.

use super::*;
use crate::records::Builder;
use proptest::prelude::*;

fn batch(base_offset: i64) -> Vec<u8> {
    let mut builder = Builder::new().base_offset(base_offset).producer(7, 1, 5);
    for value in ["one", "two", "three"] {
        builder.append(1_000, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.finish().unwrap()
}

fn parse(bytes: &[u8]) -> Batch<'_> {
    Batch::parse(bytes).expect("the batch is sound").0
}

proptest! {
    #[test]
    fn header_fields_survive_the_bytes(bytes in prop::collection::vec(any::<u8>(), HEADER_SIZE)) {
        let bytes: [u8; HEADER_SIZE] = bytes.try_into().unwrap();
        prop_assert_eq!(BatchHeader::from_bytes(&bytes).to_bytes(), bytes);
    }

    #[test]
    fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..200), magic in 0..4u8) {
        let mut garbage = garbage;
        if let Some(byte) = garbage.get_mut(16) {
            *byte = magic;
        }
        if let Ok((batch, _)) = Batch::parse(&garbage) {
            let _ = (batch.verify_crc(), batch.last_offset(), batch.last_sequence(), batch.check_count());
            let _ = batch.records().map(|records| records.count());
        }
        prop_assert!(Batches::new(&garbage).count() <= garbage.len());
    }

    #[test]
    fn any_flipped_bit_behind_the_crc_is_found(position in 21..90usize, bit in 0..8) {
        let mut bytes = batch(0);
        let position = position.min(bytes.len() - 1);
        bytes[position] ^= 1u8 << bit;
        let is_crc_error = matches!(parse(&bytes).verify_crc(), Err(BatchError::Crc { .. }));
        prop_assert!(is_crc_error);
    }
}

#[test]
fn every_cut_asks_for_more() {
    let bytes = batch(0);
    for cut in 0..bytes.len() {
        let error = Batch::parse(&bytes[..cut]).unwrap_err();
        let needed = if cut <= 16 { HEADER_SIZE } else { bytes.len() };
        assert_eq!(error, BatchError::Truncated { needed, available: cut });
    }
}

#[test]
fn other_magics_and_short_lengths_are_told_apart() {
    let with = |position: usize, byte: u8| {
        let mut bytes = batch(0);
        bytes[position] = byte;
        Batch::parse(&bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(16, 0), BatchError::OldMagic(0));
    assert_eq!(with(16, 1), BatchError::OldMagic(1));
    assert_eq!(with(16, 3), BatchError::UnknownMagic(3));
    assert_eq!(with(16, 0xff), BatchError::UnknownMagic(-1));
    assert_eq!(with(11, 48), BatchError::TooSmall { length: 48 });
    assert!(matches!(with(8, 0xff), BatchError::TooSmall { length: ..0 }));
}

#[test]
fn unknown_codecs_are_an_error_and_not_a_guess() {
    for code in 5..8 {
        assert_eq!(Attributes(code).compression(), Err(BatchError::UnknownCompression(code as u8)));
        assert!(Attributes(code).is_compressed());
    }
}

#[test]
fn offset_and_epoch_are_patched_without_touching_the_crc() {
    let bytes = batch(0);
    let header = parse(&bytes).patched_header(1 << 40, 9, None);
    let stored = [&header, &bytes[HEADER_SIZE..]].concat();
    let stored = parse(&stored);
    assert_eq!((stored.base_offset, stored.leader_epoch, stored.crc), (1 << 40, 9, parse(&bytes).crc));
    assert_eq!((stored.last_offset(), stored.next_offset()), ((1 << 40) + 2, (1 << 40) + 3));
    stored.verify_crc().unwrap();
}

#[test]
fn append_time_is_stamped_with_a_new_crc() {
    let bytes = batch(0);
    let header = parse(&bytes).patched_header(10, 9, Some(77_000));
    let stored = [&header, &bytes[HEADER_SIZE..]].concat();
    let stored = parse(&stored);
    stored.verify_crc().unwrap();
    assert_eq!((stored.timestamp_type(), stored.max_timestamp), (TimestampType::LogAppendTime, 77_000));
    assert_eq!(stored.base_timestamp, 1_000, "the deltas still count from the producer's time");
    let record = stored.records().unwrap().next().unwrap().unwrap();
    assert_eq!(stored.timestamp_of(&record), 77_000);
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(sequence_add(i32::MAX, 0), i32::MAX);
    assert_eq!(sequence_add(i32::MAX, 1), 0);
    assert_eq!(sequence_add(i32::MAX - 1, 5), 3);
    assert_eq!(sequence_add(0, i32::MAX), i32::MAX);
    let header = BatchHeader { base_sequence: i32::MAX - 1, last_offset_delta: 2, ..*parse(&batch(0)) };
    assert_eq!(header.last_sequence(), 0);
    assert_eq!(BatchHeader { base_sequence: NO_SEQUENCE, ..header }.last_sequence(), NO_SEQUENCE);
}

#[test]
fn counts_must_cover_the_offsets() {
    let header = *parse(&batch(0));
    header.check_count().unwrap();
    for (count, last_offset_delta) in [(3, 1), (3, 3), (0, -1), (-1, -2), (i32::MIN, i32::MAX), (1, -1)] {
        let error = BatchHeader { count, last_offset_delta, ..header }.check_count().unwrap_err();
        assert_eq!(error, BatchError::Count { count, last_offset_delta });
    }
}

#[test]
fn a_run_of_batches_ends_at_its_end_or_its_first_error() {
    let run = [batch(0), batch(3), batch(6)].concat();
    let offsets: Vec<i64> = Batches::new(&run).map(|batch| batch.unwrap().base_offset).collect();
    assert_eq!(offsets, [0, 3, 6]);

    let cut = &run[..run.len() - 1];
    let results: Vec<bool> = Batches::new(cut).map(|batch| batch.is_ok()).collect();
    assert_eq!(results, [true, true, false]);
    let mut tolerant = Batches::maybe_truncated(cut);
    assert_eq!(tolerant.by_ref().map(|batch| batch.unwrap().base_offset).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(tolerant.rest(), &cut[batch(0).len() * 2..]);
}

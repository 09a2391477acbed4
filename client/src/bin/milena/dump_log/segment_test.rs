//! Segments made by the builder, whole and damaged.

use std::path::Path;

use milena_protocol::records::{Builder, Compression};

use super::*;

/// Two batches: offsets 0 and 1 of an idempotent producer, offset 2 compressed.
fn segment() -> Vec<u8> {
    let mut first = Builder::new().producer(7, 1, 3).leader_epoch(4);
    first.append(1_000_000_000_123, Some(b"k"), Some(b"v\n"), &[]).expect("it fits");
    first.append(1_000_000_000_124, None, None, &[]).expect("it fits");
    let mut bytes = first.finish().expect("it can be built");
    let mut second = Builder::new().base_offset(2).compression(Compression::Lz4, None);
    second.append(1_000_000_000_125, None, Some(b"compressed"), &[]).expect("it fits");
    bytes.extend(second.finish().expect("it can be built"));
    bytes
}

fn dump(bytes: &[u8], with_records: bool) -> (String, usize) {
    let mut lines = Lines::new(Path::new("x.log"), false);
    let mut dump = Dump { lines: &mut lines, values: Values::Plain, with_records };
    dump.run(&mut &*bytes, bytes.len() as u64).expect("memory can be read");
    (lines.text(), lines.damages())
}

#[test]
fn batches_and_records_are_shown() {
    let (text, damages) = dump(&segment(), true);
    assert_eq!(damages, 0, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines[0].starts_with("  batch base_offset=0 last_offset=1 records=2 position=0 "),
        "{}",
        lines[0]
    );
    assert!(
        lines[0].contains(" leader_epoch=4 compression=none max_timestamp=2001-09-09T01:46:40.124Z"),
        "{}",
        lines[0]
    );
    assert!(
        lines[0].contains(" producer_id=7 producer_epoch=1 base_sequence=3 last_sequence=4 "),
        "{}",
        lines[0]
    );
    let record =
        "  record offset=0 timestamp=2001-09-09T01:46:40.123Z key_size=1 value_size=2 key=k value=v\\n";
    assert_eq!(lines[1], record);
    assert_eq!(lines[2], "  record offset=1 timestamp=2001-09-09T01:46:40.124Z key_size=-1 value_size=-1");
    assert!(lines[3].contains(" compression=lz4 "), "{}", lines[3]);
    assert!(lines[4].ends_with("value=compressed"), "{}", lines[4]);
}

#[test]
fn records_are_left_out_unless_asked_for() {
    let (text, _) = dump(&segment(), false);
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_flipped_bit_a_cut_and_repeated_offsets_are_damage() {
    let mut flipped = segment();
    flipped[70] ^= 1;
    let (text, damages) = dump(&flipped, true);
    assert_eq!(damages, 1, "{text}");
    assert!(text.contains("damage position=0 reason=crc mismatch"), "{text}");
    assert!(text.contains("value=compressed"), "what follows is still shown: {text}");

    let whole = segment();
    for cut in [12, 20, whole.len() - 1] {
        let (text, damages) = dump(&whole[..cut], false);
        assert_eq!(damages, 1, "{cut}: {text}");
    }

    let twice = [segment(), segment()].concat();
    let (text, damages) = dump(&twice, false);
    assert_eq!(damages, 1, "{text}");
    assert!(text.contains("reason=offset 0 where 3 or more is due"), "{text}");
}

#[test]
fn reserved_space_is_no_damage() {
    let mut bytes = segment();
    bytes.resize(bytes.len() + 200_000, 0);
    let (text, damages) = dump(&bytes, false);
    assert_eq!(damages, 0, "{text}");
    assert!(text.contains("  zeros position="), "{text}");
    bytes.push(1);
    assert_eq!(dump(&bytes, false).1, 1);
}

#[test]
fn any_bytes_are_shown_or_named_as_damage() {
    proptest::proptest!(|(bytes: Vec<u8>, position: u16, byte: u8)| {
        dump(&bytes, true);
        let mut segment = segment();
        let position = usize::from(position) % segment.len();
        segment[position] = byte;
        dump(&segment, true);
    });
}

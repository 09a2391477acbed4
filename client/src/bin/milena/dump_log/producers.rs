//! Producer snapshots: version i16 = 1, CRC32C u32 of what follows, count i32, entries of 46 bytes.

use std::io::Read;

use milena_protocol::records::crc::crc32c;
use serde_json::json;

use super::lines::{Lines, Stop, unless_none};
use crate::time;

const VERSION: i16 = 1;
const CRC_START: usize = 6;
const HEADER_SIZE: usize = 10;
const ENTRY_SIZE: usize = 46;

/// A million producers take less.
const SIZE_MAX: u64 = 64 << 20;

pub fn dump(reader: &mut impl Read, lines: &mut Lines) -> Result<(), Stop> {
    let mut bytes = Vec::new();
    reader.take(SIZE_MAX).read_to_end(&mut bytes)?;
    let Some((header, entries)) = bytes.split_first_chunk::<HEADER_SIZE>() else {
        return Ok(lines.damage(0, &format!("{} bytes are no snapshot", bytes.len()))?);
    };
    let version = i16::from_be_bytes(part(header, 0));
    if version != VERSION {
        return Ok(lines.damage(0, &format!("version {version}"))?);
    }
    let (stored, computed) = (u32::from_be_bytes(part(header, 2)), crc32c(&[&bytes[CRC_START..]]));
    if stored != computed {
        lines.damage(2, &format!("crc mismatch: stored {stored:#010x}, computed {computed:#010x}"))?;
    }
    let count = i32::from_be_bytes(part(header, 6));
    if usize::try_from(count).ok().and_then(|count| count.checked_mul(ENTRY_SIZE)) != Some(entries.len()) {
        lines.damage(6, &format!("{count} entries are announced, {} bytes are there", entries.len()))?;
    }
    for entry in entries.chunks_exact(ENTRY_SIZE) {
        lines.entry(
            "producer",
            &[
                ("producer_id", json!(i64::from_be_bytes(part(entry, 0)))),
                ("producer_epoch", json!(i16::from_be_bytes(part(entry, 8)))),
                ("last_sequence", unless_none(i32::from_be_bytes(part(entry, 10)))),
                ("last_offset", unless_none(i64::from_be_bytes(part(entry, 14)))),
                ("offset_delta", json!(i32::from_be_bytes(part(entry, 22)))),
                ("timestamp", json!(time::format(i64::from_be_bytes(part(entry, 26))))),
                ("coordinator_epoch", unless_none(i32::from_be_bytes(part(entry, 34)))),
                ("transaction_first_offset", unless_none(i64::from_be_bytes(part(entry, 38)))),
            ],
        )?;
    }
    Ok(())
}

fn part<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    *bytes[start..].first_chunk().expect("within a header or an entry of known size")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn snapshot() -> Vec<u8> {
        let mut body = 1_i32.to_be_bytes().to_vec();
        body.extend(7_i64.to_be_bytes());
        body.extend(1_i16.to_be_bytes());
        body.extend(9_i32.to_be_bytes());
        body.extend(99_i64.to_be_bytes());
        body.extend(4_i32.to_be_bytes());
        body.extend(1_000_000_000_123_i64.to_be_bytes());
        body.extend((-1_i32).to_be_bytes());
        body.extend((-1_i64).to_be_bytes());
        [&VERSION.to_be_bytes()[..], &crc32c(&[&body]).to_be_bytes(), &body].concat()
    }

    fn dumped(bytes: &[u8]) -> (String, usize) {
        let mut lines = Lines::new(Path::new("x.snapshot"), false);
        dump(&mut &*bytes, &mut lines).expect("memory can be read");
        (lines.text(), lines.damages())
    }

    #[test]
    fn producers_are_shown() {
        let expected = "  producer producer_id=7 producer_epoch=1 last_sequence=9 last_offset=99 offset_delta=4 \
                        timestamp=2001-09-09T01:46:40.123Z\n";
        assert_eq!(dumped(&snapshot()), (expected.to_owned(), 0));
    }

    #[test]
    fn a_flipped_bit_and_a_cut_are_damage() {
        let mut flipped = snapshot();
        flipped[12] ^= 1;
        assert!(dumped(&flipped).0.contains("crc mismatch"));
        assert!(dumped(&snapshot()[..30]).1 > 0);
        assert_eq!(dumped(&[0]).1, 1);
    }
}

//! Indexes: entries of one size, in order. Space that is reserved for more is zero.

use std::io::{self, Read};

use serde_json::json;

use super::lines::{Lines, Stop};
use crate::time;

/// `.index`: relative offset u32, position u32.
pub fn offsets(reader: &mut impl Read, base_offset: i64, lines: &mut Lines) -> Result<(), Stop> {
    let mut last = None;
    entries::<8>(reader, lines, |lines, at, entry| {
        let offset = base_offset.wrapping_add(i64::from(u32::from_be_bytes(part(entry, 0))));
        let position = u32::from_be_bytes(part(entry, 4));
        lines.entry("entry", &[("offset", json!(offset)), ("position", json!(position))])?;
        if last.is_some_and(|last| (offset, position) <= last) {
            lines.damage(at, "not above the entry before")?;
        }
        last = Some((offset, position));
        Ok(())
    })
}

/// `.timeindex`: timestamp i64, relative offset u32.
pub fn times(reader: &mut impl Read, base_offset: i64, lines: &mut Lines) -> Result<(), Stop> {
    let mut last = None;
    entries::<12>(reader, lines, |lines, at, entry| {
        let timestamp = i64::from_be_bytes(part(entry, 0));
        let offset = base_offset.wrapping_add(i64::from(u32::from_be_bytes(part(entry, 8))));
        let shown = time::format(timestamp);
        lines.entry(
            "entry",
            &[("timestamp", json!(shown)), ("timestamp_ms", json!(timestamp)), ("offset", json!(offset))],
        )?;
        if last.is_some_and(|last| timestamp < last) {
            lines.damage(at, "earlier than the entry before")?;
        }
        last = Some(timestamp);
        Ok(())
    })
}

/// `.txnindex`: version i16, producer id, first, last and last stable offset i64.
pub fn transactions(reader: &mut impl Read, lines: &mut Lines) -> Result<(), Stop> {
    entries::<34>(reader, lines, |lines, at, entry| {
        let version = i16::from_be_bytes(part(entry, 0));
        let [producer_id, first, last, stable] =
            [2, 10, 18, 26].map(|at| i64::from_be_bytes(part(entry, at)));
        let fields = [
            ("producer_id", json!(producer_id)),
            ("first_offset", json!(first)),
            ("last_offset", json!(last)),
            ("last_stable_offset", json!(stable)),
        ];
        lines.entry("aborted", &fields)?;
        if version != 0 {
            lines.damage(at, &format!("version {version}"))?;
        }
        if first > last {
            lines.damage(at, "ends before it begins")?;
        }
        Ok(())
    })
}

/// Calls `each` with every entry and its position, until the end or reserved space.
fn entries<const N: usize>(
    reader: &mut impl Read,
    lines: &mut Lines,
    mut each: impl FnMut(&mut Lines, u64, &[u8; N]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut position = 0;
    loop {
        let mut entry = [0; N];
        let filled = fill(reader, &mut entry)?;
        if filled == 0 {
            return Ok(());
        }
        if filled < N {
            return Ok(lines.damage(position, &format!("{filled} bytes are not an entry of {N}"))?);
        }
        if entry == [0; N] {
            return reserved(reader, lines, position);
        }
        each(lines, position, &entry)?;
        position += N as u64;
    }
}

/// Behind an entry of zeros all must be zero.
fn reserved(reader: &mut impl Read, lines: &mut Lines, position: u64) -> Result<(), Stop> {
    let mut buffer = [0; 64 * 1024];
    loop {
        let filled = fill(reader, &mut buffer)?;
        if buffer[..filled].iter().any(|byte| *byte != 0) {
            return Ok(lines.damage(position, "an entry of zeros before others")?);
        }
        if filled < buffer.len() {
            return Ok(lines.entry("zeros", &[("position", json!(position))])?);
        }
    }
}

/// Fills the buffer unless the file ends before; gives the bytes read.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn part<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    *bytes[start..].first_chunk().expect("within an entry of known size")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn check(dump: impl Fn(&mut &[u8], &mut Lines) -> Result<(), Stop>, bytes: &[u8], expected: &[&str]) {
        let mut lines = Lines::new(Path::new("x"), false);
        dump(&mut &*bytes, &mut lines).expect("memory can be read");
        assert_eq!(lines.text().lines().map(str::trim).collect::<Vec<_>>(), expected);
    }

    fn offset_entry(offset: u32, position: u32) -> Vec<u8> {
        [offset.to_be_bytes(), position.to_be_bytes()].concat()
    }

    #[test]
    fn offset_entries_are_relative_to_the_name() {
        let bytes = [offset_entry(1, 100), offset_entry(5, 900)].concat();
        let dump = |reader: &mut &[u8], lines: &mut Lines| offsets(reader, 40, lines);
        check(dump, &bytes, &["entry offset=41 position=100", "entry offset=45 position=900"]);
        let reserved = [bytes.clone(), vec![0; 80]].concat();
        check(
            dump,
            &reserved,
            &["entry offset=41 position=100", "entry offset=45 position=900", "zeros position=16"],
        );
        let cut = &bytes[..11];
        check(
            dump,
            cut,
            &["entry offset=41 position=100", "damage position=8 reason=3 bytes are not an entry of 8"],
        );
        let swapped = [offset_entry(5, 900), offset_entry(1, 100)].concat();
        let expected = [
            "entry offset=45 position=900",
            "entry offset=41 position=100",
            "damage position=8 reason=not above the entry before",
        ];
        check(dump, &swapped, &expected);
        let hole = [vec![0; 8], offset_entry(1, 1)].concat();
        check(dump, &hole, &["damage position=0 reason=an entry of zeros before others"]);
    }

    #[test]
    fn time_entries_have_a_time_and_an_offset() {
        let bytes = [&1_000_000_000_123_i64.to_be_bytes()[..], &2_u32.to_be_bytes()].concat();
        let expected = ["entry timestamp=2001-09-09T01:46:40.123Z timestamp_ms=1000000000123 offset=42"];
        check(|reader, lines| times(reader, 40, lines), &bytes, &expected);
    }

    #[test]
    fn aborted_transactions_have_their_offsets() {
        let numbers = [7, 10, 20, 15_i64].map(i64::to_be_bytes).concat();
        let bytes = [&[0, 0][..], &numbers].concat();
        let expected = ["aborted producer_id=7 first_offset=10 last_offset=20 last_stable_offset=15"];
        check(|reader, lines| transactions(reader, lines), &bytes, &expected);
    }
}

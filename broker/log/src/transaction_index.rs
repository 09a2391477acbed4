//! The `.txnindex` file of a segment: the aborted transactions whose marker lies in that segment, in the
//! order of their markers. A `read_committed` reader is told which of them overlap what it gets.
//!
//! ```text
//! entries of 34 bytes: version i16 = 0 · producer id i64 · first offset i64 · last offset i64 (the
//! marker's) · last stable offset i64 when the transaction ended
//! ```
//!
//! Bytes and search only; the segment owns the file. Most segments have no aborted transaction, and then
//! no file.

use crate::producers::CompletedTransaction;

/// Size of an entry in the file.
pub const ENTRY_SIZE: usize = 34;
const VERSION: i16 = 0;

/// One aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Offset of the abort marker.
    pub last_offset: i64,
    pub last_stable_offset: i64,
}

/// Why the bytes are not a transaction index of their segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("transaction index of {size} bytes does not hold whole entries")]
    Size { size: usize },
    #[error("transaction index entry {index} has version {version}")]
    UnknownVersion { index: usize, version: i16 },
    #[error("transaction index entry {index} ends at {last_offset}, its segment starts at {base_offset}")]
    BeforeSegment { index: usize, last_offset: i64, base_offset: i64 },
    #[error("transaction index entry {index} is out of order or impossible")]
    OutOfOrder { index: usize },
}

impl AbortedTransaction {
    /// The index entry of an ended transaction; none for a committed one.
    pub fn of(transaction: &CompletedTransaction) -> Option<Self> {
        (!transaction.committed).then_some(AbortedTransaction {
            producer_id: transaction.producer_id,
            first_offset: transaction.first_offset,
            last_offset: transaction.last_offset,
            last_stable_offset: transaction.last_stable_offset,
        })
    }

    pub fn to_bytes(&self) -> [u8; ENTRY_SIZE] {
        let mut bytes = [0; ENTRY_SIZE];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        for (field, value) in bytes[2..].chunks_exact_mut(8).zip(fields) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    fn from_bytes(index: usize, bytes: &[u8; ENTRY_SIZE]) -> Result<Self, Error> {
        let version = i16::from_be_bytes([bytes[0], bytes[1]]);
        if version != VERSION {
            return Err(Error::UnknownVersion { index, version });
        }
        let mut fields = [0_i64; 4];
        for (value, field) in fields.iter_mut().zip(bytes[2..].as_chunks::<8>().0) {
            *value = i64::from_be_bytes(*field);
        }
        let [producer_id, first_offset, last_offset, last_stable_offset] = fields;
        Ok(AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset })
    }
}

/// Offset of the marker of an entry, whatever the rest of it says.
pub(crate) fn last_offset(bytes: &[u8; ENTRY_SIZE]) -> i64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[18..26]);
    i64::from_be_bytes(field)
}

/// The bytes of a file with these entries.
pub fn encode(entries: &[AbortedTransaction]) -> Vec<u8> {
    entries.iter().flat_map(AbortedTransaction::to_bytes).collect()
}

/// Reads the whole file of the segment that starts at `base_offset`, and checks that it can be its own.
pub fn decode(bytes: &[u8], base_offset: i64) -> Result<Vec<AbortedTransaction>, Error> {
    let (chunks, rest) = bytes.as_chunks::<ENTRY_SIZE>();
    if !rest.is_empty() {
        return Err(Error::Size { size: bytes.len() });
    }
    let mut entries: Vec<AbortedTransaction> = Vec::with_capacity(chunks.len());
    for (index, chunk) in chunks.iter().enumerate() {
        let entry = AbortedTransaction::from_bytes(index, chunk)?;
        if entry.last_offset < base_offset {
            let last_offset = entry.last_offset;
            return Err(Error::BeforeSegment { index, last_offset, base_offset });
        }
        let after_previous = entries.last().is_none_or(|previous| previous.last_offset < entry.last_offset);
        let possible = entry.first_offset >= 0 && entry.first_offset < entry.last_offset;
        if !after_previous || !possible {
            return Err(Error::OutOfOrder { index });
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Adds to `found` the transactions that overlap `[from_offset, upto_offset)`. True when no later segment
/// can hold another: what was unstable at that end lies beyond the range.
pub fn collect(
    entries: &[AbortedTransaction],
    from_offset: i64,
    upto_offset: i64,
    found: &mut Vec<AbortedTransaction>,
) -> bool {
    for entry in entries {
        if entry.last_offset >= from_offset && entry.first_offset < upto_offset {
            found.push(*entry);
        }
        if entry.last_stable_offset >= upto_offset {
            return true;
        }
    }
    false
}

/// Entries left when the log is cut to end at `log_end_offset`.
pub fn kept_below(entries: &[AbortedTransaction], log_end_offset: i64) -> &[AbortedTransaction] {
    &entries[..entries.partition_point(|entry| entry.last_offset < log_end_offset)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64, stable: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset: stable }
    }

    #[test]
    fn bytes_round_trip() {
        let entries = [aborted(1, 5, 20, 10), aborted(2, 10, 30, 31)];
        let bytes = encode(&entries);
        assert_eq!(bytes.len(), 2 * ENTRY_SIZE);
        assert_eq!(last_offset(&entries[1].to_bytes()), 30);
        assert_eq!(decode(&bytes, 0).as_deref(), Ok(&entries[..]));
    }

    #[test]
    fn damage_is_named() {
        let bytes = encode(&[aborted(1, 5, 20, 10), aborted(2, 10, 30, 31)]);
        assert_eq!(decode(&bytes[..40], 0), Err(Error::Size { size: 40 }));
        let before = Error::BeforeSegment { index: 0, last_offset: 20, base_offset: 21 };
        assert_eq!(decode(&bytes, 21), Err(before));
        let mut version = bytes.clone();
        version[ENTRY_SIZE + 1] = 9;
        assert_eq!(decode(&version, 0), Err(Error::UnknownVersion { index: 1, version: 9 }));
        let swapped = encode(&[aborted(2, 10, 30, 31), aborted(1, 5, 20, 10)]);
        assert_eq!(decode(&swapped, 0), Err(Error::OutOfOrder { index: 1 }));
    }

    #[test]
    fn collect_finds_overlaps_and_stops_when_the_rest_lies_beyond() {
        let entries = [aborted(1, 5, 20, 10), aborted(2, 10, 30, 31), aborted(3, 40, 50, 51)];
        let check = |from, upto, producers: &[i64], done| {
            let mut found = Vec::new();
            assert_eq!(collect(&entries, from, upto, &mut found), done, "[{from}, {upto})");
            let found: Vec<i64> = found.iter().map(|entry| entry.producer_id).collect();
            assert_eq!(found, producers, "[{from}, {upto})");
        };
        check(0, 5, &[], true);
        check(0, 6, &[1], true);
        check(0, 11, &[1, 2], true);
        check(20, 41, &[1, 2, 3], true);
        check(21, 41, &[2, 3], true);
        check(31, 40, &[], true);
        check(51, 60, &[], false);
    }

    #[test]
    fn truncation_keeps_markers_below_the_end() {
        let entries = [aborted(1, 5, 20, 10), aborted(2, 10, 30, 31)];
        assert_eq!(kept_below(&entries, 30), &entries[..1]);
        assert_eq!(kept_below(&entries, 31), &entries[..]);
    }
}

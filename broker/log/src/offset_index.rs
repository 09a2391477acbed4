//! `.index`: where in a segment's file an offset is. 8 bytes per entry: offset relative to the segment's base,
//! position; big endian.
//!
//! An entry says: the batch at `position` begins at or below the offset, and the batch that holds the offset is
//! at `position` or behind it. Newer Kafkas and we note the last offset of the batch at `position`; older ones
//! that of a whole append. An index is a hint: whoever uses an entry checks the batch it leads to, and a wrong
//! or missing index is built again.

use crate::index_file::Entry;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub relative_offset: u32,
    pub position: u32,
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        OffsetEntry { relative_offset: word(0), position: word(4) }
    }

    fn key(&self) -> i64 {
        i64::from(self.relative_offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kafkas() {
        let entry = OffsetEntry { relative_offset: 0x0102, position: 0x0304_0506 };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        assert_eq!(bytes, [0, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(OffsetEntry::decode(&bytes), entry);
    }
}

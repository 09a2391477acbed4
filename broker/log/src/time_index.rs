//! `.timeindex`: the largest timestamp up to an offset. 12 bytes per entry: timestamp, offset relative to the
//! segment's base; big endian.
//!
//! An entry says: no batch before the one that ends at the offset has a larger timestamp, and that one has
//! exactly this. Entries are made together with those of the offset index, when the timestamp has grown; the
//! last one of a sealed segment is its largest timestamp.

use crate::index_file::Entry;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp: i64,
    pub relative_offset: u32,
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let mut timestamp = [0; 8];
        timestamp.copy_from_slice(&bytes[..8]);
        TimeEntry {
            timestamp: i64::from_be_bytes(timestamp),
            relative_offset: u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
        }
    }

    fn key(&self) -> i64 {
        self.timestamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kafkas() {
        let entry = TimeEntry { timestamp: 0x0102_0304, relative_offset: 0x0506 };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        assert_eq!(bytes, [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 5, 6]);
        assert_eq!(TimeEntry::decode(&bytes), entry);
    }
}

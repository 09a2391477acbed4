//! The records of an uncompressed payload as a leader looks at them: where they begin and end, their deltas, and
//! whether there is a key.
//!
//! Every record of every uncompressed batch passes here, so this walk makes nothing else and names no error: whoever
//! must know what is wrong asks [`RecordIter`](super::RecordIter), which accepts exactly the same payloads.

use super::varint;

/// What the rules for batches ask of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skimmed {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub has_key: bool,
}

/// Shows each of `count` records to `each`, in order. Whether all of them are well formed and fill the payload exactly;
/// when they do not, `each` has seen those before the first that is not.
#[inline]
pub fn skim(payload: &[u8], count: i32, mut each: impl FnMut(i32, Skimmed)) -> bool {
    let mut cursor = Cursor { bytes: payload, at: 0 };
    for index in 0..count {
        match cursor.record() {
            Some(record) => each(index, record),
            None => return false,
        }
    }
    cursor.at == payload.len()
}

/// A place in the payload that only moves forward.
///
/// Fields are checked against the end of the payload, not of their record: fields that end where the record's size
/// says have crossed nothing on the way. No sum overflows, as each begins at a place that is in the payload.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    #[inline(always)]
    fn record(&mut self) -> Option<Skimmed> {
        let size = Zigzag(self.zigzag()?).length()?;
        let end = self.at + size;
        // Attributes: unused by every version of Kafka so far. An empty record has none and ends before them.
        self.at += 1;
        let timestamp_delta = self.i64()?;
        let offset_delta = Zigzag(self.zigzag()?).value();
        let has_key = self.pass_bytes()?;
        self.pass_bytes()?;
        let header_count = Zigzag(self.zigzag()?);
        if header_count.0 != 0 {
            self.pass_headers(header_count)?;
        }
        (self.at == end).then_some(Skimmed { timestamp_delta, offset_delta, has_key })
    }

    /// Passes a nullable byte string; whether it is not null.
    #[inline(always)]
    fn pass_bytes(&mut self) -> Option<bool> {
        let length = Zigzag(self.zigzag()?).length();
        self.at += length.unwrap_or(0);
        Some(length.is_some())
    }

    #[inline(never)]
    fn pass_headers(&mut self, count: Zigzag) -> Option<()> {
        for _ in 0..count.length()? {
            let has_key = self.pass_bytes()?;
            self.pass_bytes()?;
            if !has_key {
                return None;
            }
        }
        // The value of the last header may be cut off; behind every other field there is one more number to read.
        (self.at <= self.bytes.len()).then_some(())
    }

    /// The next number as it is encoded. One and two bytes hold what most records have: lengths below 8 KiB, deltas
    /// below 8,192.
    #[inline(always)]
    fn zigzag(&mut self) -> Option<u32> {
        let low = u32::from(*self.bytes.get(self.at)?);
        if low < 0x80 {
            self.at += 1;
            return Some(low);
        }
        match self.bytes.get(self.at + 1) {
            Some(high @ 0..0x80) => {
                self.at += 2;
                Some(low & 0x7f | u32::from(*high) << 7)
            }
            _ => self.long_zigzag(),
        }
    }

    #[inline(always)]
    fn i64(&mut self) -> Option<i64> {
        let begin = self.at;
        match (self.bytes.get(begin)?, self.bytes.get(begin + 1)) {
            (low @ 0..0x80, _) => {
                self.at += 1;
                Some(i64::from(Zigzag(u32::from(*low)).value()))
            }
            (low, Some(high @ 0..0x80)) => {
                self.at += 2;
                Some(i64::from(Zigzag(u32::from(low & 0x7f) | u32::from(*high) << 7).value()))
            }
            _ => self.long_i64(),
        }
    }

    #[cold]
    #[inline(never)]
    fn long_zigzag(&mut self) -> Option<u32> {
        let mut rest = &self.bytes[self.at..];
        let value = varint::read_i32(&mut rest)?;
        self.at = self.bytes.len() - rest.len();
        Some(varint::zigzag_i32(value))
    }

    #[cold]
    #[inline(never)]
    fn long_i64(&mut self) -> Option<i64> {
        let mut rest = &self.bytes[self.at..];
        let value = varint::read_i64(&mut rest)?;
        self.at = self.bytes.len() - rest.len();
        Some(value)
    }
}

/// A signed number as it is encoded: the sign is the lowest bit, so that it need not be decoded to be told a length.
#[derive(Clone, Copy)]
struct Zigzag(u32);

impl Zigzag {
    /// `None` when negative.
    #[inline(always)]
    fn length(self) -> Option<usize> {
        (self.0 & 1 == 0).then_some((self.0 >> 1) as usize)
    }

    #[inline(always)]
    fn value(self) -> i32 {
        (self.0 >> 1) as i32 ^ -((self.0 & 1) as i32)
    }
}

#[cfg(test)]
#[path = "skim_test.rs"]
mod tests;

//! The records of an uncompressed payload, borrowed from it.

use super::batch::BatchError;
use super::varint;

/// What is wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("payload ends early")]
    Truncated,
    #[error("invalid record size {0}")]
    Size(i32),
    #[error("invalid number in the record's fields")]
    Number,
    #[error("key of {0} bytes does not fit the record")]
    Key(i32),
    #[error("value of {0} bytes does not fit the record")]
    Value(i32),
    #[error("invalid header count {0}")]
    HeaderCount(i32),
    #[error("invalid header {0}")]
    Header(i32),
    #[error("{0} bytes left behind the record's last header")]
    TrailingBytes(usize),
    #[error("offset delta {found} where {expected} follows")]
    OffsetDelta { expected: i32, found: i32 },
}

/// One record. Offset and timestamp are relative to those of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unused by every version of Kafka so far.
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
    /// Bytes of the record in its payload, the length in front included.
    pub size_bytes: usize,
}

impl<'a> Record<'a> {
    /// The first record of `payload`, and what follows it. All lengths are checked, those of the
    /// headers too.
    pub fn parse(payload: &'a [u8]) -> Result<(Self, &'a [u8]), RecordError> {
        let mut rest = payload;
        let size = varint::read_i32(&mut rest).ok_or(RecordError::Truncated)?;
        if size < 0 {
            return Err(RecordError::Size(size));
        }
        if size as usize > rest.len() {
            return Err(RecordError::Truncated);
        }
        let (body, after) = rest.split_at(size as usize);
        let size_bytes = payload.len() - after.len();
        Ok((Self::parse_body(body, size_bytes)?, after))
    }

    fn parse_body(body: &'a [u8], size_bytes: usize) -> Result<Self, RecordError> {
        let (&attributes, mut rest) = body.split_first().ok_or(RecordError::Size(0))?;
        let timestamp_delta = varint::read_i64(&mut rest).ok_or(RecordError::Number)?;
        let offset_delta = varint::read_i32(&mut rest).ok_or(RecordError::Number)?;
        let key = read_bytes(&mut rest).map_err(RecordError::Key)?;
        let value = read_bytes(&mut rest).map_err(RecordError::Value)?;
        let headers = Headers::parse(rest)?;
        let attributes = attributes as i8;
        Ok(Self { attributes, timestamp_delta, offset_delta, key, value, headers, size_bytes })
    }
}

/// A header of a record. Keys are UTF-8 by Kafka's convention, which no broker checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// The headers of one record, already checked, walked by iterating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    count: i32,
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    fn parse(mut bytes: &'a [u8]) -> Result<Self, RecordError> {
        let count = varint::read_i32(&mut bytes).ok_or(RecordError::Number)?;
        // Each header takes two bytes at least, so a count beyond that is refused before the walk.
        if count < 0 || count as usize > bytes.len() / 2 {
            return Err(RecordError::HeaderCount(count));
        }
        let headers = Self { count, rest: bytes };
        for index in 0..count {
            read_header(&mut bytes).ok_or(RecordError::Header(index))?;
        }
        if bytes.is_empty() { Ok(headers) } else { Err(RecordError::TrailingBytes(bytes.len())) }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        read_header(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count as usize, Some(self.count as usize))
    }
}

impl ExactSizeIterator for Headers<'_> {}

fn read_header<'a>(bytes: &mut &'a [u8]) -> Option<Header<'a>> {
    let key = read_bytes(bytes).ok()??;
    let value = read_bytes(bytes).ok()?;
    Some(Header { key, value })
}

/// A nullable byte string behind its length; any negative length means null, as in Kafka.
/// Errors: the length that does not fit (-1 when the length itself is cut).
fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, i32> {
    let length = varint::read_i32(bytes).ok_or(-1)?;
    if length < 0 {
        return Ok(None);
    }
    let (head, tail) = bytes.split_at_checked(length as usize).ok_or(length)?;
    *bytes = tail;
    Ok(Some(head))
}

/// Walks `count` records and insists that they fill the payload exactly. Ends after the first error.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    count: i32,
    index: i32,
}

impl<'a> RecordIter<'a> {
    /// `count` as the batch header declares it.
    pub fn new(payload: &'a [u8], count: i32) -> Self {
        Self { rest: payload, count: count.max(0), index: 0 }
    }

    fn fail(&mut self, error: BatchError) -> Option<Result<Record<'a>, BatchError>> {
        self.rest = &[];
        self.index = self.count;
        Some(Err(error))
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            let (count, left) = (self.count, self.rest.len());
            return if left == 0 { None } else { self.fail(BatchError::TrailingBytes { count, left }) };
        }
        match Record::parse(self.rest) {
            Ok((record, rest)) => {
                self.rest = rest;
                self.index += 1;
                Some(Ok(record))
            }
            Err(error) => self.fail(BatchError::Record { index: self.index, error }),
        }
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

/// What a walk over all records of a batch finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The largest timestamp delta and the offset delta of the first record that has it; `None` for a
    /// batch without records.
    pub max_timestamp: Option<(i64, i32)>,
    pub keyless_count: i32,
}

/// Checks that `payload` holds exactly `count` records with the offset deltas 0, 1, 2 ….
pub fn validate(payload: &[u8], count: i32) -> Result<Walked, BatchError> {
    let mut walked = Walked { max_timestamp: None, keyless_count: 0 };
    for (expected, record) in (0..).zip(RecordIter::new(payload, count)) {
        let record = record?;
        if record.offset_delta != expected {
            let error = RecordError::OffsetDelta { expected, found: record.offset_delta };
            return Err(BatchError::Record { index: expected, error });
        }
        if walked.max_timestamp.is_none_or(|(delta, _)| record.timestamp_delta > delta) {
            walked.max_timestamp = Some((record.timestamp_delta, expected));
        }
        walked.keyless_count += i32::from(record.key.is_none());
    }
    Ok(walked)
}

#[cfg(test)]
#[path = "record_test.rs"]
mod tests;

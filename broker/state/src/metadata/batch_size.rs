//! How much one entry of the metadata log may carry.
//!
//! An entry is appended, read and applied as a whole, and one that the log refuses stops the controller for good.
//! So nothing gets into an entry without being counted, in records and in bytes: texts come from clients.

use milena_protocol::ErrorCode;

use super::command::ApiError;
use super::record::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Record};

/// Bytes of a batch that are not records: its format and its count.
const HEADER_BYTES: usize = 1 + 5;
/// Bytes of the length in front of a record, at most.
const LENGTH_BYTES: usize = 5;

/// Size of the records that are to become one entry; never less than what they encode to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchSize {
    records: usize,
    bytes: usize,
}

impl BatchSize {
    pub fn of(records: &[Record]) -> Self {
        records.iter().fold(Self::default(), |size, record| size.and(Self::of_one(record)))
    }

    fn of_one(record: &Record) -> Self {
        Self { records: 1, bytes: LENGTH_BYTES + record.encode().len() }
    }

    /// Both together.
    pub fn and(self, more: Self) -> Self {
        Self { records: self.records + more.records, bytes: self.bytes + more.bytes }
    }

    pub fn fits(self) -> bool {
        self.records <= BATCH_RECORDS_MAX && HEADER_BYTES + self.bytes <= BATCH_BYTES_MAX
    }

    /// This command with `more`: what stands or falls together must fit into one entry.
    pub(super) fn with(self, more: &[Record]) -> Result<Self, ApiError> {
        let size = self.and(Self::of(more));
        if size.fits() { Ok(size) } else { Err(too_large()) }
    }

    /// Room for `count` more records, whatever they say; for a count that a client names before anything is made
    /// from it.
    pub(super) fn has_room_for(self, count: usize) -> Result<(), ApiError> {
        if self.records.saturating_add(count) <= BATCH_RECORDS_MAX { Ok(()) } else { Err(too_large()) }
    }
}

fn too_large() -> ApiError {
    ApiError::new(
        ErrorCode::PolicyViolation,
        format!(
            "Excessively large number of partitions or configs per request: together they may take \
             {BATCH_RECORDS_MAX} metadata records and {BATCH_BYTES_MAX} bytes."
        ),
    )
}

/// `records` in steps that fit into an entry each, for a decision that may be applied in steps. None when one record
/// alone does not fit.
pub fn steps(records: &[Record]) -> Option<Vec<&[Record]>> {
    let mut steps = Vec::new();
    let (mut first, mut size) = (0, BatchSize::default());
    for (index, record) in records.iter().enumerate() {
        let one = BatchSize::of_one(record);
        if !one.fits() {
            return None;
        }
        if !size.and(one).fits() {
            steps.push(&records[first..index]);
            (first, size) = (index, BatchSize::default());
        }
        size = size.and(one);
    }
    if first < records.len() {
        steps.push(&records[first..]);
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{ConfigResource, encode_batch};

    fn sized(bytes: usize) -> Record {
        ConfigResource::topic("t").record("name", Some("x".repeat(bytes)))
    }

    #[test]
    fn a_batch_is_never_larger_than_its_size_says() {
        for records in [vec![], vec![Record::NoOp], vec![sized(10), sized(1 << 20), Record::NoOp]] {
            let size = HEADER_BYTES + BatchSize::of(&records).bytes;
            let encoded = encode_batch(&records).len();
            assert!(encoded <= size, "{encoded} <= {size}");
        }
    }

    #[test]
    fn steps_keep_the_order_and_fit_each() {
        let half = BATCH_BYTES_MAX / 2;
        let records = [sized(half), Record::NoOp, sized(half), sized(10), sized(half)];
        let steps = steps(&records).expect("each record fits");
        assert_eq!(steps.concat(), records);
        assert_eq!(steps.iter().map(|step| step.len()).collect::<Vec<_>>(), [2, 2, 1]);
        let many = vec![Record::NoOp; BATCH_RECORDS_MAX + 1];
        let counts =
            super::steps(&many).expect("each record fits").iter().map(|s| s.len()).collect::<Vec<_>>();
        assert_eq!(counts, [BATCH_RECORDS_MAX, 1]);
    }

    #[test]
    fn a_record_larger_than_an_entry_has_no_steps() {
        assert_eq!(steps(&[Record::NoOp, sized(BATCH_BYTES_MAX)]), None);
    }
}

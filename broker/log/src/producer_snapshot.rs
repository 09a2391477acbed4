//! The `.snapshot` file: [`Producers`](crate::producers::Producers) at one offset, in Kafka's bytes, so that opening a
//! log need not read its batches again.
//!
//! ```text
//! version i16 = 1 · crc32c u32 of all that follows · count i32 · entries of 46 bytes:
//! producer id i64 · epoch i16 · last sequence i32 · last offset i64 · offset delta i32 · timestamp i64
//! · coordinator epoch i32 · first offset of the open transaction i64 (-1: none)
//! ```
//!
//! Kafka keeps only the last batch of a producer, so that after a restart it refuses the repeat of an older
//! one as out of order, which is fatal to its clients. We put the older ones behind Kafka's entries, where
//! its readers do not look (the checksum covers them):
//!
//! ```text
//! "MLN1" · per producer with older batches: producer id i64 · number of them u8 · oldest first, 24 bytes:
//! last sequence i32 · last offset i64 · offset delta i32 · timestamp i64
//! ```
//!
//! Bytes only: the caller reads and writes the file, and deletes one that is damaged.

use milena_protocol::records::crc::crc32c;

use crate::producers::{BATCHES_REMEMBERED, NO_OFFSET, Producer, RememberedBatch};

/// The only version that Kafka reads or writes.
pub const VERSION: i16 = 1;

const HEADER_SIZE: usize = 2 + 4 + 4;
const CRC_START: usize = 6;
const ENTRY_SIZE: usize = 46;
const OLDER_TAG: [u8; 4] = *b"MLN1";
const OLDER_SIZE: usize = 24;

/// Why the bytes are not a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("producer snapshot of {size} bytes is too short")]
    TooShort { size: usize },
    #[error("producer snapshot has version {version}, only {VERSION} is known")]
    UnknownVersion { version: i16 },
    #[error("producer snapshot has crc {stored:#010x}, its bytes have {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
    #[error("producer snapshot says {count} entries but has {size} bytes")]
    Count { count: i32, size: usize },
    #[error("producer snapshot has an impossible entry for producer {producer_id}")]
    Entry { producer_id: i64 },
}

/// The bytes of a snapshot of `producers`.
pub fn encode<'a>(producers: impl IntoIterator<Item = (i64, &'a Producer)>) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_SIZE];
    let mut older = Vec::new();
    let mut count = 0_i32;
    for (id, producer) in producers {
        encode_entry(&mut bytes, id, producer);
        encode_older(&mut older, id, producer);
        count += 1;
    }
    if !older.is_empty() {
        bytes.extend_from_slice(&OLDER_TAG);
        bytes.append(&mut older);
    }
    bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
    bytes[CRC_START..HEADER_SIZE].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c(&[&bytes[CRC_START..]]);
    bytes[2..CRC_START].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The producers in a snapshot, in the file's order.
pub fn decode(bytes: &[u8]) -> Result<Vec<(i64, Producer)>, Error> {
    let size = bytes.len();
    let (header, entries) = bytes.split_at_checked(HEADER_SIZE).ok_or(Error::TooShort { size })?;
    let mut fields = Fields(header);
    let version = i16::from_be_bytes(fields.take());
    if version != VERSION {
        return Err(Error::UnknownVersion { version });
    }
    let stored = u32::from_be_bytes(fields.take());
    let computed = crc32c(&[&bytes[CRC_START..]]);
    if stored != computed {
        return Err(Error::Crc { stored, computed });
    }
    let count = i32::from_be_bytes(fields.take());
    // The length is compared before anything is allocated by it.
    let entries_size = usize::try_from(count).ok().and_then(|count| count.checked_mul(ENTRY_SIZE));
    let split = entries_size.and_then(|entries_size| entries.split_at_checked(entries_size));
    let (entries, rest) = split.ok_or(Error::Count { count, size })?;
    let mut producers = entries.chunks_exact(ENTRY_SIZE).map(decode_entry).collect::<Result<Vec<_>, _>>()?;
    if !rest.is_empty() {
        let older = rest.strip_prefix(&OLDER_TAG).ok_or(Error::Count { count, size })?;
        decode_older(older, &mut producers).ok_or(Error::Count { count, size })?;
    }
    Ok(producers)
}

fn encode_older(bytes: &mut Vec<u8>, id: i64, producer: &Producer) {
    let Some((_, older)) = producer.batches().split_last().filter(|(_, older)| !older.is_empty()) else {
        return;
    };
    bytes.extend_from_slice(&id.to_be_bytes());
    // At most one less than are remembered.
    bytes.push(older.len() as u8);
    for batch in older {
        bytes.extend_from_slice(&batch.last_sequence.to_be_bytes());
        bytes.extend_from_slice(&batch.last_offset.to_be_bytes());
        bytes.extend_from_slice(&batch.offset_delta.to_be_bytes());
        bytes.extend_from_slice(&batch.timestamp.to_be_bytes());
    }
}

/// Gives the producers their older batches; `None` when the bytes are not those of `encode_older`.
fn decode_older(mut bytes: &[u8], producers: &mut [(i64, Producer)]) -> Option<()> {
    let mut producers = producers.iter_mut();
    while let Some((id, rest)) = bytes.split_first_chunk() {
        let id = i64::from_be_bytes(*id);
        let (count, rest) = rest.split_first()?;
        let (batches, rest) = rest.split_at_checked(usize::from(*count) * OLDER_SIZE)?;
        // Both lists have the same order.
        let (_, producer) = producers.find(|(other, _)| *other == id)?;
        let older: Vec<RememberedBatch> = batches.chunks_exact(OLDER_SIZE).map(decode_batch).collect();
        let possible =
            older.iter().all(|batch| (0..=batch.last_offset).contains(&i64::from(batch.offset_delta)));
        if !possible || older.len() >= BATCHES_REMEMBERED || producer.last_batch().is_none() {
            return None;
        }
        producer.remember_older(&older);
        bytes = rest;
    }
    bytes.is_empty().then_some(())
}

fn decode_batch(bytes: &[u8]) -> RememberedBatch {
    let mut fields = Fields(bytes);
    RememberedBatch {
        last_sequence: i32::from_be_bytes(fields.take()),
        last_offset: i64::from_be_bytes(fields.take()),
        offset_delta: i32::from_be_bytes(fields.take()),
        timestamp: i64::from_be_bytes(fields.take()),
    }
}

fn encode_entry(bytes: &mut Vec<u8>, id: i64, producer: &Producer) {
    let last = producer.last_batch();
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&producer.epoch.to_be_bytes());
    bytes.extend_from_slice(&producer.last_sequence().to_be_bytes());
    bytes.extend_from_slice(&last.map_or(NO_OFFSET, |batch| batch.last_offset).to_be_bytes());
    bytes.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
    bytes.extend_from_slice(&producer.last_timestamp.to_be_bytes());
    bytes.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
    bytes.extend_from_slice(&producer.transaction_first_offset.to_be_bytes());
}

fn decode_entry(bytes: &[u8]) -> Result<(i64, Producer), Error> {
    let mut fields = Fields(bytes);
    let id = i64::from_be_bytes(fields.take());
    let epoch = i16::from_be_bytes(fields.take());
    let last_sequence = i32::from_be_bytes(fields.take());
    let last_offset = i64::from_be_bytes(fields.take());
    let offset_delta = i32::from_be_bytes(fields.take());
    let timestamp = i64::from_be_bytes(fields.take());
    let coordinator_epoch = i32::from_be_bytes(fields.take());
    let transaction_first_offset = i64::from_be_bytes(fields.take());
    if id < 0 || offset_delta < 0 || (last_offset >= 0 && i64::from(offset_delta) > last_offset) {
        return Err(Error::Entry { producer_id: id });
    }
    let last_batch =
        (last_offset >= 0).then_some(RememberedBatch { last_sequence, offset_delta, last_offset, timestamp });
    Ok((id, Producer::restored(epoch, coordinator_epoch, timestamp, transaction_first_offset, last_batch)))
}

/// Big-endian fields of a slice whose length was checked as a whole.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const SIZE: usize>(&mut self) -> [u8; SIZE] {
        let (field, rest) = self.0.split_first_chunk().expect("the length was checked as a whole");
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer() -> Producer {
        let batch =
            RememberedBatch { last_sequence: 41, offset_delta: 1, last_offset: 1_041, timestamp: 7_000 };
        Producer::restored(3, 2, 7_000, 1_040, Some(batch))
    }

    #[test]
    fn snapshot_keeps_the_last_batch_and_the_open_transaction() {
        let known_by_marker = Producer::restored(5, 9, 8_000, NO_OFFSET, None);
        let bytes = encode([(7, &producer()), (8, &known_by_marker)]);
        assert_eq!(bytes.len(), HEADER_SIZE + 2 * ENTRY_SIZE);
        assert_eq!(decode(&bytes), Ok(vec![(7, producer()), (8, known_by_marker)]));
    }

    #[test]
    fn older_batches_are_kept_behind_kafkas_entries() {
        let batch = |index: i32| RememberedBatch {
            last_sequence: index * 10 + 9,
            offset_delta: 9,
            last_offset: i64::from(index) * 20 + 9,
            timestamp: 7_000,
        };
        let mut busy = Producer::restored(3, 2, 7_000, 80, Some(batch(4)));
        busy.remember_older(&[batch(0), batch(1), batch(2), batch(3)]);
        let mut other = Producer::restored(0, -1, 7_000, NO_OFFSET, Some(batch(6)));
        other.remember_older(&[batch(5)]);
        assert_eq!(busy.batches().len(), BATCHES_REMEMBERED);
        let bytes = encode([(1, &busy), (2, &producer()), (9, &other)]);
        assert_eq!(bytes.len(), HEADER_SIZE + 3 * ENTRY_SIZE + 4 + 2 * 9 + 5 * OLDER_SIZE);
        assert_eq!(decode(&bytes), Ok(vec![(1, busy), (2, producer()), (9, other)]));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit}");
        }
        for size in 0..bytes.len() {
            assert!(decode(&bytes[..size]).is_err(), "size {size}");
        }
    }

    #[test]
    fn snapshot_of_no_producers_is_valid() {
        let bytes = encode([]);
        assert_eq!(decode(&bytes), Ok(vec![]));
    }

    #[test]
    fn every_single_bit_flip_and_truncation_is_noticed() {
        let bytes = encode([(7, &producer())]);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit}");
        }
        for size in 0..bytes.len() {
            assert!(decode(&bytes[..size]).is_err(), "size {size}");
        }
    }

    #[test]
    fn damage_is_named() {
        let bytes = encode([(7, &producer())]);
        assert_eq!(decode(&bytes[..9]), Err(Error::TooShort { size: 9 }));
        let mut version = bytes.clone();
        version[1] = 2;
        assert_eq!(decode(&version), Err(Error::UnknownVersion { version: 2 }));
        // A count that lies, under a CRC that was made for it.
        let mut count = bytes.clone();
        count[6..10].copy_from_slice(&i32::MAX.to_be_bytes());
        let crc = crc32c(&[&count[CRC_START..]]);
        count[2..CRC_START].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(decode(&count), Err(Error::Count { count: i32::MAX, size: bytes.len() }));
    }
}

//! Record batches (magic 2): a zero-copy view, the records inside, building, and compression.
//!
//! A batch is 61 bytes of header and a payload, the payload being the records or their compressed
//! form. Reading never copies: [`Batch`] borrows the bytes it was parsed from, [`Record`] the
//! uncompressed payload. Brokers store batches as they came; what a leader changes (base offset,
//! leader epoch, append time) is written into a copy of the header, see [`Batch::patched_header`].
//!
//! The formats with magic 0 and 1 are recognised and refused, never read (KIP-724).

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod crc;
pub mod record;
mod skim;
pub(crate) mod varint;

pub use batch::{
    Attributes, Batch, BatchError, BatchHeader, Batches, HEADER_SIZE, LENGTH_PREFIX_SIZE, NO_LEADER_EPOCH,
    NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
};
pub use builder::{BuildError, Builder};
pub use compression::{Compression, Limits};
pub use record::{Header, Headers, Record, RecordError, RecordIter};
pub use skim::{Skimmed, skim};

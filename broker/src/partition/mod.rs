//! The partitions of this broker: plain data in a table, behind one short lock each.
//!
//! A request's thread looks a [`Partition`] up in the [`Table`] without a lock, appends or reads under the
//! partition's, and waits on its [`Watermark`]s outside it. No task, timer or open file belongs to a partition.

mod append;
pub mod directories;
mod lock;
pub mod operations;
#[allow(clippy::module_inception, reason = "the layout of house.md names the file so")]
pub mod partition;
mod read;
pub mod table;
pub mod upkeep;
pub mod wait;
pub mod watermark;

pub use directories::Directories;
pub use operations::{
    AbortedTransaction, AppendAs, AppendError, Appended, EpochEnd, Extent, Isolation, OffsetAndTimestamp,
    Read, ReadError, Readout, Timestamp,
};
pub use partition::{Myself, Partition};
pub use table::Table;
pub use wait::{Mark, WaitAny};
pub use watermark::{Interrupted, Watermark};

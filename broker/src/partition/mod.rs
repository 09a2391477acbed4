//! The partitions of this broker: plain data in a table, behind one short lock each.
//!
//! A request's thread looks a [`Partition`] up in the [`Table`] without a lock, appends or reads under the
//! partition's, and waits on its [`Level`]s outside it. No task, timer or open file belongs to a partition.

pub mod append;
pub mod cleaner;
mod copies;
mod deleted;
pub mod directories;
mod follower;
mod identities;
mod lock;
pub mod mover;
mod offsets;
#[allow(
    clippy::module_inception,
    reason = "the module is about partitions, and this file holds the partition itself"
)]
pub mod partition;
pub mod producers;
mod progress;
mod read;
pub mod relocation;
mod role;
mod strays;
pub mod table;
pub mod upkeep;
pub mod wait;
pub mod watermark;

pub use append::{AppendAs, AppendError, Appended};
pub use cleaner::Cleaner;
pub use directories::Directories;
pub(crate) use follower::{Brought, FollowError, Standing};
pub use identities::OpenError;
pub use milena_state::partition::reads::Isolation;
pub use mover::Mover;
pub use offsets::{OffsetAndTimestamp, Timestamp};
pub use partition::{Extent, Myself, Partition};
pub use progress::{Level, Mark};
pub use read::{Missing, Read, ReadError, Readout};
pub use relocation::FutureReplica;
pub use table::Table;
pub use wait::WaitAny;
pub use watermark::{Interrupted, Watermark};

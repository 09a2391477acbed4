//! Groups as an administrator sees them: which there are, who is in them, how far they have come.
//!
//! What concerns a group is asked of its coordinator, for as many groups at once as it has; a group whose coordinator
//! moves or loads is asked for again. Every group and every partition has a result of its own, so that one that fails
//! hides no other.

mod age;
mod ask;
mod committed;
mod delete;
mod describe;
mod list;

use std::collections::BTreeMap;

use crate::error::Result;

pub use age::RecordPlace;
pub use describe::{GroupDescription, GroupMember};
pub use list::{GroupListing, ListedGroups};

/// One result per group.
pub type ByGroup<T> = BTreeMap<String, Result<T>>;

/// Partitions by topic.
pub type Assignment = BTreeMap<String, Vec<i32>>;

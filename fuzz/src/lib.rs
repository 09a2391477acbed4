//! What the fuzz targets share: [`allocations`] counts memory, [`messages`] finds a message's codec by name or key,
//! [`codec`] is the body of the four compression targets, [`groups`] drives a group coordinator.
//!
//! The targets are `fuzz_targets/<name>.rs`, their seeds `corpus/<name>/`, and `run` builds and runs them.

pub mod allocations;
pub mod codec;
pub mod groups;
pub mod messages;

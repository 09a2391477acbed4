//! The rules of Milena: pure decide and apply.
//!
//! Everything that is a decision lives here and nothing that is an action: no I/O, no clock, no
//! randomness, no threads. `decide` looks at an image and a command and answers with records and a
//! reply; `apply` is the only way replicated state changes; soft state changes through events that
//! return effects. The broker crate runs what is decided here. Maps are ordered, so that two
//! machines that apply the same records hold the same bytes.

pub mod config;
pub mod fetch_session;
pub mod founding;
pub mod group;
pub mod lag;
pub mod metadata;
pub mod partition;
pub mod quota;

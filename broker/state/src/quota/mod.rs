//! Quotas: what a client may use, how much of it was used, and how long it has to wait.
//!
//! [`entity`] says whom a quota is set on and what it bounds. [`limits`] finds the one that acts on a client, in
//! Kafka's order. [`rate`] and [`tokens`] measure, [`usage`] keeps one measure for each client, within a bound.
//! [`connections`] does all of that for connections. Nothing here keeps a clock; storing quotas is the business of
//! [`crate::metadata::client_quotas`].

pub mod connections;
pub mod entity;
pub mod limits;
pub mod rate;
pub mod tokens;
pub mod usage;

pub use entity::{Entity, Key, Name, Value};
pub use limits::{Limits, Subject};
pub use rate::{Rate, Window};
pub use tokens::Tokens;
pub use usage::Usage;

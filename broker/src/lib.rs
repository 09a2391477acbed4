//! The broker process: sockets, files, timers and threads around the rules of `milena-state`.
//!
//! A request's way is `server::connection` (reads a frame) → `server::dispatch` (finds the row of
//! `api`) → `api/<name>.rs` (the handler) → `partition` or `controller` → the reply, in request order.
//! `broker::Broker` starts and stops all of it and is what tests use.

pub mod admin;
pub mod api;
pub mod broker;
pub mod config;
mod console;
pub mod controller;
pub mod coordinator;
pub mod error;
pub mod health;
pub mod lag;
pub mod lifecycle;
pub mod metadata;
pub mod metrics;
pub mod partition;
pub mod quota;
#[cfg(test)]
mod reference;
pub mod replication;
pub mod server;
pub mod shutdown;
pub mod starting;
mod system;
pub mod telemetry;

pub use system::disable_huge_pages;

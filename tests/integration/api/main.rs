//! The APIs of a single broker, spoken to over a socket in versions of the test's choice.
//!
//! Each test starts a broker in this process, on a port of the system's choice and a directory of its own.

mod alter_configs;
mod config_effects;
mod configs;
mod connection_quotas;
mod disk;
mod fetch;
mod fetch_sessions;
mod log_dirs;
mod node;
mod odd_requests;
mod offsets;
mod produce;
mod quotas;
mod request_quotas;
mod topics;
mod transactions;

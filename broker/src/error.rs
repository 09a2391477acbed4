//! Why the broker cannot start, or not go on.

use std::io;

/// Each one ends the process with exit code 1 and its message, but for a stop.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    #[error(
        "property {property}: cannot listen on {address}: {source}; name another address, or stop what has it"
    )]
    Listen { property: &'static str, address: String, source: io::Error },
    #[error(
        "property advertised.listeners: {listener} has no host, and this machine's name {name} does not resolve \
         ({source}); name a host that clients can reach"
    )]
    NoHostName { listener: String, name: String, source: io::Error },
    #[error(
        "property max.connections.per.ip.overrides: {host} does not resolve ({source}); name its address, or a host \
         that this machine knows"
    )]
    UnknownHost { host: String, source: io::Error },
    #[error("property milena.log.level: {0}")]
    LogLevel(#[from] crate::telemetry::levels::Unknown),
    #[error("cannot start a thread or runtime: {0}")]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Lifecycle(#[from] crate::lifecycle::Error),
}

impl StartError {
    /// Whether nothing is wrong but that a stop was asked for meanwhile.
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Lifecycle(crate::lifecycle::Error::Stopped))
    }
}

//! `host:port`, read and written.

use std::fmt;

/// Where a node is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

/// Writes `host:port` as it is dialled and configured: IPv6 hosts stand in brackets.
#[derive(Debug, Clone, Copy)]
pub struct HostPort<'a>(pub &'a str, pub u16);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HostPort(&self.host, self.port).fmt(f)
    }
}

impl Address {
    /// Reads `host:port`; IPv6 hosts stand in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner,
            None if host.contains(':') => return None,
            None => host,
        };
        if host.is_empty() {
            return None;
        }
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (text, host) in
            [("kafka.example:9092", "kafka.example"), ("10.0.0.7:1", "10.0.0.7"), ("[::1]:9093", "::1")]
        {
            let address = Address::parse(text).expect("valid");
            assert_eq!((address.host.as_str(), address.to_string().as_str()), (host, text));
        }
        for text in ["", "host", ":9092", "::1:9092", "host:port", "host:65536"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}

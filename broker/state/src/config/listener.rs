//! `name://host:port` and the security protocol behind a listener name.

use std::fmt;

use super::address::HostPort;

/// A socket that the broker listens on, or tells clients to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Upper case, as Kafka normalises it.
    pub name: String,
    /// Empty: all interfaces (in `listeners`).
    pub host: String,
    pub port: u16,
    pub security_protocol: SecurityProtocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum SecurityProtocol {
    Plaintext = 0,
    Ssl = 1,
    SaslPlaintext = 2,
    SaslSsl = 3,
}

impl SecurityProtocol {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Self::Plaintext,
            "SSL" => Self::Ssl,
            "SASL_PLAINTEXT" => Self::SaslPlaintext,
            "SASL_SSL" => Self::SaslSsl,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, HostPort(&self.host, self.port))
    }
}

/// Splits `NAME://host:port`; IPv6 hosts stand in brackets. The name decides the protocol unless
/// `protocol_of` maps it to another.
///
/// Errors: a sentence that says what is wrong with the text.
pub fn parse(text: &str, protocol_of: impl Fn(&str) -> Option<SecurityProtocol>) -> Result<Listener, String> {
    let (name, address) =
        text.split_once("://").ok_or_else(|| format!("'{text}' is not of the form NAME://host:port"))?;
    let (host, port) =
        address.rsplit_once(':').ok_or_else(|| format!("'{text}' has no port after the host"))?;
    let port = port.parse().map_err(|_| format!("'{text}' has no port between 0 and 65535"))?;
    let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner,
        None if host.contains(':') => return Err(format!("'{text}': an IPv6 host must stand in brackets")),
        None => host,
    };
    let name = name.to_ascii_uppercase();
    let security_protocol = protocol_of(&name).ok_or_else(|| {
        format!("listener name '{name}' has no security protocol; map it in listener.security.protocol.map")
    })?;
    Ok(Listener { name, host: host.to_owned(), port, security_protocol })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_and_bad_ones_say_why() {
        let good = [
            ("PLAINTEXT://:9092", ("PLAINTEXT", "", 9092)),
            ("plaintext://127.0.0.1:0", ("PLAINTEXT", "127.0.0.1", 0)),
            ("SSL://[::1]:9093", ("SSL", "::1", 9093)),
        ];
        for (text, (name, host, port)) in good {
            let listener = parse(text, SecurityProtocol::parse).unwrap();
            assert_eq!((listener.name.as_str(), listener.host.as_str(), listener.port), (name, host, port));
        }
        let bad = [
            ("localhost:9092", "NAME://host:port"),
            ("PLAINTEXT://localhost", "no port"),
            ("PLAINTEXT://localhost:99999", "between 0 and 65535"),
            ("PLAINTEXT://::1:9092", "brackets"),
            ("CLIENTS://h:1", "listener.security.protocol.map"),
        ];
        for (text, reason) in bad {
            let error = parse(text, SecurityProtocol::parse).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}

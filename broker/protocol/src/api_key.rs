//! API keys, and what Kafka 4.3.1 knows about each: versions, flexible versions, listeners.
//!
//! The enum and the table are generated from the schema. Which versions a 4.3.1 broker *answers* differs
//! a little and is in [`crate::versions`].

use std::fmt;

include!(concat!(env!("OUT_DIR"), "/api_keys.rs"));

/// What the schema says about one API. `docs/apis.md` is made from these rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiInfo {
    pub key: ApiKey,
    pub name: &'static str,
    /// First and last version that can be encoded, or none when all have been removed.
    pub versions: Option<(i16, i16)>,
    /// The first version with compact lengths and tagged fields.
    pub flexible_from: Option<i16>,
    pub latest_version_unstable: bool,
    /// `broker`, `controller`: where Kafka answers it.
    pub listeners: &'static [&'static str],
}

impl ApiKey {
    pub fn from_i16(key: i16) -> Option<ApiKey> {
        from_number(key)
    }

    pub const fn as_i16(self) -> i16 {
        self as i16
    }

    /// All keys in order.
    pub fn all() -> impl Iterator<Item = ApiKey> {
        APIS.iter().map(|info| info.key)
    }

    pub fn info(self) -> &'static ApiInfo {
        let key = self as usize;
        &APIS[if self.is_private() { key - PRIVATE_FROM as usize + PUBLIC_KEYS } else { key }]
    }

    /// Whether only Milena's own processes use it among each other: no client asks for it or is told of it.
    pub const fn is_private(self) -> bool {
        self as i16 >= PRIVATE_FROM
    }

    /// Kafka's name, such as `Produce`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// First and last version of the schema.
    pub fn versions(self) -> Option<(i16, i16)> {
        self.info().versions
    }

    /// Whether the schema has the version.
    pub fn has_version(self, version: i16) -> bool {
        self.versions().is_some_and(|(first, last)| (first..=last).contains(&version))
    }

    pub fn is_flexible(self, version: i16) -> bool {
        self.info().flexible_from.is_some_and(|from| version >= from)
    }

    /// Version 2 has tagged fields, version 1 has none. Also right for versions that nobody serves,
    /// whose header must still be read to answer them.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// ApiVersions is answered with the oldest header, because its client may be older than the server.
    pub fn response_header_version(self, version: i16) -> i16 {
        if self != ApiKey::ApiVersions && self.is_flexible(version) { 1 } else { 0 }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<ApiKey> for i16 {
    fn from(key: ApiKey) -> i16 {
        key as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_finds_its_own_row() {
        for info in &APIS {
            assert_eq!(info.key.info(), info);
            assert_eq!(ApiKey::from_i16(info.key.as_i16()), Some(info.key));
        }
        assert_eq!(ApiKey::from_i16(PUBLIC_KEYS as i16), None);
        assert!(ApiKey::RaftAppend.is_private() && !ApiKey::Vote.is_private());
    }
}

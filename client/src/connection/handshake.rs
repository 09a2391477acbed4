//! The first exchange on a connection: which versions does the broker serve?
//!
//! ApiVersions is asked in our newest version. A broker that does not know it answers in version 0 with
//! UNSUPPORTED_VERSION and its own range (KIP-511), and is asked again.

use milena_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::{ApiKey, ErrorCode, Message, decode_exact};
use rustc_hash::FxHashMap;

use super::Connection;
use crate::error::{Error, Result};

/// The versions and features of a broker.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    ranges: FxHashMap<i16, (i16, i16)>,
    features: Vec<(String, i16, i16)>,
}

impl Versions {
    /// First and last version of an API, if the broker serves it.
    pub fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.ranges.get(&api.as_i16()).copied()
    }

    /// Key, first and last version of everything that the broker named, also of APIs that we do not know.
    pub fn all(&self) -> Vec<(i16, i16, i16)> {
        let mut all: Vec<_> = self.ranges.iter().map(|(key, (first, last))| (*key, *first, *last)).collect();
        all.sort_unstable();
        all
    }

    /// Features that the broker supports: name, lowest and highest level.
    pub fn features(&self) -> &[(String, i16, i16)] {
        &self.features
    }

    fn from_response(response: &ApiVersionsResponse<'_>) -> Self {
        let ranges = response.api_keys.iter().map(|row| (row.api_key, (row.min_version, row.max_version)));
        let features = response.supported_features.iter();
        Self {
            ranges: ranges.collect(),
            features: features.map(|f| (f.name.to_string(), f.min_version, f.max_version)).collect(),
        }
    }
}

pub(super) async fn run(connection: &Connection) -> Result<Versions> {
    let newest = *ApiVersionsRequest::VERSIONS.end();
    let request = ApiVersionsRequest {
        client_software_name: "milena".into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
    };
    let response = connection.call_at(&request, newest).await?;
    match decode(connection, response.body(), newest)? {
        Answer::Versions(versions) => Ok(versions),
        Answer::AskAgain(version) => {
            let response = connection.call_at(&request, version).await?;
            match decode(connection, response.body(), version)? {
                Answer::Versions(versions) => Ok(versions),
                Answer::AskAgain(_) => Err(Error::Protocol {
                    address: connection.address().to_owned(),
                    message: "ApiVersions is refused in every version".to_owned(),
                }),
            }
        }
    }
}

enum Answer {
    Versions(Versions),
    AskAgain(i16),
}

fn decode(connection: &Connection, body: &[u8], version: i16) -> Result<Answer> {
    let refused = body.first_chunk().map(|code| i16::from_be_bytes(*code))
        == Some(ErrorCode::UnsupportedVersion.into());
    let version = if refused { 0 } else { version };
    let response: ApiVersionsResponse<'_> =
        decode_exact(body, version).map_err(|error| Error::decode(connection.address(), error))?;
    if refused {
        let own = response.api_keys.iter().find(|row| row.api_key == ApiKey::ApiVersions.as_i16());
        return Ok(Answer::AskAgain(
            own.map_or(0, |row| row.max_version.clamp(0, *ApiVersionsRequest::VERSIONS.end())),
        ));
    }
    Error::check(response.error_code, None, || format!("ApiVersions on {}", connection.address()))?;
    Ok(Answer::Versions(Versions::from_response(&response)))
}

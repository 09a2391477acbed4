//! Request and response headers, and the rules by which their versions are found.
//!
//! A request says which API and version it is before the header's own version is known, so those four
//! bytes are looked at first. A version that nobody serves still has a readable header: ApiVersions is
//! then answered in version 0 with UNSUPPORTED_VERSION ([`api_versions_fallback`]), every other API ends
//! the connection.

use crate::api_key::ApiKey;
use crate::codec::{Decode, DecodeError, Encode, EncodeError, Problem};
use crate::error::ErrorCode;
use crate::frame;
use crate::messages::api_versions_response::ApiVersion;
use crate::messages::{ApiVersionsResponse, RequestHeader, ResponseHeader};
use crate::reader::Reader;
use crate::types::Str;
use crate::writer::Writer;

/// The header of a request, its API known.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming<'a> {
    pub api: ApiKey,
    /// May be a version that no one serves.
    pub version: i16,
    pub correlation_id: i32,
    /// Null and empty mean the same to Kafka.
    pub client_id: Str<'a>,
}

impl Incoming<'_> {
    /// Whether the schema has this version, so that the body can be decoded.
    pub fn is_known_version(&self) -> bool {
        self.api.has_version(self.version)
    }
}

/// Reads the header and leaves `r` at the body.
pub fn decode_request<'a>(r: &mut Reader<'a>) -> Result<Incoming<'a>, DecodeError> {
    let mut ahead = r.clone();
    let (key, version) = (ahead.i16()?, ahead.i16()?);
    let api = ApiKey::from_i16(key).ok_or_else(|| r.error(Problem::ApiKey(key)))?;
    let header = RequestHeader::decode(r, api.request_header_version(version))?;
    let client_id = header.client_id.unwrap_or_default();
    Ok(Incoming { api, version, correlation_id: header.correlation_id, client_id })
}

/// Writes the header of a request.
pub fn encode_request(
    w: &mut Writer,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<(), EncodeError> {
    let header = RequestHeader {
        request_api_key: api.as_i16(),
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(Str::Borrowed),
    };
    header.encode(w, api.request_header_version(version))
}

/// Reads the header of the response to a request of `api` at `version`; returns the correlation id.
pub fn decode_response(r: &mut Reader<'_>, api: ApiKey, version: i16) -> Result<i32, DecodeError> {
    Ok(ResponseHeader::decode(r, api.response_header_version(version))?.correlation_id)
}

/// Writes the header of the response to a request of `api` at `version`.
pub fn encode_response(
    w: &mut Writer,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<(), EncodeError> {
    ResponseHeader { correlation_id }.encode(w, api.response_header_version(version))
}

/// A whole frame with a request.
pub fn request_frame<T: Encode>(
    w: &mut Writer,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &T,
) -> Result<(), EncodeError> {
    let start = frame::begin(w);
    encode_request(w, api, version, correlation_id, client_id)?;
    body.encode(w, version)?;
    frame::end(w, start)
}

/// A whole frame with a response.
pub fn response_frame<T: Encode>(
    w: &mut Writer,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &T,
) -> Result<(), EncodeError> {
    let start = frame::begin(w);
    encode_response(w, api, version, correlation_id)?;
    body.encode(w, version)?;
    frame::end(w, start)
}

/// The answer to ApiVersions in a version that the server does not know, to be encoded at version 0: the
/// range of ApiVersions itself, so that the client can ask again.
pub fn api_versions_fallback(first: i16, last: i16) -> ApiVersionsResponse<'static> {
    let api_key = ApiKey::ApiVersions.as_i16();
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.as_i16(),
        api_keys: vec![ApiVersion { api_key, min_version: first, max_version: last }],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(api: ApiKey, version: i16, client_id: Option<&str>, size: usize) {
        let mut w = Writer::new();
        encode_request(&mut w, api, version, 7, client_id).unwrap();
        let bytes = w.into_bytes().unwrap();
        assert_eq!(bytes.len(), size, "{api} {version}");
        let mut r = Reader::new(&bytes);
        let header = decode_request(&mut r).unwrap();
        r.finish().unwrap();
        let client_id = client_id.unwrap_or_default().into();
        assert_eq!(header, Incoming { api, version, correlation_id: 7, client_id });
    }

    #[test]
    fn client_id_is_never_compact() {
        check(ApiKey::Produce, 8, Some("abc"), 4 + 4 + 2 + 3);
        check(ApiKey::Produce, 9, Some("abc"), 4 + 4 + 2 + 3 + 1);
        check(ApiKey::Produce, 9, None, 4 + 4 + 2 + 1);
    }

    #[test]
    fn header_of_an_unknown_version_is_readable() {
        check(ApiKey::ApiVersions, 99, Some("new"), 4 + 4 + 2 + 3 + 1);
        check(ApiKey::LeaderAndIsr, 0, None, 4 + 4 + 2);
    }

    #[test]
    fn unknown_api_key_is_refused() {
        let error = decode_request(&mut Reader::new(&[0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0])).unwrap_err();
        assert_eq!(error.problem, Problem::ApiKey(i16::MAX));
    }

    #[test]
    fn api_versions_is_answered_with_the_oldest_header() {
        for version in 0..=4 {
            assert_eq!(ApiKey::ApiVersions.response_header_version(version), 0);
        }
        assert_eq!(ApiKey::Metadata.response_header_version(8), 0);
        assert_eq!(ApiKey::Metadata.response_header_version(9), 1);
    }
}

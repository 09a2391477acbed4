//! ApiVersions (key 18), versions 0–4.
//!
//! Names exactly the rows of the route table. A request in a version that we do not serve is answered in
//! version 0 with UNSUPPORTED_VERSION and our range for this one API, whatever its body was, so that a newer
//! client can ask again in a version that both speak.
//!
//! - Version 1 adds the throttle time.
//! - Version 3 (KIP-511) brings the client's software name and version, checked as in Apache Kafka:
//!   INVALID_REQUEST otherwise. KIP-584: supported and finalized features.
//! - Version 4 no longer hides features that begin at version 0.

use milena_protocol::messages::api_versions_response::ApiVersion;
use milena_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::{ApiKey, ErrorCode, header};

use super::{ROUTES, find};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: ApiVersionsRequest<'_>) -> Reply {
    let named = is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version);
    if cx.version >= 3 && !named {
        let error_code = ErrorCode::InvalidRequest.as_i16();
        return cx.reply(&ApiVersionsResponse { error_code, ..Default::default() });
    }
    let api_keys = ROUTES.iter().map(|route| ApiVersion {
        api_key: route.key.as_i16(),
        min_version: route.advertised_first,
        max_version: route.versions.1,
    });
    cx.reply(&ApiVersionsResponse { api_keys: api_keys.collect(), ..Default::default() })
}

/// The answer to a version that we do not serve, in version 0.
pub(crate) fn unsupported(cx: &RequestContext) -> Reply {
    let (first, last) = find(ApiKey::ApiVersions.as_i16()).map_or((0, 0), |route| route.versions);
    cx.reply(&header::api_versions_fallback(first, last))
}

/// Letters and digits, with dots and hyphens between them (KIP-511).
fn is_software_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    match bytes {
        [] => false,
        [first, .., last] => {
            first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().all(inner)
        }
        [only] => only.is_ascii_alphanumeric(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_checked_as_in_kip_511() {
        for name in ["kcat", "apache-kafka-java", "4.3.1", "a", "librdkafka-2.15.0"] {
            assert!(is_software_name(name), "{name}");
        }
        for name in ["", "-a", "a-", ".", "a b", "a\n", "ä"] {
            assert!(!is_software_name(name), "{name:?}");
        }
    }
}

//! ApiVersions (key 18), versions 0–4.
//!
//! Names exactly the rows of the route table that are served on the listener. A request in a version that we do not serve is answered in
//! version 0 with UNSUPPORTED_VERSION and our range for this one API, whatever its body was, so that a newer
//! client can ask again in a version that both speak.
//!
//! - Version 1 adds the throttle time.
//! - Version 3 (KIP-511) brings the client's software name and version, checked as in Apache Kafka:
//!   INVALID_REQUEST otherwise. KIP-584: supported and finalized features.
//! - Version 4 no longer hides supported features whose lowest level is 0, which older clients cannot read.

use milena_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use milena_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::{ApiKey, ErrorCode, header};
use milena_state::metadata::features;
use milena_state::metadata::record::SupportedFeature;

use super::{ROUTES, Route, find};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: ApiVersionsRequest<'_>) -> Reply {
    let named =
        is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version);
    if cx.version >= 3 && !named {
        let error_code = ErrorCode::InvalidRequest.as_i16();
        return cx.reply(&ApiVersionsResponse { error_code, ..Default::default() });
    }
    let supported = features::supported();
    let image = cx.node.metadata.image();
    cx.reply(&ApiVersionsResponse {
        api_keys: ROUTES
            .iter()
            .filter(|route| route.scope.includes(cx.peer.audience))
            .map(advertised)
            .collect(),
        supported_features: supported
            .iter()
            .filter(|f| cx.version >= 4 || f.min > 0)
            .map(supported_feature)
            .collect(),
        finalized_features_epoch: image.applied().index,
        finalized_features: image.features().iter().map(finalized_feature).collect(),
        ..Default::default()
    })
}

fn advertised(route: &Route) -> ApiVersion {
    ApiVersion {
        api_key: route.key.as_i16(),
        min_version: route.advertised_first,
        max_version: route.versions.1,
    }
}

fn supported_feature(feature: &SupportedFeature) -> SupportedFeatureKey<'_> {
    SupportedFeatureKey {
        name: feature.name.as_str().into(),
        min_version: feature.min,
        max_version: feature.max,
    }
}

/// A finalized level is told as a range of one.
fn finalized_feature<'a>((name, level): (&'a String, &i16)) -> FinalizedFeatureKey<'a> {
    FinalizedFeatureKey { name: name.as_str().into(), max_version_level: *level, min_version_level: *level }
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

//! UpdateFeatures (key 57), versions 0–2 (KIP-584).
//!
//! Raises or lowers the levels that the cluster has agreed on, all of a request or none; the controller says what is
//! wrong with the first that cannot be. v1 adds ValidateOnly and kinds of downgrade, v2 answers for the request alone.

use milena_protocol::ErrorCode;
use milena_protocol::messages::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use milena_protocol::messages::update_features_response::{UpdatableFeatureResult, UpdateFeaturesResponse};
use milena_state::metadata::features::{FeatureUpdate, UpdateFeatures, UpdateKind};
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call::{self, Refusal};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: UpdateFeaturesRequest<'_>) -> Reply {
    let updates = request.feature_updates.iter().map(|update| asked(update, cx.version)).collect();
    // The active controller answers this, and knows.
    let voters = cx.node.quorum.iter().flat_map(|quorum| quorum.voters()).map(|(voter, _)| voter.id);
    let (validate_only, voters) = (request.validate_only, voters.collect());
    let command = Command::UpdateFeatures(UpdateFeatures { updates, validate_only, voters });
    let refusal = match controller_call::decide(cx, command, request.timeout_ms).await {
        Ok(Decided::UpdateFeatures(outcome)) => Refusal::of(outcome),
        Ok(_) => Refusal { code: ErrorCode::UnknownServerError, message: None },
        Err(code) => Refusal { code, message: None },
    };
    let done = refusal.code == ErrorCode::None && cx.version <= 1;
    let results = if done { request.feature_updates.iter().map(result).collect() } else { Vec::new() };
    cx.reply(&UpdateFeaturesResponse {
        error_code: refusal.code.into(),
        error_message: refusal.message.map(Into::into),
        results,
        ..Default::default()
    })
}

fn asked(update: &FeatureUpdateKey<'_>, version: i16) -> FeatureUpdate {
    let kind = match (version, update.allow_downgrade) {
        (0, true) => Some(UpdateKind::SafeDowngrade),
        (0, false) => Some(UpdateKind::Upgrade),
        _ => UpdateKind::from_number(update.upgrade_type),
    };
    FeatureUpdate { name: update.feature.to_string(), level: update.max_version_level, kind }
}

/// Kafka writes the name of "no error" where other answers have null.
fn result<'a>(update: &'a FeatureUpdateKey<'_>) -> UpdatableFeatureResult<'a> {
    UpdatableFeatureResult {
        feature: (&*update.feature).into(),
        error_message: Some("NONE".into()),
        ..Default::default()
    }
}

//! Topics that come into being because a client named them (`auto.create.topics.enable`).
//!
//! The request that named them waits until this broker serves them, so that its answer is already the good one.

use std::time::Duration;

use milena_protocol::ErrorCode;

use crate::server::RequestContext;

/// How long a Metadata request waits for the topics it brings into being. Longer than a commit takes, shorter than
/// clients wait for an answer; after it the client hears UNKNOWN_TOPIC_OR_PARTITION and asks again.
const CREATE_TIME_MAX: Duration = Duration::from_secs(5);

/// Creates the topics with the broker's defaults and gives the names that were refused, with the reason.
pub async fn create(cx: &RequestContext, names: Vec<String>) -> Vec<(String, ErrorCode)> {
    let (node, names) = (&cx.node, names.iter().map(String::as_str).collect::<Vec<_>>());
    let created = node.controller.auto_create(&node.metadata, &node.settings, &names, CREATE_TIME_MAX).await;
    // When nothing was decided the next request tries again: nothing is known to be wrong with the names.
    created.unwrap_or_default().into_iter().map(|(name, error)| (name, error.code)).collect()
}

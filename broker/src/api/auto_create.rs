//! Topics that come into being because a client named them (`auto.create.topics.enable`).
//!
//! The request that named them waits until this broker serves them, so that its answer is already the good one.

use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_state::metadata::topics::{self, CreateTopics};
use milena_state::metadata::{Command, Reply};

use super::{controller_call, topic_id};
use crate::server::RequestContext;

/// How long a Metadata request waits for the topics it brings into being. Longer than a commit takes, shorter than
/// clients wait for an answer; after it the client hears UNKNOWN_TOPIC_OR_PARTITION and asks again.
const CREATE_TIME_MAX: Duration = Duration::from_secs(5);

/// Creates the topics with the broker's defaults and gives the names that were refused, with the reason.
pub async fn create(cx: &RequestContext, names: Vec<String>) -> Vec<(String, ErrorCode)> {
    let settings = &cx.node.settings;
    let new = names.iter().map(|name| topics::auto_created(name, topic_id::random(), settings)).collect();
    let command = Command::CreateTopics(CreateTopics { topics: new, validate_only: false });
    let committed = match cx.node.controller.submit_within(command, CREATE_TIME_MAX).await {
        Ok(committed) => committed,
        // The next request tries again: nothing is known to be wrong with the names.
        Err(error) => {
            controller_call::refused(cx, error);
            return Vec::new();
        }
    };
    // When time runs out the topics exist all the same and show up with the client's next look.
    let _ = tokio::time::timeout(CREATE_TIME_MAX, cx.node.metadata.reached(committed.index)).await;
    let Reply::CreateTopics(outcomes) = committed.reply else { return Vec::new() };
    let refused = outcomes.into_iter().filter_map(|outcome| Some((outcome.name, outcome.result.err()?.code)));
    // Somebody else was faster: the topic is there, which is all that was wanted.
    refused.filter(|(_, code)| *code != ErrorCode::TopicAlreadyExists).collect()
}

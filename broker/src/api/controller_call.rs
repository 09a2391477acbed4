//! How admin handlers ask the controller: submit, and wait until this broker serves the outcome.

use std::time::Duration;

use milena_protocol::{ApiKey, ErrorCode};
use milena_state::metadata::command::ApiError;
use milena_state::metadata::configs::ANY_RECEIVER;
use milena_state::metadata::{Command, Reply};

use crate::controller::client::SUBMIT_TIMEOUT;
use crate::controller::{Committed, SubmitError};
use crate::server::RequestContext;

/// The longest that a request may make us wait, whatever it says.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// Has the command committed and this broker follow, within the request's own time.
///
/// Once committed the answer is the outcome, also when this broker is late to follow: saying otherwise would make the
/// client repeat what was done. A request without time is not begun.
pub async fn decide(cx: &RequestContext, command: Command, timeout_ms: i32) -> Result<Reply, ErrorCode> {
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)).min(TIMEOUT_MAX);
    if timeout.is_zero() {
        return Err(ErrorCode::RequestTimedOut);
    }
    decide_within(cx, command, timeout).await
}

/// As [`decide`], for requests that name no time.
pub async fn decide_soon(cx: &RequestContext, command: Command) -> Result<Reply, ErrorCode> {
    decide_within(cx, command, SUBMIT_TIMEOUT).await
}

async fn decide_within(cx: &RequestContext, command: Command, timeout: Duration) -> Result<Reply, ErrorCode> {
    let deadline = tokio::time::Instant::now() + timeout;
    // Requests are passed on whole before they come here, so that a command of a client is never sent on by itself.
    let committed = cx.node.controller.submit_here(command, timeout).await;
    let committed = committed.map_err(|error| refused(cx, error))?;
    let _ = tokio::time::timeout_at(deadline, cx.node.metadata.reached(committed.index)).await;
    Ok(committed.reply)
}

/// Has a command of another node decided by this one, or says that this one is not the active controller.
pub async fn decide_here(cx: &RequestContext, command: Command) -> Result<Committed, ErrorCode> {
    cx.node.controller.submit_here(command, SUBMIT_TIMEOUT).await.map_err(SubmitError::code)
}

/// The broker that the client asked, whose configuration it may change through it.
pub fn receiver(cx: &RequestContext) -> i32 {
    // Which broker passed a request on is not told, and its client is where it wants to be.
    if cx.peer.asked_elsewhere() { ANY_RECEIVER } else { cx.node.settings.node_id }
}

/// The answer when the controller took no decision.
fn refused(cx: &RequestContext, error: SubmitError) -> ErrorCode {
    match error {
        SubmitError::NotController => {
            cx.not_controller();
            error.code()
        }
        SubmitError::Overloaded if !knows_throttling(cx.api, cx.version) => ErrorCode::RequestTimedOut,
        _ => error.code(),
    }
}

/// Whether clients of that version know THROTTLING_QUOTA_EXCEEDED and try again (KIP-599).
pub fn knows_throttling(key: ApiKey, version: i16) -> bool {
    match key {
        ApiKey::CreateTopics => version >= 6,
        ApiKey::DeleteTopics => version >= 5,
        ApiKey::CreatePartitions => version >= 3,
        _ => false,
    }
}

/// Why something was not done: NONE and no message when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: Option<String>,
}

impl Refusal {
    pub fn of(outcome: Result<(), ApiError>) -> Self {
        match outcome {
            Ok(()) => Self { code: ErrorCode::None, message: None },
            Err(error) => Self { code: error.code, message: Some(error.message) },
        }
    }

    /// The same error, without more words, for each of several.
    pub fn same(code: ErrorCode, count: usize) -> Vec<Self> {
        vec![Self { code, message: None }; count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_know_it_are_told_of_throttling() {
        assert!(
            knows_throttling(ApiKey::CreatePartitions, 3) && !knows_throttling(ApiKey::CreatePartitions, 2)
        );
        assert!(knows_throttling(ApiKey::CreateTopics, 6) && !knows_throttling(ApiKey::CreateTopics, 5));
        assert!(knows_throttling(ApiKey::DeleteTopics, 5) && !knows_throttling(ApiKey::DeleteTopics, 4));
        assert!(!knows_throttling(ApiKey::IncrementalAlterConfigs, 1));
    }
}

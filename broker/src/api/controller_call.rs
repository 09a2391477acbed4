//! How admin handlers ask the controller: submit, and wait until this broker serves the outcome.

use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_state::metadata::{Command, Reply};

use crate::controller::SubmitError;
use crate::metrics::Limit;
use crate::server::RequestContext;

/// The longest that a request may make us wait, whatever it says.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// Has the command committed and this broker follow, within the request's own time.
///
/// Once committed the answer is the outcome, also when this broker is late to follow: saying otherwise would make the
/// client repeat what was done.
pub async fn decide(cx: &RequestContext, command: Command, timeout_ms: i32) -> Result<Reply, ErrorCode> {
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)).min(TIMEOUT_MAX);
    let deadline = tokio::time::Instant::now() + timeout;
    let committed = cx.node.controller.submit_within(command, timeout).await;
    let committed = committed.map_err(|error| refused(cx, error))?;
    let _ = tokio::time::timeout_at(deadline, cx.node.metadata.reached(committed.index)).await;
    Ok(committed.reply)
}

/// The answer when the controller took no decision.
pub fn refused(cx: &RequestContext, error: SubmitError) -> ErrorCode {
    if error == SubmitError::Overloaded {
        cx.node.metrics.refused(Limit::ControllerMailbox);
    }
    error.code()
}

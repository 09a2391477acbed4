//! What adding, removing and moving a voter have in common.

use std::time::Duration;

use milena_protocol::ErrorCode;

use crate::controller::raft::quorum::Quorum;
use crate::controller::raft::serve::Refused;
use crate::server::RequestContext;

/// `controller.quorum.request.timeout.ms` of Apache Kafka, several times over: a change is committed in two steps.
pub const CHANGE_TIME_MAX: Duration = Duration::from_secs(10);

/// A request may name the cluster that it is meant for.
pub fn check_cluster(cx: &RequestContext, named: Option<&str>) -> Result<(), Refused> {
    match named {
        Some(named) if named != &*cx.node.cluster_id => Err(Refused {
            code: ErrorCode::InconsistentClusterId,
            message: format!(
                "The given id \"{named}\" doesn't match the cluster id \"{}\"",
                cx.node.cluster_id
            ),
        }),
        _ => Ok(()),
    }
}

/// The listener through which voters reach each other: the first controller listener.
pub fn default_listener(cx: &RequestContext) -> String {
    let first = cx.node.settings.controller_listeners.first();
    first.map_or_else(|| "CONTROLLER".to_owned(), |listener| listener.name.clone())
}

/// Runs a change where the quorum lives. It goes on to its end when the client does not wait for it.
pub async fn on_leader<F>(cx: &RequestContext, change: impl FnOnce(Quorum) -> F) -> Result<(), Refused>
where
    F: Future<Output = Result<(), Refused>> + Send + 'static,
{
    let elsewhere = || {
        cx.not_controller();
        Refused {
            code: ErrorCode::NotController,
            message: "this node does not lead the metadata quorum".to_owned(),
        }
    };
    let quorum = cx.node.quorum.as_ref().ok_or_else(elsewhere)?;
    match cx.node.background.spawn(change(quorum.clone())).await {
        Ok(Err(refused)) if refused.code == ErrorCode::NotLeaderOrFollower => Err(elsewhere()),
        Ok(outcome) => outcome,
        Err(error) => Err(Refused { code: ErrorCode::UnknownServerError, message: error.to_string() }),
    }
}

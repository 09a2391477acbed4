//! How CreateTopics, CreatePartitions and DeleteTopics go: what the quota on changes lets through is decided by the
//! controller as one command, the rest is refused (KIP-599).

use milena_protocol::ErrorCode;
use milena_state::metadata::{Command, Mutation, Reply};

use super::controller_call;
use crate::server::RequestContext;

/// The topics of a request, told apart by the quota of its client.
pub struct Admitted<T> {
    wanted: Vec<T>,
    refused: Vec<T>,
    throttle_time_ms: i32,
}

/// What became of the topics of a request.
pub struct Decided<T, O> {
    pub outcomes: Vec<O>,
    /// What the controller was not asked about, or did not decide.
    pub refused: Vec<(T, ErrorCode)>,
    pub throttle_time_ms: i32,
}

/// Holds a request to the quota on changes.
pub fn admit<T>(
    cx: &RequestContext,
    asked: Vec<T>,
    mutation: impl for<'a> Fn(&'a T) -> Mutation<'a>,
) -> Admitted<T> {
    let mut mutations = cx.mutations(controller_call::knows_throttling(cx.api, cx.version));
    let partitions = |one: &T| mutation(one).partitions(&cx.node.metadata.image(), &cx.node.settings);
    let (wanted, refused) = asked.into_iter().partition(|one| mutations.admit(|| partitions(one)));
    Admitted { wanted, refused, throttle_time_ms: mutations.throttle() }
}

impl<T: Clone> Admitted<T> {
    /// Has the controller decide what was let through; with nothing left it is not asked. `outcomes` takes them out of
    /// its reply.
    pub async fn decide<O>(
        self,
        cx: &RequestContext,
        timeout_ms: i32,
        command: impl FnOnce(Vec<T>) -> Command,
        outcomes: impl FnOnce(Reply) -> Option<Vec<O>>,
    ) -> Decided<T, O> {
        let Self { wanted, refused, throttle_time_ms } = self;
        let exceeding = refused.into_iter().map(|one| (one, ErrorCode::ThrottlingQuotaExceeded));
        let refused = exceeding.collect();
        if wanted.is_empty() {
            return Decided { outcomes: Vec::new(), refused, throttle_time_ms };
        }
        let reply = controller_call::decide(cx, command(wanted.clone()), timeout_ms).await;
        match reply.and_then(|reply| outcomes(reply).ok_or(ErrorCode::UnknownServerError)) {
            Ok(outcomes) => Decided { outcomes, refused, throttle_time_ms },
            Err(error) => {
                let undecided = wanted.into_iter().map(|one| (one, error));
                Decided {
                    outcomes: Vec::new(),
                    refused: undecided.chain(refused).collect(),
                    throttle_time_ms,
                }
            }
        }
    }
}

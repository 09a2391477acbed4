//! Which broker coordinates a group (FindCoordinator, key 10, versions 0–6).
//!
//! An answer is kept until somebody finds it wrong. From version 4 on a request names a list of keys (KIP-699); here it
//! is always one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use milena_protocol::ErrorCode;
use milena_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use milena_protocol::messages::find_coordinator_response::FindCoordinatorResponse;

use super::{Broker, Cluster, Metadata, Retry};
use crate::connection::Connection;
use crate::error::{Error, Result};

/// Coordinators are asked for as a list from this version on.
const BATCHED_FROM: i16 = 4;

/// Groups whose coordinators are kept. One more and all are asked for again: whoever lists more than this works through
/// them once.
const KEPT_MAX: usize = 10_000;

/// Broker ids by group.
#[derive(Debug, Default)]
pub(super) struct Coordinators(Mutex<HashMap<String, i32>>);

impl Coordinators {
    fn map(&self) -> MutexGuard<'_, HashMap<String, i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, group_id: &str, broker_id: i32) {
        let mut map = self.map();
        if map.len() >= KEPT_MAX {
            map.clear();
        }
        map.insert(group_id.to_owned(), broker_id);
    }
}

impl Cluster {
    /// The broker that coordinates a group: from the cache, otherwise asked, again while the cluster has none to offer.
    /// [`Cluster::broker`] connects to it.
    ///
    /// Errors: what the cluster answers, such as GROUP_AUTHORIZATION_FAILED or INVALID_GROUP_ID, and what stayed wrong
    /// for `default.api.timeout.ms`.
    pub async fn coordinator(&self, group_id: &str) -> Result<i32> {
        self.coordinator_with(group_id, &mut self.retry()).await
    }

    /// As [`Cluster::coordinator`], within what is left of an operation's attempts.
    async fn coordinator_with(&self, group_id: &str, retry: &mut Retry) -> Result<i32> {
        let known = self.inner.coordinators.map().get(group_id).copied();
        if let Some(broker_id) = known {
            return Ok(broker_id);
        }
        loop {
            match self.find_coordinator(group_id).await {
                Err(error) if error.may_be_retried() => retry.pause(error).await?,
                Err(error) => return Err(error),
                Ok(broker_id) => {
                    self.inner.coordinators.keep(group_id, broker_id);
                    return Ok(broker_id);
                }
            }
        }
    }

    /// Has the coordinator of a group asked for again when it is next needed. For whoever was told NOT_COORDINATOR, or
    /// lost the connection to it.
    pub fn forget_coordinator(&self, group_id: &str) {
        self.inner.coordinators.map().remove(group_id);
    }

    /// Forgets the coordinator if `error` casts doubt on it; whether it did.
    pub fn doubt_coordinator(&self, group_id: &str, error: &Error) -> bool {
        let doubtful = casts_doubt(error);
        if doubtful {
            self.forget_coordinator(group_id);
        }
        doubtful
    }

    /// Has `attempt` talk to the coordinator of a group, again while its error may be retried: the coordinator moved, is
    /// loading, or was lost. Pauses grow, and `default.api.timeout.ms` bounds all attempts together.
    ///
    /// Errors: those of [`Cluster::coordinator`] and of `attempt`.
    pub async fn at_coordinator<T, F>(
        &self,
        group_id: &str,
        mut attempt: impl FnMut(Arc<Connection>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut retry = self.retry();
        loop {
            let broker_id = self.coordinator_with(group_id, &mut retry).await?;
            let attempted = async { attempt(self.broker(broker_id).await?).await };
            match attempted.await {
                Err(error) if error.may_be_retried() => {
                    self.doubt_coordinator(group_id, &error);
                    retry.pause(error).await?;
                }
                outcome => return outcome,
            }
        }
    }

    /// A connection to the coordinator for one user alone. A JoinGroup holds up whatever is sent behind it on its
    /// connection until the rebalance is over.
    ///
    /// Errors: those of [`Cluster::coordinator`], and `Connect`.
    pub async fn dial_coordinator(&self, group_id: &str) -> Result<Connection> {
        let broker_id = self.coordinator(group_id).await?;
        let known = self.cached();
        let address = known.broker(broker_id).ok_or(Error::UnknownBroker(broker_id))?.address();
        Connection::open(&self.inner.dialer, &address, self.options()).await
    }

    async fn find_coordinator(&self, group_id: &str) -> Result<i32> {
        let connection = self.any().await?;
        let version = connection.version_of::<FindCoordinatorRequest<'_>>(i16::MAX)?;
        // Key type 0 is a group.
        let request = if version >= BATCHED_FROM {
            FindCoordinatorRequest { coordinator_keys: vec![group_id.into()], ..Default::default() }
        } else {
            FindCoordinatorRequest { key: group_id.into(), ..Default::default() }
        };
        let response = connection.call_at(&request, version).await?;
        let decoded = response.decode::<FindCoordinatorRequest<'_>>()?;
        let found = found(&decoded, version, group_id, connection.address())?;
        let is_known = |metadata: &Metadata| {
            metadata.broker(found.id).is_some_and(|known| known.address() == found.address())
        };
        if !is_known(&self.cached()) {
            self.refresh(Some(&[]), false).await?;
        }
        // One that is not in the metadata yet can be connected to a moment later.
        self.cached().broker(found.id).map(|broker| broker.id).ok_or(Error::UnknownBroker(found.id))
    }
}

fn found(
    response: &FindCoordinatorResponse<'_>,
    version: i16,
    group_id: &str,
    address: &str,
) -> Result<Broker> {
    let context = || format!("coordinator of group {group_id}");
    let broker = |id: i32, host: &str, port: i32| Broker { id, host: host.to_owned(), port, rack: None };
    if version < BATCHED_FROM {
        Error::check(response.error_code, response.error_message.as_deref(), context)?;
        return Ok(broker(response.node_id, &response.host, response.port));
    }
    let missing = || Error::Protocol {
        address: address.to_owned(),
        message: format!("FindCoordinator says nothing of group {group_id}"),
    };
    let found = response.coordinators.iter().find(|found| found.key == group_id).ok_or_else(missing)?;
    Error::check(found.error_code, found.error_message.as_deref(), context)?;
    Ok(broker(found.node_id, &found.host, found.port))
}

/// Whether it may be somebody else by now. A coordinator that is loading is the right one.
fn casts_doubt(error: &Error) -> bool {
    match error {
        Error::Broker { code, .. } => {
            matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable)
        }
        Error::Connect { .. }
        | Error::Disconnected { .. }
        | Error::TimedOut { .. }
        | Error::UnknownBroker(_) => true,
        _ => false,
    }
}

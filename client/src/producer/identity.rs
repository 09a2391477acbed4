//! Producer ids of an idempotent producer.
//!
//! All partitions share one id, with sequences of their own. A partition whose sequence broke goes on under the next
//! epoch of that id, and when those are used up under a fresh id of its own.

use milena_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use tokio::sync::Mutex;

use super::numbering::Need;
use crate::cluster::Cluster;
use crate::error::{Error, Result};

/// A producer id and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub producer_id: i64,
    pub producer_epoch: i16,
}

pub(crate) struct Identities {
    cluster: Cluster,
    shared: Mutex<Option<Identity>>,
}

impl Identities {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, shared: Mutex::new(None) }
    }

    pub(super) async fn fetch(&self, need: Need) -> Result<Identity> {
        match need {
            Need::Shared => self.shared().await,
            Need::Fresh => self.fresh().await,
        }
    }

    /// The identity that all partitions start with.
    async fn shared(&self) -> Result<Identity> {
        let mut shared = self.shared.lock().await;
        match *shared {
            Some(identity) => Ok(identity),
            None => Ok(*shared.insert(self.fresh().await?)),
        }
    }

    /// An identity that nobody had.
    async fn fresh(&self) -> Result<Identity> {
        // No transactional id: null, which is not the field's default (an empty id is refused).
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..Default::default()
        };
        let mut retry = self.cluster.retry();
        loop {
            let response = self.cluster.call_any(&request).await?;
            let response = response.decode::<InitProducerIdRequest<'_>>()?;
            match Error::check(response.error_code, None, || "InitProducerId".to_owned()) {
                Ok(()) => {
                    let (producer_id, producer_epoch) = (response.producer_id, response.producer_epoch);
                    return Ok(Identity { producer_id, producer_epoch });
                }
                Err(error) if error.may_be_retried() => retry.pause(error).await?,
                Err(error) => return Err(error),
            }
        }
    }
}

//! Producer ids of an idempotent producer.
//!
//! All partitions share one id, with sequences of their own. A partition that lost track of its sequence, because a
//! batch failed without anybody knowing whether it was stored, goes on under a fresh id of its own.

use milena_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use tokio::sync::Mutex;

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
    enabled: bool,
    shared: Mutex<Option<Identity>>,
}

impl Identities {
    pub(super) fn new(cluster: Cluster, enabled: bool) -> Self {
        Self { cluster, enabled, shared: Mutex::new(None) }
    }

    /// The identity that all partitions start with; none when the producer is not idempotent.
    pub(super) async fn shared(&self) -> Result<Option<Identity>> {
        if !self.enabled {
            return Ok(None);
        }
        let mut shared = self.shared.lock().await;
        if shared.is_none() {
            *shared = Some(self.fresh().await?);
        }
        Ok(*shared)
    }

    /// An identity that nobody had.
    pub(super) async fn fresh(&self) -> Result<Identity> {
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

//! Which transactional batches of clients are let in: none, as long as no coordinator can end what they begin.
//!
//! A transactional batch opens a transaction in the log. Only a marker ends it, only a coordinator writes markers, and
//! until then the last stable offset stays where it is: readers of committed records would wait for ever.

use milena_protocol::ErrorCode;
use milena_protocol::records::{Batch, HEADER_SIZE};

use super::Rejection;

/// Whether a Produce request with this transactional id may carry these records, the field of one partition as it came.
///
/// A transactional batch without a transactional id refuses the whole request, as in Apache Kafka: there is nothing
/// that the client could be authorized for. Records that cannot be read are for [`validate`](super::validate) to name.
///
/// Errors: TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
///
/// Source: KIP-98.
pub fn may_be_transactional(batches: &[u8], transactional_id: Option<&str>) -> Result<(), ErrorCode> {
    let is_transactional =
        || Batch::parse(batches).is_ok_and(|(batch, _)| batch.attributes.is_transactional());
    if transactional_id.is_none() && batches.len() >= HEADER_SIZE && is_transactional() {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    Ok(())
}

/// The batch of a request that names its transactional id.
///
/// Apache Kafka asks the coordinator whether the partition belongs to the open transaction of that id (KIP-890). Here
/// no id was ever initialised (InitProducerId refuses them), and for an id that it does not know a coordinator
/// answers INVALID_PRODUCER_ID_MAPPING.
pub(super) fn check(batch: &Batch<'_>) -> Result<(), Rejection> {
    if !batch.attributes.is_transactional() {
        return Ok(());
    }
    let message = format!("producer id {} belongs to no transactional id", batch.producer_id);
    Err(Rejection::new(ErrorCode::InvalidProducerIdMapping, message))
}

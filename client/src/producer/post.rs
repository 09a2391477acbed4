//! One attempt to send one batch: to the leader of now, and what its answer says.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use milena_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_protocol::messages::produce_response::PartitionProduceResponse;
use milena_protocol::records::Batch;
use milena_protocol::records::batch::BatchHeader;
use milena_protocol::{ErrorCode, Records, Uuid};

use super::Shared;
use super::delivery::Stored;
use super::fate::Failure;
use super::numbering::Number;
use crate::config::Acks;
use crate::connection::Response;
use crate::error::{Error, Result};

/// Topics are named by id from this version on.
const BY_ID_FROM: i16 = 13;

/// The way of a partition's batches to its leader.
pub(super) struct Link {
    pub shared: Arc<Shared>,
    pub topic: String,
    pub partition: i32,
}

/// Waits for the answer to a batch that was sent.
pub(super) type Answer = BoxFuture<'static, Result<Stored, Failure>>;

/// The batch under this number. Only its header and checksum change, so a retry does not compress again, and a batch that
/// nobody else holds is not copied.
pub(super) fn numbered(batch: Bytes, number: Option<Number>) -> Result<Bytes> {
    let Some(Number { identity, sequence }) = number else { return Ok(batch) };
    let (parsed, _) = Batch::parse(&batch).map_err(|error| Error::Corrupt(error.to_string()))?;
    let same = (parsed.producer_id, parsed.producer_epoch, parsed.base_sequence)
        == (identity.producer_id, identity.producer_epoch, sequence);
    if same {
        return Ok(batch);
    }
    let header = BatchHeader {
        producer_id: identity.producer_id,
        producer_epoch: identity.producer_epoch,
        base_sequence: sequence,
        ..*parsed
    };
    let sealed = header.sealed(parsed.payload());
    match batch.try_into_mut() {
        Ok(mut own) => {
            own[..sealed.len()].copy_from_slice(&sealed);
            Ok(own.freeze())
        }
        // An earlier attempt still has it.
        Err(shared) => Ok([&sealed[..], &shared[sealed.len()..]].concat().into()),
    }
}

impl Link {
    /// Queues the batch on the connection to the leader. Batches reach it in the order in which this was awaited.
    pub async fn post(self: Arc<Self>, batch: Bytes) -> Result<Answer, Failure> {
        let before = Failure::before_sending;
        let topic = self.shared.cluster.topic(&self.topic, true).await.map_err(before)?;
        let leader = topic.leader(self.partition).map_err(before)?;
        let connection = self.shared.cluster.broker(leader).await.map_err(before)?;
        let at_most = if topic.id.is_zero() { BY_ID_FROM - 1 } else { i16::MAX };
        let version = connection.version_of::<ProduceRequest<'_>>(at_most).map_err(before)?;
        let request = self.request(&batch, topic.id, version);
        if self.shared.config.acks == Acks::None {
            connection.send_unanswered(&request, version).await.map_err(Failure::after_sending)?;
            let stored = Stored { partition: self.partition, base_offset: None, log_append_time: None };
            return Ok(Box::pin(std::future::ready(Ok(stored))));
        }
        let response = connection.post(&request, version).await.map_err(before)?;
        let link = Arc::clone(&self);
        Ok(Box::pin(async move {
            let judged = async { link.read(&response.await?) }.await;
            judged.map_err(Failure::after_sending)
        }))
    }

    fn request<'a>(&'a self, batch: &'a [u8], topic_id: Uuid, version: i16) -> ProduceRequest<'a> {
        let data =
            PartitionProduceData { index: self.partition, records: Some(Records::Bytes(batch.into())) };
        let mut topic = TopicProduceData { partition_data: vec![data], ..Default::default() };
        if version >= BY_ID_FROM {
            topic.topic_id = topic_id;
        } else {
            topic.name = self.topic.as_str().into();
        }
        let timeout_ms =
            i32::try_from(self.shared.cluster.config().request_timeout.as_millis()).unwrap_or(i32::MAX);
        ProduceRequest {
            acks: self.shared.config.acks as i16,
            timeout_ms,
            topic_data: vec![topic],
            ..Default::default()
        }
    }

    fn read(&self, response: &Response) -> Result<Stored> {
        let response = response.decode::<ProduceRequest<'_>>()?;
        let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let answer =
            partitions.next().ok_or_else(|| Error::Corrupt("Produce answered nothing".to_owned()))?;
        self.judge(answer)
    }

    fn judge(&self, answer: &PartitionProduceResponse<'_>) -> Result<Stored> {
        let known = |number: i64| (number >= 0).then_some(number);
        if answer.error_code == i16::from(ErrorCode::DuplicateSequenceNumber) {
            // An earlier attempt arrived; the broker has forgotten where.
            return Ok(Stored { partition: self.partition, base_offset: None, log_append_time: None });
        }
        let record = answer.record_errors.first().map(|record| {
            let reason = record.batch_index_error_message.as_deref().unwrap_or("no reason given");
            format!("record {} of its batch: {reason}", record.batch_index)
        });
        let message = record.or(answer.error_message.as_deref().map(str::to_owned));
        Error::check(answer.error_code, message.as_deref(), || {
            format!("producing to {}-{}", self.topic, self.partition)
        })?;
        Ok(Stored {
            partition: self.partition,
            base_offset: known(answer.base_offset),
            log_append_time: known(answer.log_append_time_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::records::Builder;

    use super::*;
    use crate::producer::identity::Identity;

    fn batch() -> Bytes {
        let mut builder = Builder::new();
        builder.append(5, None, Some(b"value"), &[]).expect("it fits");
        builder.finish().expect("it is finished").into()
    }

    fn producer(batch: &Bytes) -> (i64, i16, i32) {
        let (parsed, _) = Batch::parse(batch).expect("a batch");
        parsed.verify_crc().expect("its checksum is right");
        (parsed.producer_id, parsed.producer_epoch, parsed.base_sequence)
    }

    #[test]
    fn a_number_is_written_in_place_unless_an_attempt_still_has_the_batch() {
        let number = Some(Number { identity: Identity { producer_id: 7, producer_epoch: 1 }, sequence: 9 });
        let own = batch();
        let place = own.as_ptr();
        let written = numbered(own, number).expect("a batch");
        assert_eq!((producer(&written), written.as_ptr()), ((7, 1, 9), place));

        let shared = batch();
        let attempt = shared.clone();
        let written = numbered(shared, number).expect("a batch");
        assert_eq!((producer(&written), producer(&attempt)), ((7, 1, 9), (-1, -1, -1)));
    }
}

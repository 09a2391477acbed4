//! The task of one partition: takes batches and sends each until it is stored or given up.

use std::sync::Arc;
use std::time::Instant;

use milena_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_protocol::messages::produce_response::PartitionProduceResponse;
use milena_protocol::records::batch::sequence_add;
use milena_protocol::{ErrorCode, Records, Uuid};

use super::Shared;
use super::delivery::Stored;
use super::identity::Identity;
use super::queue::{Next, Pending, Queue};
use crate::cluster::{Retry, time_left};
use crate::config::Acks;
use crate::error::{Error, Result};

/// Topics are named by id from this version on.
const BY_ID_FROM: i16 = 13;

pub(super) async fn run(shared: Arc<Shared>, queue: Arc<Queue>, topic: String, partition: i32) {
    let mut sender = Sender { shared, topic, partition, numbering: None, lost_track: false };
    loop {
        let changed = queue.changed.notified();
        match queue.next(&sender.shared) {
            Next::Send(pending) => {
                let Pending { builder, outcome, bytes, .. } = *pending;
                let result = sender.deliver(builder).await;
                outcome.settle(result);
                queue.sent(bytes, &sender.shared);
            }
            Next::WaitUntil(due) => {
                let _ = tokio::time::timeout_at(due.into(), changed).await;
            }
            Next::Wait => changed.await,
            Next::End => return,
        }
    }
}

struct Sender {
    shared: Arc<Shared>,
    topic: String,
    partition: i32,
    /// Identity and next sequence; none before the first batch and after track was lost.
    numbering: Option<Numbering>,
    /// A batch failed without anybody knowing whether it was stored.
    lost_track: bool,
}

#[derive(Debug, Clone, Copy)]
struct Numbering {
    identity: Identity,
    sequence: i32,
}

impl Sender {
    async fn deliver(&mut self, builder: milena_protocol::records::Builder) -> Result<Stored> {
        let count = builder.count();
        let builder = match self.numbering().await? {
            Some(Numbering { identity, sequence }) => {
                builder.producer(identity.producer_id, identity.producer_epoch, sequence)
            }
            None => builder,
        };
        let batch = builder.finish().map_err(|error| Error::Corrupt(error.to_string()))?;
        let result = self.send_until_stored(&batch).await;
        match (&result, &mut self.numbering) {
            (Ok(_), Some(numbering)) => numbering.sequence = sequence_add(numbering.sequence, count),
            // Whether it was stored is not known, so the next sequence is not either.
            (Err(_), numbering) => (*numbering, self.lost_track) = (None, true),
            _ => {}
        }
        result
    }

    async fn numbering(&mut self) -> Result<Option<Numbering>> {
        if self.numbering.is_none() {
            let identity = match self.shared.identities.shared().await? {
                None => return Ok(None),
                // A first batch may share the identity of the others; after a loss of track it must not.
                Some(identity) if !self.lost_track => identity,
                Some(_) => self.shared.identities.fresh().await?,
            };
            self.numbering = Some(Numbering { identity, sequence: 0 });
        }
        Ok(self.numbering)
    }

    async fn send_until_stored(&self, batch: &[u8]) -> Result<Stored> {
        let deadline = Instant::now() + self.shared.config.delivery_timeout;
        let client = self.shared.cluster.config();
        let timeout = self.shared.config.delivery_timeout;
        let mut retry = Retry::new(client.retry_backoff, client.retry_backoff_max, timeout);
        loop {
            let error = match tokio::time::timeout(time_left(deadline), self.send_once(batch)).await {
                Ok(Ok(stored)) => return Ok(stored),
                Ok(Err(error)) if error.may_be_retried() => error,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(self.too_late()),
            };
            self.shared.cluster.forget(&self.topic);
            if time_left(deadline).is_zero() {
                return Err(error);
            }
            retry.pause(error).await?;
        }
    }

    fn too_late(&self) -> Error {
        let timeout_ms = self.shared.config.delivery_timeout.as_millis() as u64;
        Error::TimedOut { what: format!("delivery to {}-{}", self.topic, self.partition), timeout_ms }
    }

    async fn send_once(&self, batch: &[u8]) -> Result<Stored> {
        let topic = self.shared.cluster.topic(&self.topic, true).await?;
        let connection = self.shared.cluster.broker(topic.leader(self.partition)?).await?;
        let at_most = if topic.id.is_zero() { BY_ID_FROM - 1 } else { i16::MAX };
        let version = connection.version_of::<ProduceRequest<'_>>(at_most)?;
        let request = self.request(batch, topic.id, version);
        if self.shared.config.acks == Acks::None {
            connection.send_unanswered(&request, version).await?;
            return Ok(Stored { partition: self.partition, base_offset: None, log_append_time: None });
        }
        let response = connection.call_at(&request, version).await?;
        let response = response.decode::<ProduceRequest<'_>>()?;
        let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let answer =
            partitions.next().ok_or_else(|| Error::Corrupt("Produce answered nothing".to_owned()))?;
        self.judge(answer)
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

//! The producers that a partition remembers, for DescribeProducers.

use milena_protocol::ErrorCode;

use super::Partition;

/// A producer whose state has not expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: i64,
    pub epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp: i64,
    pub coordinator_epoch: i32,
    /// First offset of the transaction that it has open.
    pub transaction_start_offset: Option<i64>,
}

impl Partition {
    /// Every producer that is remembered, by id. Errors: NOT_LEADER_OR_FOLLOWER when the log is closed.
    pub fn active_producers(&self) -> Result<Vec<ActiveProducer>, ErrorCode> {
        let inner = self.lock();
        let log = inner.log.as_ref().ok_or(ErrorCode::NotLeaderOrFollower)?;
        let producers = log.producers().iter().map(|(producer_id, producer)| ActiveProducer {
            producer_id,
            epoch: producer.epoch,
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start_offset: producer.open_transaction(),
        });
        let mut producers: Vec<_> = producers.collect();
        drop(inner);
        producers.sort_unstable_by_key(|producer| producer.producer_id);
        Ok(producers)
    }
}

//! Blocks of producer ids: each is given to one broker once. And what a producer that asks for an id may say of itself.

use milena_protocol::ErrorCode;

use super::brokers::check_broker_epoch;
use super::command::{ApiError, Decision, Reply};
use super::image::Image;
use super::record::{ProducerIds, Record};

/// Ids in one block, as in Kafka.
pub const BLOCK_SIZE: i32 = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocateProducerIds {
    pub broker_id: i32,
    pub broker_epoch: i64,
}

/// `count` producer ids from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub first: i64,
    pub count: i32,
}

/// In requests: the producer has no id, or no epoch.
const NONE: i64 = -1;

/// A producer that asks for an id names the one it had, or none.
///
/// Errors: `INVALID_REQUEST` for an id without an epoch and the reverse, which name nobody.
pub fn check_former(producer_id: i64, producer_epoch: i16) -> Result<(), ErrorCode> {
    let is_half = (producer_id == NONE) != (i64::from(producer_epoch) == NONE);
    if is_half { Err(ErrorCode::InvalidRequest) } else { Ok(()) }
}

/// Errors: `STALE_BROKER_EPOCH`, `BROKER_ID_NOT_REGISTERED`, `UNKNOWN_SERVER_ERROR` when no id is left.
pub fn allocate(image: &Image, command: &AllocateProducerIds) -> Decision {
    match next_block(image, command) {
        Ok(block) => {
            let record = Record::ProducerIds(ProducerIds {
                broker_id: command.broker_id,
                broker_epoch: command.broker_epoch,
                next_producer_id: block.first + i64::from(block.count),
            });
            Decision::new(vec![record], Reply::AllocateProducerIds(Ok(block)))
        }
        Err(error) => Decision::reply(Reply::AllocateProducerIds(Err(error))),
    }
}

fn next_block(image: &Image, command: &AllocateProducerIds) -> Result<Block, ApiError> {
    check_broker_epoch(image, command.broker_id, command.broker_epoch)?;
    let first = image.next_producer_id();
    if first > i64::MAX - i64::from(BLOCK_SIZE) {
        return Err(ApiError::new(ErrorCode::UnknownServerError, "all producer ids have been given out"));
    }
    Ok(Block { first, count: BLOCK_SIZE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::image::Applied;

    #[test]
    fn the_last_block_is_given_and_then_no_more() {
        let mut image = crate::metadata::brokers::tests::image_with_brokers(&[1]);
        let epoch = image.broker(1).unwrap().broker_epoch;
        let command = AllocateProducerIds { broker_id: 1, broker_epoch: epoch };
        let first = i64::MAX - i64::from(BLOCK_SIZE);
        let used =
            Record::ProducerIds(ProducerIds { broker_id: 1, broker_epoch: epoch, next_producer_id: first });
        image.begin_entry(Applied { index: 100, term: 1 });
        image.apply(&used).unwrap();

        let decision = allocate(&image, &command);
        assert_eq!(decision.reply, Reply::AllocateProducerIds(Ok(Block { first, count: BLOCK_SIZE })));
        image.apply(&decision.records[0]).unwrap();
        let Reply::AllocateProducerIds(Err(error)) = allocate(&image, &command).reply else {
            panic!("a block past the end was given out");
        };
        assert_eq!(error.code, ErrorCode::UnknownServerError);
    }

    #[test]
    fn a_former_id_comes_with_its_epoch_or_not_at_all() {
        for whole in [(-1, -1), (0, 0), (7, 3), (-2, -2)] {
            assert_eq!(check_former(whole.0, whole.1), Ok(()), "{whole:?}");
        }
        for half in [(7, -1), (-1, 0), (-1, 3)] {
            assert_eq!(check_former(half.0, half.1), Err(ErrorCode::InvalidRequest), "{half:?}");
        }
    }

    #[test]
    fn a_stale_broker_gets_no_block() {
        let image = crate::metadata::brokers::tests::image_with_brokers(&[1]);
        let stale = AllocateProducerIds { broker_id: 1, broker_epoch: -7 };
        let unknown = AllocateProducerIds { broker_id: 9, broker_epoch: 1 };
        for (command, code) in
            [(stale, ErrorCode::StaleBrokerEpoch), (unknown, ErrorCode::BrokerIdNotRegistered)]
        {
            let Reply::AllocateProducerIds(Err(error)) = allocate(&image, &command).reply else {
                panic!("a block was given out");
            };
            assert_eq!(error.code, code);
        }
    }
}

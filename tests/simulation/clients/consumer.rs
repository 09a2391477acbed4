//! A consumer of one partition: reads on from where it is, from the leader or (KIP-392) from any replica.

use milena_protocol::ErrorCode;

use super::{ClientOut, Told};
use crate::message::{Consumed, Message, Node};
use crate::random::Random;
use crate::schedule::ClientTimer;

#[derive(Debug)]
pub struct Consumer {
    pub id: u32,
    pub partition: i32,
    pub position: i64,
    interval_ms: i64,
    random: Random,
}

impl Consumer {
    pub fn new(id: u32, partitions: i32, mut random: Random) -> Self {
        let partition = random.below(partitions as u64) as i32;
        Self { id, partition, position: 0, interval_ms: random.between(10, 120), random }
    }

    pub fn wake(&mut self, broker: Option<i32>, out: &mut ClientOut) {
        if let Some(broker) = broker {
            // Now and then it begins anew, and must find the same again.
            if self.random.per_mille(20) {
                self.position = self.random.between(0, self.position);
            }
            let message = Message::Consume { partition: self.partition, offset: self.position };
            out.sends.push((Node::Broker(broker), message));
        }
        out.timers.push((self.random.between(1, self.interval_ms), ClientTimer::Act));
    }

    pub fn answered(&mut self, result: Result<Consumed, ErrorCode>, out: &mut ClientOut) {
        let Ok(consumed) = result else { return };
        self.position = self.position.max(consumed.next_offset);
        if let Some(latest) = consumed.latest {
            out.told.push(Told::Latest {
                partition: self.partition,
                consumer: self.id,
                leader_epoch: consumed.leader_epoch,
                latest,
            });
        }
    }

    /// Records that it had read were given up, as this run allows: it begins again.
    pub fn reset_to(&mut self, offset: i64) {
        self.position = self.position.min(offset);
    }
}

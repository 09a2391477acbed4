//! The follower's side: where to fetch from, and what to do with the answer.

use milena_log::AppendAs;
use milena_protocol::ErrorCode;
use milena_state::partition::follower::{self, DivergingEpoch, EpochStart, Restart};

use super::replica::{Replica, Role};
use super::{Note, Out};
use crate::message::{FetchPartition, FetchedPartition, Records};
use crate::parameters::Mutation;

impl Replica {
    /// What to ask the leader, when this replica follows it.
    pub fn to_fetch_from(&self, leader_id: i32) -> Option<FetchPartition> {
        let Role::Follower { follower, leader: Some(leader) } = self.role else { return None };
        if leader != leader_id {
            return None;
        }
        let position = follower.position(self.ends(), |offset| self.log.epoch_at(offset));
        let last_fetched_epoch = match self.setup.mutation {
            Mutation::TruncatesToHighWatermark => -1,
            Mutation::EpochNotSentWhenIdle if position.high_watermark == position.fetch_offset => -1,
            _ => position.last_fetched_epoch,
        };
        Some(FetchPartition {
            partition: self.partition,
            current_leader_epoch: position.leader_epoch,
            fetch_offset: position.fetch_offset,
            last_fetched_epoch,
        })
    }

    /// Takes an answer. True when it brought something, so that the next fetch need not wait.
    pub fn take_fetched(&mut self, answer: &FetchedPartition, out: &mut Out) -> bool {
        let asked = answer.asked;
        let Role::Follower { follower, leader: Some(_) } = self.role else { return false };
        let is_of_now = follower.leader_epoch() == asked.current_leader_epoch;
        if !is_of_now || asked.fetch_offset != self.log_end_offset() {
            return false;
        }
        match &answer.result {
            Ok(records) => match records.diverging {
                Some(diverging) => self.cut(diverging),
                None => self.append_replicated(records, follower.leader_epoch(), out),
            },
            Err(ErrorCode::OffsetOutOfRange) => {
                out.notes.push(Note::Impossible(format!(
                    "fetch of partition {} at {} with epoch {} is out of the leader's range",
                    self.partition, asked.fetch_offset, asked.last_fetched_epoch
                )));
                false
            }
            // The leader has not heard of this epoch yet, or this broker of the next: the image will tell.
            Err(_) => false,
        }
    }

    fn cut(&mut self, diverging: DivergingEpoch) -> bool {
        let history: Vec<EpochStart> = self
            .log
            .epochs()
            .iter()
            .map(|start| EpochStart { epoch: start.epoch, start_offset: start.start_offset })
            .collect();
        let own = self.ends();
        // Nothing is deleted here: every log begins at 0.
        match follower::diverged(&history, own, diverging, 0) {
            _ if self.setup.mutation == Mutation::TakesLeadersEnd => {
                self.truncate(diverging.end_offset.min(own.1));
            }
            Restart::CutTo(offset) | Restart::BeginAt(offset) => self.truncate(offset),
        }
        true
    }

    fn append_replicated(&mut self, records: &Records, leader_epoch: i32, out: &mut Out) -> bool {
        let whole = match follower::whole_batches(&records.bytes, leader_epoch) {
            Ok(whole) => whole,
            Err(unfit) => {
                out.notes.push(Note::Impossible(format!("the leader sent what nobody takes: {unfit}")));
                return false;
            }
        };
        if !whole.is_empty() {
            match self.log.append(whole, AppendAs::Replica, out.now_ms) {
                Ok(_) => self.appended(whole, None),
                Err(error) => {
                    let what = format!("follower cannot append: {error}, epochs {:?}", self.log.epochs());
                    out.notes.push(Note::Impossible(what));
                }
            }
        }
        let end = self.log_end_offset();
        let Role::Follower { follower, .. } = &mut self.role else { return false };
        let risen = follower.appended(end, records.high_watermark);
        if let Some(high_watermark) = risen {
            self.high_watermark = high_watermark;
            self.log.high_watermark_reached(high_watermark);
        }
        !whole.is_empty() || risen.is_some()
    }
}

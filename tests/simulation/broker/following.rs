//! The follower's side: where to fetch from, and what to do with the answer.

use milena_log::AppendAs;
use milena_protocol::ErrorCode;
use milena_protocol::records::Batches;
use milena_state::partition::follower::{DivergingEpoch, EpochStart, Truncation, truncation};

use super::replica::{Replica, Role};
use super::{Note, Out};
use crate::message::{FetchPartition, FetchedPartition, Records};
use crate::parameters::Mutation;

impl Replica {
    /// What to ask the leader, when this replica follows it.
    pub fn to_fetch_from(&self, leader_id: i32) -> Option<FetchPartition> {
        let Role::Follower { leader_epoch, leader: Some(leader) } = self.role else { return None };
        if leader != leader_id {
            return None;
        }
        let end = self.log_end_offset();
        // Of the last record: an epoch that was led without one is no part of the log.
        let epoch = end.checked_sub(1).and_then(|last| self.log.epoch_at(last)).unwrap_or(-1);
        let last_fetched_epoch = match self.setup.mutation {
            Mutation::TruncatesToHighWatermark => -1,
            Mutation::EpochNotSentWhenIdle if self.high_watermark == end => -1,
            _ => epoch,
        };
        let partition = self.partition;
        Some(FetchPartition {
            partition,
            current_leader_epoch: leader_epoch,
            fetch_offset: end,
            last_fetched_epoch,
        })
    }

    /// Takes an answer. True when it brought something, so that the next fetch need not wait.
    pub fn take_fetched(&mut self, answer: &FetchedPartition, out: &mut Out) -> bool {
        let asked = answer.asked;
        let Role::Follower { leader_epoch, leader: Some(_) } = self.role else { return false };
        if leader_epoch != asked.current_leader_epoch || asked.fetch_offset != self.log_end_offset() {
            return false;
        }
        match &answer.result {
            Ok(records) => match records.diverging {
                Some(diverging) => self.cut(diverging),
                None => self.append_replicated(records, out),
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
        let (start, end) = (self.log.log_start_offset(), self.log_end_offset());
        match truncation(&history, start, end, diverging) {
            _ if self.setup.mutation == Mutation::TakesLeadersEnd => {
                self.truncate(diverging.end_offset.min(end));
            }
            Truncation::To(offset) | Truncation::ToAndAskAgain(offset) => self.truncate(offset),
            Truncation::Fully => self.truncate(start),
        }
        true
    }

    fn append_replicated(&mut self, records: &Records, out: &mut Out) -> bool {
        let mut batches = Batches::maybe_truncated(&records.bytes);
        batches.by_ref().for_each(|batch| assert!(batch.is_ok(), "the leader sends whole batches"));
        let whole = &records.bytes[..records.bytes.len() - batches.rest().len()];
        if !whole.is_empty() {
            match self.log.append(whole, AppendAs::Replica, out.now_ms) {
                Ok(_) => self.appended(whole, None),
                Err(error) => {
                    let what = format!("follower cannot append: {error}, epochs {:?}", self.log.epochs());
                    out.notes.push(Note::Impossible(what));
                }
            }
        }
        let high_watermark = records.high_watermark.min(self.log_end_offset());
        let rises = high_watermark > self.high_watermark;
        if rises {
            self.high_watermark = high_watermark;
            self.log.high_watermark_reached(high_watermark);
        }
        !whole.is_empty() || rises
    }
}

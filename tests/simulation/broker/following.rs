//! The follower's side: where to fetch from, and what to do with the answer.

use milena_log::AppendAs;
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
            log_start_offset: position.log_start_offset,
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
            Ok(records) if records.is_out_of_range => self.begin_anew(asked, records.ends, out),
            Ok(records) => match records.diverging {
                Some(diverging) => self.cut(diverging, records.ends.0),
                None => self.append_replicated(records, follower.leader_epoch(), out),
            },
            // The leader has not heard of this epoch yet, or this broker of the next: the image will tell.
            Err(_) => false,
        }
    }

    /// Where nothing was deleted every log begins at 0, and holds whatever was committed.
    fn begin_anew(&mut self, asked: FetchPartition, leader: (i64, i64), out: &mut Out) -> bool {
        if leader.0 == 0 && self.log.log_start_offset() == 0 {
            out.notes.push(Note::Impossible(format!(
                "fetch of partition {} at {} with epoch {} is out of the leader's range",
                self.partition, asked.fetch_offset, asked.last_fetched_epoch
            )));
            return false;
        }
        let restart = follower::out_of_range(self.ends(), leader);
        self.restart(restart);
        true
    }

    fn restart(&mut self, restart: Restart) {
        match restart {
            Restart::CutTo(offset) => self.truncate(offset),
            Restart::BeginAt(offset) => self.begin_at(offset),
        }
    }

    fn cut(&mut self, diverging: DivergingEpoch, leader_log_start: i64) -> bool {
        let history: Vec<EpochStart> = self
            .log
            .epochs()
            .iter()
            .map(|start| EpochStart { epoch: start.epoch, start_offset: start.start_offset })
            .collect();
        let own = self.ends();
        if self.setup.mutation == Mutation::TakesLeadersEnd {
            self.truncate(diverging.end_offset.min(own.1));
        } else {
            self.restart(follower::diverged(&history, own, diverging, leader_log_start));
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
                Ok(appended) => {
                    // The first batch may begin below where the log starts.
                    self.shadow.truncate(appended.base_offset as usize);
                    self.appended(whole, None);
                }
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
        self.log.set_log_start_offset(follower.log_start_offset(records.ends.0));
        !whole.is_empty() || risen.is_some()
    }
}

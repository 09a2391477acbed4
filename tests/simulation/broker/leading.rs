//! The leader's side: appends of producers, fetches of followers, reads of consumers.

use milena_log::AppendAs;
use milena_log::producers::Origin;
use milena_protocol::ErrorCode;
use milena_state::partition::acks::{self, Awaited};
use milena_state::partition::follower::DivergingEpoch;
use milena_state::partition::leader::Fetched;
use milena_state::partition::reads::{self, Isolation};

use super::replica::{Replica, Role, Waiting, cells};
use super::{Note, Out};
use crate::message::{Bytes, Consumed, FetchPartition, Message, Node, Produce, Records, RequestId};
use crate::parameters::Mutation;

impl Replica {
    /// Appends, and answers now or later.
    pub fn produce(&mut self, client: Node, request: RequestId, produce: &Produce, out: &mut Out) {
        match self.append(produce, out) {
            Ok(None) => {}
            Ok(Some(mut waiting)) => {
                (waiting.client, waiting.request) = (client, request);
                self.waiting.push(waiting);
            }
            Err(error) => out.sends.push((client, Message::Produced(request, Err(error)))),
        }
        self.acknowledge(out);
    }

    fn append(&mut self, produce: &Produce, out: &mut Out) -> Result<Option<Waiting>, ErrorCode> {
        let Role::Leader(leader) = &mut self.role else { return Err(ErrorCode::NotLeaderOrFollower) };
        if produce.acks == acks::ALL {
            leader.check_acks_all()?;
        }
        let leader_epoch = leader.leader_epoch();
        let append_as = AppendAs::Leader { leader_epoch, log_append_time: None, origin: Origin::Client };
        let appended =
            self.log.append(&produce.bytes, append_as, out.now_ms).map_err(|error| match error {
                milena_log::AppendError::Refused(_) => ErrorCode::OutOfOrderSequenceNumber,
                other => panic!("append to {}: {other}", self.log.name()),
            })?;
        if !appended.duplicate {
            let effects = leader.appended(self.log.log_end_offset(), out.now_ms);
            self.appended(&produce.bytes, Some(leader_epoch));
            self.wakes = true;
            self.settle(effects, out);
        }
        let awaited = match self.setup.mutation {
            Mutation::AcknowledgesAtOnce => Awaited::Nothing,
            _ => acks::awaited(produce.acks, self.setup.durable),
        };
        let for_sync = awaited == Awaited::Synced;
        let required_offset = if awaited == Awaited::Nothing { 0 } else { appended.last_offset + 1 };
        Ok(Some(Waiting {
            client: Node::Controller,
            request: 0,
            base_offset: appended.base_offset,
            required_offset,
            leader_epoch,
            for_sync: for_sync || awaited == Awaited::Nothing,
        }))
    }

    /// A follower fetches: where its log leaves ours, or records. `counts` is not set when a fetch is looked at again.
    pub fn fetch(
        &mut self,
        asked: FetchPartition,
        (broker_id, broker_epoch): (i32, i64),
        counts: bool,
        out: &mut Out,
    ) -> Result<Records, ErrorCode> {
        let ignores_epoch = self.setup.mutation == Mutation::IgnoresLeaderEpoch;
        let max_bytes = self.setup.fetch_bytes;
        let Role::Leader(leader) = &mut self.role else { return Err(ErrorCode::NotLeaderOrFollower) };
        if !ignores_epoch {
            leader.check_leader_epoch(asked.current_leader_epoch)?;
        }
        let fetched =
            Fetched { broker_id, broker_epoch, fetch_offset: asked.fetch_offset, log_start_offset: 0 };
        if asked.last_fetched_epoch >= 0 {
            let ours = self.log.end_offset_for_epoch(asked.last_fetched_epoch);
            let ours = ours.map(|end| DivergingEpoch { epoch: end.epoch, end_offset: end.end_offset });
            if let Some(diverging) = reads::diverging(asked.last_fetched_epoch, asked.fetch_offset, ours)? {
                if self.setup.mutation == Mutation::CountsDivergingFetch {
                    let fetch_offset = asked.fetch_offset.min(leader.log_end_offset());
                    let effects = leader.fetched(Fetched { fetch_offset, ..fetched }, out.now_ms)?;
                    self.settle(effects, out);
                }
                return Ok(self.records(Vec::new(), Some(diverging)));
            }
        }
        if counts {
            let effects = leader.fetched(fetched, out.now_ms)?;
            self.settle(effects, out);
        }
        let end = self.log_end_offset();
        if asked.fetch_offset > end {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let bytes = self.read(asked.fetch_offset, end, max_bytes);
        Ok(self.records(bytes, None))
    }

    fn records(&self, bytes: Vec<u8>, diverging: Option<DivergingEpoch>) -> Records {
        Records { bytes: Bytes::new(bytes), high_watermark: self.high_watermark, diverging }
    }

    /// A consumer reads, from the leader or (KIP-392) from a follower.
    pub fn consume(&mut self, offset: i64, out: &mut Out) -> Result<Consumed, ErrorCode> {
        let stable = self.log.last_stable_offset();
        let (visible_end, latest) = match &self.role {
            Role::Leader(leader) => {
                let isolation = Isolation::ReadUncommitted;
                (leader.visible_end(isolation, stable), leader.latest_offset(isolation, stable).ok())
            }
            Role::Follower { leader: None, .. } => return Err(ErrorCode::NotLeaderOrFollower),
            Role::Follower { .. } => (self.high_watermark, None),
        };
        let visible_end = match self.setup.mutation {
            Mutation::ReadsAboveHighWatermark => self.log_end_offset(),
            _ => visible_end,
        };
        let leader_epoch = self.leader_epoch();
        if offset > visible_end {
            // Kafka says OFFSET_NOT_AVAILABLE or waits; a follower may be behind.
            return Err(ErrorCode::OffsetNotAvailable);
        }
        let bytes = self.read(offset, visible_end, self.setup.fetch_bytes);
        // The first batch may begin below what was asked for.
        let first = milena_protocol::records::Batches::maybe_truncated(&bytes).next();
        let first = first.map_or(offset, |batch| batch.expect("the log gives whole batches").base_offset);
        let mut found = cells(&bytes, None);
        found.drain(..((offset - first) as usize).min(found.len()));
        let next_offset = offset + found.len() as i64;
        out.notes.push(Note::Read { partition: self.partition, leader_epoch, offset, cells: found });
        Ok(Consumed { next_offset, leader_epoch, latest })
    }
}

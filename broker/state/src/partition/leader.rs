//! The leader's side of a partition: who has what, and what is therefore committed.
//!
//! A record is committed when every member of the maximal ISR has it; the high watermark is the
//! offset below which that holds. It only rises, and it stands still while fewer than
//! `min.insync.replicas` are in sync (KIP-966): a lone survivor must not commit what nobody else
//! can recover. Written for any number of replicas; with one, every append commits at once.
//!
//! The state is soft except for the log: a new leader starts with its log's end and learns the rest
//! from the followers' fetches. Nothing is done here; each event returns the effects that the shell
//! carries out.

use milena_protocol::ErrorCode;

use super::isr::{IsrState, ProposeIsr, effective_min_isr};
use crate::metadata::Partition;
use remote::Follower;

mod remote;
mod selection;

/// The leader's view of one partition.
#[derive(Debug, Clone)]
pub struct Leader {
    broker_id: i32,
    broker_epoch: i64,
    leader_epoch: i32,
    partition_epoch: i32,
    /// Log end offset when this epoch began. A replica below it may miss committed records.
    epoch_start_offset: i64,
    log_end_offset: i64,
    /// Offset below which our log is known to survive a power loss.
    synced_offset: i64,
    high_watermark: i64,
    /// Sorted by broker id; every replica except ourselves.
    followers: Vec<Follower>,
    isr: IsrState,
    rules: Rules,
}

/// Settings that the rules depend on; they may change while we lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub min_insync_replicas: i32,
    /// Only synced bytes count towards the high watermark (`milena.flush=durable`).
    pub durable: bool,
    pub replica_lag_time_max_ms: i64,
}

/// What the shell must do after an event. Empty for most events of a partition with one replica.
#[must_use]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// The high watermark rose to this offset: tell consumers and waiting producers.
    pub advance_high_watermark: Option<i64>,
    /// Ask the controller for this change.
    pub propose_isr: Option<ProposeIsr>,
}

/// What a follower's fetch says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    pub broker_id: i32,
    /// From Fetch version 15 on (KIP-903), −1 before.
    pub broker_epoch: i64,
    /// Its log end offset; in durable mode what of it is synced.
    pub fetch_offset: i64,
    /// −1 when it does not say.
    pub log_start_offset: i64,
}

/// The ends of our own log when leadership begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnds {
    pub log_start_offset: i64,
    pub log_end_offset: i64,
    pub synced_offset: i64,
    /// Last known high watermark, from the checkpoint or the time as a follower.
    pub high_watermark: i64,
}

impl Leader {
    /// Takes up leadership as the image says.
    pub fn new(
        broker_id: i32,
        broker_epoch: i64,
        partition: &Partition,
        ends: LogEnds,
        rules: Rules,
        now_ms: i64,
    ) -> (Self, Effects) {
        debug_assert_eq!(partition.leader, Some(broker_id), "the image names another leader");
        let mut leader = Self {
            broker_id,
            broker_epoch,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            epoch_start_offset: ends.log_end_offset,
            log_end_offset: ends.log_end_offset,
            synced_offset: ends.synced_offset.min(ends.log_end_offset),
            high_watermark: ends.high_watermark.clamp(ends.log_start_offset, ends.log_end_offset),
            followers: Vec::new(),
            isr: IsrState::new(partition.isr.clone()),
            rules,
        };
        leader.set_replicas(&partition.replicas, now_ms);
        let advance = leader.advance_high_watermark(now_ms);
        (leader, Effects { advance_high_watermark: advance, ..Effects::default() })
    }

    pub fn broker_id(&self) -> i32 {
        self.broker_id
    }

    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    pub fn epoch_start_offset(&self) -> i64 {
        self.epoch_start_offset
    }

    /// Whether there are replicas besides ours.
    pub fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }

    /// Whether it holds a replica besides ours.
    pub fn is_follower(&self, broker_id: i32) -> bool {
        self.follower(broker_id).is_some()
    }

    /// The brokers of the replicas besides ours, ascending.
    pub fn followers(&self) -> impl Iterator<Item = i32> {
        self.followers.iter().map(|follower| follower.broker_id)
    }

    /// Replicas that are not in sync.
    pub fn out_of_sync_count(&self) -> usize {
        self.followers.iter().filter(|follower| !self.isr.contains(follower.broker_id)).count()
    }

    /// Offsets by which the last of the followers is behind; one that has not fetched yet lacks all from the log start.
    pub fn lag_max(&self, log_start_offset: i64) -> i64 {
        let ends = self.followers.iter().map(|follower| follower.log_end_offset.unwrap_or(log_start_offset));
        ends.map(|end| self.log_end_offset - end).max().unwrap_or(0)
    }

    /// Committed in-sync replicas.
    pub fn isr(&self) -> &[i32] {
        self.isr.committed()
    }

    /// Everybody whom the high watermark waits for.
    pub fn maximal_isr(&self) -> impl Iterator<Item = i32> {
        self.isr.maximal()
    }

    /// Our log grew to `log_end_offset`.
    pub fn appended(&mut self, log_end_offset: i64, now_ms: i64) -> Effects {
        debug_assert!(
            log_end_offset >= self.log_end_offset,
            "an append does not shrink the log: {log_end_offset} >= {}",
            self.log_end_offset
        );
        let before = std::mem::replace(&mut self.log_end_offset, log_end_offset);
        // A follower that waits for records does not say again and again that it has all there are.
        self.followers.iter_mut().for_each(|follower| follower.note_append(before, now_ms));
        Effects { advance_high_watermark: self.advance_high_watermark(now_ms), ..Effects::default() }
    }

    /// Our log is on the disk below `synced_offset`.
    pub fn synced(&mut self, synced_offset: i64, now_ms: i64) -> Effects {
        self.synced_offset = self.synced_offset.max(synced_offset.min(self.log_end_offset));
        Effects { advance_high_watermark: self.advance_high_watermark(now_ms), ..Effects::default() }
    }

    /// Records below `log_start_offset` were deleted. The high watermark is never below it.
    pub fn log_start_moved(&mut self, log_start_offset: i64) -> Effects {
        if log_start_offset <= self.high_watermark {
            return Effects::default();
        }
        self.high_watermark = log_start_offset.min(self.log_end_offset);
        Effects { advance_high_watermark: Some(self.high_watermark), ..Effects::default() }
    }

    /// A follower fetched. It has everything below its fetch offset.
    ///
    /// Errors: `NOT_LEADER_OR_FOLLOWER` from a broker that is no replica, as Kafka answers, and from a
    /// process of it that was followed by another; `OFFSET_OUT_OF_RANGE` above our log's end.
    pub fn fetched(&mut self, fetched: Fetched, now_ms: i64) -> Result<Effects, ErrorCode> {
        if fetched.fetch_offset > self.log_end_offset {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let log_end_offset = self.log_end_offset;
        let follower = self.follower_mut(fetched.broker_id).ok_or(ErrorCode::NotLeaderOrFollower)?;
        if follower.is_past(fetched.broker_epoch) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        follower.note_fetch(fetched, log_end_offset, now_ms);
        let propose_isr = self.propose_growth(fetched.broker_id);
        if propose_isr.is_some()
            && let Some(follower) = self.follower_mut(fetched.broker_id)
        {
            // What is good enough to join must not be dropped before its next fetch.
            follower.last_caught_up_ms = follower.last_caught_up_ms.max(now_ms);
        }
        Ok(Effects { advance_high_watermark: self.advance_high_watermark(now_ms), propose_isr })
    }

    /// Proposes to drop members that have not caught up for `replica.lag.time.max.ms`.
    pub fn tick(&mut self, now_ms: i64) -> Effects {
        if self.isr.is_in_flight() {
            return Effects::default();
        }
        let in_sync: Vec<i32> =
            self.isr.committed().iter().copied().filter(|id| !self.is_lagging(*id, now_ms)).collect();
        if in_sync.len() == self.isr.committed().len() {
            return Effects::default();
        }
        Effects { propose_isr: Some(self.propose(in_sync)), ..Effects::default() }
    }

    /// The image shows a newer state of the partition under the same leader epoch.
    pub fn image_changed(&mut self, partition: &Partition, now_ms: i64) -> Effects {
        debug_assert_eq!(partition.leader_epoch, self.leader_epoch, "a new epoch is a new leader");
        if partition.partition_epoch <= self.partition_epoch {
            return Effects::default();
        }
        self.partition_epoch = partition.partition_epoch;
        self.isr.settle(partition.isr.clone());
        self.set_replicas(&partition.replicas, now_ms);
        Effects { advance_high_watermark: self.advance_high_watermark(now_ms), ..Effects::default() }
    }

    /// The image says under which broker epoch a follower may join the ISR; none when it is fenced, shutting down or
    /// gone. The high watermark does not wait any more for one that lost that.
    pub fn set_eligible(&mut self, broker_id: i32, broker_epoch: Option<i64>, now_ms: i64) -> Effects {
        let Some(follower) = self.follower_mut(broker_id) else { return Effects::default() };
        if follower.eligible_epoch == broker_epoch {
            return Effects::default();
        }
        follower.eligible_epoch = broker_epoch;
        Effects { advance_high_watermark: self.advance_high_watermark(now_ms), ..Effects::default() }
    }

    /// The controller answered the proposal that was `asked`. An image may have come first and settled it: then the
    /// answer says nothing of what is proposed since.
    ///
    /// Refusals for certain return to the committed set. Where the outcome is unknown the maximal
    /// ISR stays as it is, because the change may still happen: it is asked again when the error
    /// passes, and otherwise the next image settles it.
    pub fn proposal_answered(
        &mut self,
        asked: &ProposeIsr,
        answer: Result<(i32, Vec<i32>), ErrorCode>,
        now_ms: i64,
    ) -> Effects {
        if (asked.leader_epoch, asked.partition_epoch) != (self.leader_epoch, self.partition_epoch) {
            return Effects::default();
        }
        match answer {
            Ok((partition_epoch, isr)) => {
                if partition_epoch > self.partition_epoch {
                    self.partition_epoch = partition_epoch;
                    self.isr.settle(isr);
                }
            }
            Err(ErrorCode::IneligibleReplica | ErrorCode::OperationNotAttempted) => self.isr.withdraw(),
            Err(
                ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::InvalidUpdateVersion
                | ErrorCode::InvalidRequest
                | ErrorCode::NewLeaderElected,
            ) => {}
            Err(_) => return Effects { propose_isr: self.isr.proposed().cloned(), ..Effects::default() },
        }
        Effects { advance_high_watermark: self.advance_high_watermark(now_ms), ..Effects::default() }
    }

    /// Compares the epoch that a client or follower believes in (−1: it does not say).
    ///
    /// Errors: `FENCED_LEADER_EPOCH` when it is older, `UNKNOWN_LEADER_EPOCH` when we have not
    /// heard of it yet (KIP-320).
    pub fn check_leader_epoch(&self, current_leader_epoch: i32) -> Result<(), ErrorCode> {
        check_leader_epoch(self.leader_epoch, current_leader_epoch)
    }

    /// Whether `acks=all` may be appended now.
    ///
    /// Errors: `NOT_ENOUGH_REPLICAS`.
    pub fn check_acks_all(&self) -> Result<(), ErrorCode> {
        if self.is_under_min_isr() { Err(ErrorCode::NotEnoughReplicas) } else { Ok(()) }
    }

    /// Whether what was appended under `leader_epoch` is still ours to acknowledge. After that leadership the
    /// records may have been cut, and others may stand at their offsets.
    ///
    /// Errors: `NOT_LEADER_OR_FOLLOWER`.
    pub fn check_appended_in(&self, leader_epoch: i32) -> Result<(), ErrorCode> {
        if leader_epoch == self.leader_epoch { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    /// The answer to an `acks=all` append under `leader_epoch` that ends before `required_offset`, none while it
    /// waits.
    pub fn acks_all_outcome(&self, required_offset: i64, leader_epoch: i32) -> Option<Result<(), ErrorCode>> {
        if let Err(error) = self.check_appended_in(leader_epoch) {
            return Some(Err(error));
        }
        if self.high_watermark < required_offset {
            return None;
        }
        Some(if self.is_under_min_isr() { Err(ErrorCode::NotEnoughReplicasAfterAppend) } else { Ok(()) })
    }

    /// Whether ListOffsets may answer consumers: not before the high watermark reached the start of
    /// this epoch, or their offsets would go backwards after an election (KIP-207).
    ///
    /// Errors: `OFFSET_NOT_AVAILABLE`.
    pub fn check_offsets_available(&self) -> Result<(), ErrorCode> {
        if self.high_watermark < self.epoch_start_offset {
            return Err(ErrorCode::OffsetNotAvailable);
        }
        Ok(())
    }

    pub fn is_under_min_isr(&self) -> bool {
        let min = effective_min_isr(self.rules.min_insync_replicas, self.followers.len() + 1);
        self.isr.committed().len() < min
    }

    /// New settings apply from now on; a lower minimum may commit what waited.
    pub fn set_rules(&mut self, rules: Rules, now_ms: i64) -> Effects {
        self.rules = rules;
        Effects { advance_high_watermark: self.advance_high_watermark(now_ms), ..Effects::default() }
    }

    /// Raises the high watermark to what all of the maximal ISR has, and says so when it rose.
    fn advance_high_watermark(&mut self, now_ms: i64) -> Option<i64> {
        if self.is_under_min_isr() {
            return None;
        }
        let own = if self.rules.durable { self.synced_offset } else { self.log_end_offset };
        let least = self
            .followers
            .iter()
            .filter(|f| self.waits_for(f.broker_id, now_ms))
            // A member that has not fetched in this epoch may have any end: commit nothing new.
            .map(|f| f.log_end_offset.unwrap_or(self.high_watermark))
            .fold(own, i64::min);
        if least <= self.high_watermark {
            return None;
        }
        debug_assert!(least <= self.log_end_offset, "{least} <= {}", self.log_end_offset);
        self.high_watermark = least;
        Some(least)
    }

    /// Whether the high watermark waits for this follower: whoever holds it up holds up `acks=all`.
    pub fn waits_for(&self, broker_id: i32, now_ms: i64) -> bool {
        self.isr.maximal_contains(broker_id)
            || self.follower(broker_id).is_some_and(|follower| self.is_about_to_join(follower, now_ms))
    }

    /// A caught-up replica outside the ISR: waiting for it keeps the watermark from running ahead
    /// for ever of a follower that is only ever one fetch behind.
    fn is_about_to_join(&self, follower: &Follower, now_ms: i64) -> bool {
        follower.is_eligible()
            && follower.log_end_offset.is_some()
            && !follower.is_lagging(self.log_end_offset, self.rules.replica_lag_time_max_ms, now_ms)
    }

    fn is_lagging(&self, broker_id: i32, now_ms: i64) -> bool {
        self.follower(broker_id)
            .is_some_and(|f| f.is_lagging(self.log_end_offset, self.rules.replica_lag_time_max_ms, now_ms))
    }

    /// Proposes a follower that caught up: it has fetched in this epoch, reached the high watermark
    /// and the start of the epoch, and the image finds it eligible.
    fn propose_growth(&mut self, broker_id: i32) -> Option<ProposeIsr> {
        if self.isr.is_in_flight() || self.isr.contains(broker_id) {
            return None;
        }
        let follower = self.follower(broker_id)?;
        let end = follower.log_end_offset?;
        if !follower.is_eligible() || end < self.high_watermark || end < self.epoch_start_offset {
            return None;
        }
        let mut members = self.isr.committed().to_vec();
        members.push(broker_id);
        Some(self.propose(members))
    }

    fn propose(&mut self, members: Vec<i32>) -> ProposeIsr {
        let proposal = self.proposal(&members);
        self.isr.propose(proposal.clone());
        proposal
    }

    fn proposal(&self, members: &[i32]) -> ProposeIsr {
        let broker_epoch = |id: i32| match self.follower(id) {
            Some(follower) => follower.broker_epoch,
            None if id == self.broker_id => self.broker_epoch,
            None => -1,
        };
        ProposeIsr {
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            new_isr: members.iter().map(|id| (*id, broker_epoch(*id))).collect(),
        }
    }

    fn set_replicas(&mut self, replicas: &[i32], now_ms: i64) {
        self.followers.retain(|f| replicas.contains(&f.broker_id));
        for &broker_id in replicas {
            if broker_id != self.broker_id && self.follower(broker_id).is_none() {
                let is_in_sync = self.isr.maximal_contains(broker_id);
                self.followers.push(Follower::new(broker_id, is_in_sync, now_ms, self.log_end_offset));
            }
        }
        self.followers.sort_by_key(|f| f.broker_id);
    }

    fn follower(&self, broker_id: i32) -> Option<&Follower> {
        let at = self.followers.binary_search_by_key(&broker_id, |f| f.broker_id).ok()?;
        Some(&self.followers[at])
    }

    fn follower_mut(&mut self, broker_id: i32) -> Option<&mut Follower> {
        let at = self.followers.binary_search_by_key(&broker_id, |f| f.broker_id).ok()?;
        Some(&mut self.followers[at])
    }
}

/// What a client sends that knows no leader epoch.
const NO_LEADER_EPOCH: i32 = -1;

/// The current leader epoch that a Fetch asks with: there anything below 0 means that none is known, unlike in the
/// other requests.
pub fn leader_epoch_of_fetch(asked: i32) -> i32 {
    asked.max(NO_LEADER_EPOCH)
}

/// [`Leader::check_leader_epoch`] for a replica that follows.
pub fn check_leader_epoch(ours: i32, current_leader_epoch: i32) -> Result<(), ErrorCode> {
    // Anything else below 0 is an epoch too: one that is over.
    if current_leader_epoch == NO_LEADER_EPOCH {
        return Ok(());
    }
    match current_leader_epoch.cmp(&ours) {
        std::cmp::Ordering::Less => Err(ErrorCode::FencedLeaderEpoch),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(ErrorCode::UnknownLeaderEpoch),
    }
}

#[cfg(test)]
#[path = "leader_test.rs"]
mod tests;

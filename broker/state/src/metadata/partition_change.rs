//! One partition's change: from a wish to the record that carries it.
//!
//! The wish is another ISR, an unclean restart, an election, other replicas or another directory; the record also moves
//! leadership, completes a reassignment whose replicas have caught up, and keeps the eligible leader replicas as KIP-966
//! asks.

use milena_protocol::types::Uuid;

use super::command::Context;
use super::features::ELIGIBLE_LEADER_REPLICAS;
use super::image::{Image, Partition, Topic};
use super::record::{PartitionChange, RecoveryState};
use crate::config::definition::parse_bool;
use crate::partition::isr::effective_min_isr;

/// How far an election may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// Any in-sync replica, the present leader first.
    Online,
    /// As `Online`, but the first replica of the list before the present leader.
    Preferred,
    /// As `Online`, and any live replica when no in-sync one lives: records may be lost.
    Unclean,
}

/// A change of one partition in the making.
pub struct Change<'a> {
    partition: &'a Partition,
    record: PartitionChange,
    rules: Rules,
    acceptable: &'a dyn Fn(i32) -> bool,
    target_isr: Vec<i32>,
    target_elr: Vec<i32>,
    unclean_shutdown: Option<i32>,
    target_recovery: RecoveryState,
    election: Election,
    target: Assignment,
}

/// Replicas of a partition and what is under way with them. `directories` runs parallel to `replicas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub replicas: Vec<i32>,
    pub directories: Vec<Uuid>,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

/// What a topic's settings and the cluster's features say about elections.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub min_isr: usize,
    pub elr_enabled: bool,
    pub unclean_election: bool,
}

impl<'a> Change<'a> {
    /// `acceptable` says whether a broker may lead: alive and not leaving.
    pub fn new(
        topic_id: Uuid,
        partition_id: i32,
        partition: &'a Partition,
        rules: Rules,
        acceptable: &'a dyn Fn(i32) -> bool,
    ) -> Self {
        Self {
            partition,
            record: PartitionChange::new(topic_id, partition_id),
            rules,
            acceptable,
            target_isr: partition.isr.clone(),
            target_elr: partition.eligible_leader_replicas.clone(),
            unclean_shutdown: None,
            target_recovery: partition.leader_recovery_state,
            election: if rules.unclean_election { Election::Unclean } else { Election::Online },
            target: Assignment::of(partition),
        }
    }

    pub fn isr(mut self, isr: Vec<i32>) -> Self {
        self.target_isr = isr;
        self
    }

    /// The broker came back without its clean-shutdown mark: its log may end too early, so it is
    /// neither in sync nor eligible.
    pub fn unclean_shutdown(mut self, broker_id: i32) -> Self {
        self.unclean_shutdown = Some(broker_id);
        self
    }

    pub fn recovery(mut self, state: RecoveryState) -> Self {
        self.target_recovery = state;
        self
    }

    pub fn election(mut self, election: Election) -> Self {
        self.election = election;
        self
    }

    /// Other replicas, or others under way.
    pub fn assignment(mut self, target: Assignment) -> Self {
        self.target = target;
        self
    }

    /// The broker keeps its replica in that directory now.
    pub fn directory(mut self, broker_id: i32, directory: Uuid) -> Self {
        let place = self.target.replicas.iter().position(|id| *id == broker_id);
        if let Some(own) = place.and_then(|place| self.target.directories.get_mut(place)) {
            *own = directory;
        }
        self
    }

    /// The record, none when nothing changes.
    pub fn build(mut self) -> Option<PartitionChange> {
        self.complete_reassignment();
        self.keep_eligible_replicas();
        self.elect();
        self.bump_epoch_when_replicas_go();
        self.write_eligible_replicas();
        self.write_isr();
        self.write_last_known_leader();
        self.write_assignment();
        if self.record.leader_recovery_state.is_none()
            && self.target_recovery != self.partition.leader_recovery_state
        {
            self.record.leader_recovery_state = Some(self.target_recovery);
        }
        (!self.record.is_empty()).then_some(self.record)
    }

    /// Shrinks to the target replicas once every one of them is in sync: not before, or the partition would be kept by
    /// fewer than were asked for. (Kafka waits for the added ones only; a target that lags or is down could then be the
    /// rest.)
    fn complete_reassignment(&mut self) {
        if self.target.adding.is_empty() && self.target.removing.is_empty() {
            return;
        }
        let done = self.target.without_removing();
        if !done.replicas.is_empty() && done.replicas.iter().all(|id| self.target_isr.contains(id)) {
            self.target_isr.retain(|id| done.replicas.contains(id));
            self.target = done;
        }
    }

    /// A replica that is gone must not go on fetching as if it were one: its leader epoch is over.
    fn bump_epoch_when_replicas_go(&mut self) {
        let gone = self.partition.replicas.iter().any(|id| !self.target.replicas.contains(id));
        if gone && self.record.leader.is_none() {
            self.record.leader = Some(self.partition.leader);
        }
    }

    /// While fewer than the minimum are in sync, those who were remain eligible: they hold every
    /// committed record, because the high watermark stands still meanwhile.
    fn keep_eligible_replicas(&mut self) {
        if !self.rules.elr_enabled || self.target_isr.len() >= self.rules.min_isr {
            self.target_elr.clear();
            return;
        }
        let mut eligible = std::mem::take(&mut self.target_elr);
        eligible.extend(self.partition.isr.iter().copied());
        eligible.sort_unstable();
        eligible.dedup();
        eligible.retain(|id| {
            self.target.replicas.contains(id)
                && !self.target_isr.contains(id)
                && self.unclean_shutdown != Some(*id)
        });
        self.target_elr = eligible;
    }

    fn elect(&mut self) {
        let (leader, unclean) = self.next_leader();
        if leader == self.partition.leader {
            return;
        }
        if let Some(leader) = leader {
            if unclean {
                // Only this replica's history counts from here on.
                self.target_isr = vec![leader];
                self.target_elr.clear();
                self.record.leader_recovery_state = (self.partition.leader_recovery_state
                    != RecoveryState::Recovering)
                    .then_some(RecoveryState::Recovering);
                self.target_recovery = RecoveryState::Recovering;
            } else if self.target_elr.contains(&leader) {
                self.target_isr = vec![leader];
                self.target_elr.retain(|id| *id != leader);
            }
        }
        self.record.leader = Some(leader);
    }

    /// The leader after the change, and whether choosing it may lose records.
    fn next_leader(&self) -> (Option<i32>, bool) {
        let replicas = &self.target.replicas;
        let current = self.partition.leader;
        let first = match self.election {
            Election::Preferred => replicas.first().copied(),
            Election::Online | Election::Unclean => None,
        };
        let candidates = first.into_iter().chain(current).chain(replicas.iter().copied());
        if let Some(leader) = candidates.into_iter().find(|id| self.is_clean_leader(*id)) {
            return (Some(leader), false);
        }
        if let Some(leader) = self.last_known_leader() {
            return (Some(leader), true);
        }
        if self.election == Election::Unclean
            && let Some(leader) = replicas.iter().copied().find(|id| (self.acceptable)(*id))
        {
            return (Some(leader), true);
        }
        (None, false)
    }

    fn is_clean_leader(&self, id: i32) -> bool {
        let in_sync = self.target_isr.contains(&id);
        let eligible = self.target_isr.is_empty() && self.target_elr.contains(&id);
        (in_sync || eligible) && (self.acceptable)(id)
    }

    /// With nobody in sync or eligible the last leader is the best guess, provided that it lives.
    fn last_known_leader(&self) -> Option<i32> {
        let nobody = self.target_isr.is_empty() && self.target_elr.is_empty();
        match self.partition.last_known_elr.as_slice() {
            [leader] if self.rules.elr_enabled && nobody && self.target.replicas.contains(leader) => {
                (self.acceptable)(*leader).then_some(*leader)
            }
            _ => None,
        }
    }

    fn write_eligible_replicas(&mut self) {
        if self.target_elr != self.partition.eligible_leader_replicas {
            self.record.eligible_leader_replicas = Some(self.target_elr.clone());
        }
    }

    fn write_isr(&mut self) {
        // Without eligible replicas the ISR is all that is left to elect from: its last member stays.
        let allowed = self.rules.elr_enabled || !self.target_isr.is_empty();
        if allowed && self.target_isr != self.partition.isr {
            self.record.isr = Some(self.target_isr.clone());
        }
    }

    fn write_assignment(&mut self) {
        let (target, now) = (&self.target, self.partition);
        self.record.replicas = (target.replicas != now.replicas).then(|| target.replicas.clone());
        self.record.directories = (target.directories != now.directories).then(|| target.directories.clone());
        self.record.adding_replicas = (target.adding != now.adding_replicas).then(|| target.adding.clone());
        let removing = (target.removing != now.removing_replicas).then(|| target.removing.clone());
        self.record.removing_replicas = removing;
    }

    fn write_last_known_leader(&mut self) {
        if !self.rules.elr_enabled {
            return;
        }
        let leader_after = self.record.leader.unwrap_or(self.partition.leader);
        let becomes_empty = self.record.isr.as_ref().is_some_and(Vec::is_empty);
        let leader = self.partition.leader.filter(|leader| self.target.replicas.contains(leader));
        if becomes_empty && let Some(leader) = leader {
            if self.partition.last_known_elr != [leader] {
                self.record.last_known_elr = Some(vec![leader]);
            }
        } else if leader_after.is_some() && !self.partition.last_known_elr.is_empty() {
            self.record.last_known_elr = Some(Vec::new());
        }
    }
}

impl Assignment {
    /// As it is now.
    pub fn of(partition: &Partition) -> Self {
        Self {
            replicas: partition.replicas.clone(),
            directories: partition.directories.clone(),
            adding: partition.adding_replicas.clone(),
            removing: partition.removing_replicas.clone(),
        }
    }

    /// What is left when those that are to go have gone.
    fn without_removing(&self) -> Self {
        self.only(|id| !self.removing.contains(&id))
    }

    /// What is left of the replicas; nothing is under way with them any more.
    pub fn only(&self, stays: impl Fn(i32) -> bool) -> Self {
        let directories = self.directories.iter().copied().chain(std::iter::repeat(Uuid::ZERO));
        let pairs = self.replicas.iter().copied().zip(directories).filter(|(id, _)| stays(*id));
        let (replicas, directories) = pairs.unzip();
        Self { replicas, directories, adding: Vec::new(), removing: Vec::new() }
    }
}

/// The rules of a partition: its topic's own settings, else those of all brokers, else the controller's.
pub fn rules(image: &Image, topic: &Topic, partition: &Partition, context: Context<'_>) -> Rules {
    let value =
        |name: &str| image.topic_config(&topic.name).get(name).or_else(|| image.cluster_config().get(name));
    let defaults = &context.settings.topic;
    let min_isr = value("min.insync.replicas")
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(defaults.min_insync_replicas);
    let unclean_election = value("unclean.leader.election.enable")
        .and_then(|text| parse_bool(text.trim()))
        .unwrap_or(defaults.unclean_leader_election);
    Rules {
        min_isr: effective_min_isr(min_isr, partition.replicas.len()),
        elr_enabled: image.feature_level(ELIGIBLE_LEADER_REPLICAS) >= 1,
        unclean_election,
    }
}

//! One partition's change: from a wish to the record that carries it.
//!
//! The wish is another ISR, an unclean restart or an election; the record also moves leadership and
//! keeps the eligible leader replicas as KIP-966 asks.

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

    /// The record, none when nothing changes.
    pub fn build(mut self) -> Option<PartitionChange> {
        self.keep_eligible_replicas();
        self.elect();
        self.write_eligible_replicas();
        self.write_isr();
        self.write_last_known_leader();
        if self.record.leader_recovery_state.is_none()
            && self.target_recovery != self.partition.leader_recovery_state
        {
            self.record.leader_recovery_state = Some(self.target_recovery);
        }
        (!self.record.is_empty()).then_some(self.record)
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
        eligible.retain(|id| !self.target_isr.contains(id) && self.unclean_shutdown != Some(*id));
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
        let replicas = &self.partition.replicas;
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
            [leader] if self.rules.elr_enabled && nobody && (self.acceptable)(*leader) => Some(*leader),
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

    fn write_last_known_leader(&mut self) {
        if !self.rules.elr_enabled {
            return;
        }
        let leader_after = self.record.leader.unwrap_or(self.partition.leader);
        let becomes_empty = self.record.isr.as_ref().is_some_and(Vec::is_empty);
        if becomes_empty && let Some(leader) = self.partition.leader {
            if self.partition.last_known_elr != [leader] {
                self.record.last_known_elr = Some(vec![leader]);
            }
        } else if leader_after.is_some() && !self.partition.last_known_elr.is_empty() {
            self.record.last_known_elr = Some(Vec::new());
        }
    }
}

/// The rules of a topic: its own settings, else those of all brokers, else the controller's.
pub fn rules(image: &Image, topic: &Topic, context: Context<'_>) -> Rules {
    let value =
        |name: &str| image.topic_config(&topic.name).get(name).or_else(|| image.cluster_config().get(name));
    let defaults = &context.settings.topic;
    let min_isr = value("min.insync.replicas")
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(defaults.min_insync_replicas);
    let unclean_election = value("unclean.leader.election.enable")
        .and_then(|text| parse_bool(text.trim()))
        .unwrap_or(defaults.unclean_leader_election);
    let replicas_count = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    Rules {
        min_isr: effective_min_isr(min_isr, replicas_count),
        elr_enabled: image.feature_level(ELIGIBLE_LEADER_REPLICAS) >= 1,
        unclean_election,
    }
}

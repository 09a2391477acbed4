//! Leaders and in-sync replicas as the controller decides them.
//!
//! [`Change`] turns a wish (another ISR, other replicas, an election) into the one record that
//! carries it, with eligible leader replicas kept as KIP-966 asks. The functions below it say which
//! partitions are touched when a broker comes, goes or restarts, and check what leaders propose.

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::brokers::check_broker_epoch;
use super::command::{ApiError, Context, Decision, Reply};
use super::features::ELIGIBLE_LEADER_REPLICAS;
use super::image::{Image, Partition, Topic};
use super::record::{PartitionChange, Record, RecoveryState};
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
    let value = |name: &str| {
        image.topic_config(&topic.name).get(name).or_else(|| image.cluster_config().get(name))
    };
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

/// A broker is fenced, leaving or gone: it loses its leaderships and its place in every ISR.
pub fn broker_left(image: &Image, broker_id: i32, context: Context<'_>, records: &mut Vec<Record>) {
    let acceptable = |id: i32| id != broker_id && image.is_active(id);
    for_each(image, |p| p.isr.contains(&broker_id) || p.leader == Some(broker_id), |topic, index, p| {
        let isr = without(&p.isr, broker_id);
        let change =
            Change::new(topic.id, index, p, rules(image, topic, context), &acceptable).isr(isr).build();
        records.extend(change.map(Record::PartitionChange));
    });
}

/// A new process took over a broker id. Until it is unfenced it can do nothing; after an unclean
/// end it may also lack records that it acknowledged.
pub fn broker_restarted(
    image: &Image,
    broker_id: i32,
    unclean: bool,
    context: Context<'_>,
    records: &mut Vec<Record>,
) {
    if !unclean || image.feature_level(ELIGIBLE_LEADER_REPLICAS) == 0 {
        return broker_left(image, broker_id, context, records);
    }
    let acceptable = |id: i32| id != broker_id && image.is_active(id);
    let touched = |p: &Partition| {
        p.isr.contains(&broker_id)
            || p.eligible_leader_replicas.contains(&broker_id)
            || p.leader == Some(broker_id)
    };
    for_each(image, touched, |topic, index, p| {
        let change = Change::new(topic.id, index, p, rules(image, topic, context), &acceptable)
            .isr(without(&p.isr, broker_id))
            .unclean_shutdown(broker_id)
            .build();
        records.extend(change.map(Record::PartitionChange));
    });
}

/// A broker was unfenced: partitions without a leader may have one again.
pub fn broker_arrived(image: &Image, broker_id: i32, context: Context<'_>, records: &mut Vec<Record>) {
    let acceptable = |id: i32| id == broker_id || image.is_active(id);
    for_each(image, |p| p.leader.is_none(), |topic, index, p| {
        let change = Change::new(topic.id, index, p, rules(image, topic, context), &acceptable).build();
        records.extend(change.map(Record::PartitionChange));
    });
}

/// Whether any partition has this leader.
pub fn leads_anything(image: &Image, broker_id: i32) -> bool {
    image.topics().any(|topic| topic.partitions.iter().any(|p| p.leader == Some(broker_id)))
}

fn for_each(image: &Image, touched: impl Fn(&Partition) -> bool, mut act: impl FnMut(&Topic, i32, &Partition)) {
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            if touched(partition) {
                act(topic, index as i32, partition);
            }
        }
    }
}

fn without(ids: &[i32], leaving: i32) -> Vec<i32> {
    ids.iter().copied().filter(|id| *id != leaving).collect()
}

/// A leader proposes in-sync replicas for its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterPartition {
    pub broker_id: i32,
    pub broker_epoch: i64,
    pub partitions: Vec<ProposedPartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedPartition {
    pub topic_id: Uuid,
    pub partition_id: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    /// Broker ids with the epochs under which the leader heard them, −1 for unknown.
    pub new_isr: Vec<(i32, i64)>,
    pub leader_recovery_state: RecoveryState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredPartition {
    pub topic_id: Uuid,
    pub partition_id: i32,
    /// The state after the change.
    pub result: Result<AlteredState, ErrorCode>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredState {
    pub leader: Option<i32>,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub isr: Vec<i32>,
    pub leader_recovery_state: RecoveryState,
}

/// Errors of the whole: `STALE_BROKER_EPOCH`, `BROKER_ID_NOT_REGISTERED`; of a partition see
/// [`check_proposal`].
pub fn alter(image: &Image, command: &AlterPartition, context: Context<'_>) -> Decision {
    if let Err(error) = check_broker_epoch(image, command.broker_id, command.broker_epoch) {
        return Decision::reply(Reply::AlterPartition(Err(error)));
    }
    let mut records = Vec::new();
    let mut answers = Vec::new();
    for proposal in &command.partitions {
        let result = alter_one(image, command.broker_id, proposal, context).map(|(state, record)| {
            records.extend(record);
            state
        });
        let (topic_id, partition_id) = (proposal.topic_id, proposal.partition_id);
        answers.push(AlteredPartition { topic_id, partition_id, result });
    }
    Decision::new(records, Reply::AlterPartition(Ok(answers)))
}

fn alter_one(
    image: &Image,
    sender: i32,
    proposal: &ProposedPartition,
    context: Context<'_>,
) -> Result<(AlteredState, Option<Record>), ErrorCode> {
    let topic = image.topic(proposal.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
    let partition =
        topic.partition(proposal.partition_id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_proposal(image, sender, partition, proposal)?;
    let acceptable = |id: i32| image.is_active(id);
    let isr = proposal.new_isr.iter().map(|(id, _)| *id).collect();
    let change = Change::new(topic.id, proposal.partition_id, partition, rules(image, topic, context), &acceptable)
        .isr(isr)
        .recovery(proposal.leader_recovery_state)
        .build();
    let record = change.map(Record::PartitionChange);
    let mut after = image.clone();
    if let Some(record) = &record {
        after.apply(record).expect("the partition was found above");
    }
    let after = after.partition(topic.id, proposal.partition_id).expect("the partition was found above");
    let state = AlteredState {
        leader: after.leader,
        leader_epoch: after.leader_epoch,
        partition_epoch: after.partition_epoch,
        isr: after.isr.clone(),
        leader_recovery_state: after.leader_recovery_state,
    };
    Ok((state, record))
}

/// Errors, in the order of the checks: `NOT_CONTROLLER` when the sender knows more than we do,
/// `FENCED_LEADER_EPOCH`, `INVALID_REQUEST`, `INVALID_UPDATE_VERSION`, `INELIGIBLE_REPLICA`.
pub fn check_proposal(
    image: &Image,
    sender: i32,
    partition: &Partition,
    proposal: &ProposedPartition,
) -> Result<(), ErrorCode> {
    if proposal.leader_epoch > partition.leader_epoch || proposal.partition_epoch > partition.partition_epoch
    {
        return Err(ErrorCode::NotController);
    }
    if proposal.leader_epoch < partition.leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if partition.leader != Some(sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    if proposal.partition_epoch < partition.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let members: Vec<i32> = proposal.new_isr.iter().map(|(id, _)| *id).collect();
    let mut distinct = members.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let recovering = proposal.leader_recovery_state == RecoveryState::Recovering;
    let fits = distinct.len() == members.len()
        && members.iter().all(|id| partition.replicas.contains(id))
        && members.contains(&sender)
        && !(recovering && members.len() > 1)
        && !(recovering && partition.leader_recovery_state == RecoveryState::Recovered);
    if !fits {
        return Err(ErrorCode::InvalidRequest);
    }
    let eligible = |(id, epoch): &(i32, i64)| {
        image.broker(*id).is_some_and(|b| b.is_active() && (*epoch == -1 || *epoch == b.broker_epoch))
    };
    if proposal.new_isr.iter().all(eligible) { Ok(()) } else { Err(ErrorCode::IneligibleReplica) }
}

/// Elections on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectLeaders {
    /// `Preferred` or `Unclean`.
    pub election: Election,
    /// Topic names and partitions; none is every partition.
    pub partitions: Option<Vec<(String, Vec<i32>)>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectedPartition {
    pub topic: String,
    pub partition_id: i32,
    pub result: Result<(), ApiError>,
}

/// Errors of a partition: `UNKNOWN_TOPIC_OR_PARTITION`, `ELECTION_NOT_NEEDED`,
/// `PREFERRED_LEADER_NOT_AVAILABLE`, `ELIGIBLE_LEADERS_NOT_AVAILABLE`.
pub fn elect(image: &Image, command: &ElectLeaders, context: Context<'_>) -> Decision {
    let wanted: Vec<(String, Vec<i32>)> = match &command.partitions {
        Some(partitions) => partitions.clone(),
        None => image
            .topics()
            .map(|topic| (topic.name.to_string(), (0..topic.partitions.len() as i32).collect()))
            .collect(),
    };
    let mut records = Vec::new();
    let mut answers = Vec::new();
    for (name, partitions) in wanted {
        for partition_id in partitions {
            let result = elect_one(image, &name, partition_id, command.election, context);
            let unneeded = matches!(&result, Err(error) if error.code == ErrorCode::ElectionNotNeeded);
            // Who asks for every partition does not want to hear of those that are fine.
            if !(unneeded && command.partitions.is_none()) {
                let result = result.map(|change| records.push(Record::PartitionChange(change)));
                answers.push(ElectedPartition { topic: name.clone(), partition_id, result });
            }
        }
    }
    Decision::new(records, Reply::ElectLeaders(answers))
}

fn elect_one(
    image: &Image,
    name: &str,
    partition_id: i32,
    election: Election,
    context: Context<'_>,
) -> Result<PartitionChange, ApiError> {
    let refuse = |code: ErrorCode, message: String| Err(ApiError::new(code, message));
    let Some(topic) = image.topic_by_name(name) else {
        return refuse(ErrorCode::UnknownTopicOrPartition, format!("No such topic as {name}"));
    };
    let Some(partition) = topic.partition(partition_id) else {
        let message = format!("No such partition as {name}-{partition_id}");
        return refuse(ErrorCode::UnknownTopicOrPartition, message);
    };
    let preferred = partition.replicas.first().copied();
    let needed = match election {
        Election::Preferred => partition.leader != preferred,
        Election::Online | Election::Unclean => partition.leader.is_none(),
    };
    if !needed {
        return refuse(ErrorCode::ElectionNotNeeded, "Leader election not needed for this partition.".into());
    }
    let acceptable = |id: i32| image.is_active(id);
    let change = Change::new(topic.id, partition_id, partition, rules(image, topic, context), &acceptable)
        .election(election)
        .build();
    let leader = change.as_ref().and_then(|change| change.leader).flatten();
    match change {
        Some(change) if leader.is_some() && (election != Election::Preferred || leader == preferred) => Ok(change),
        _ if election == Election::Preferred => refuse(
            ErrorCode::PreferredLeaderNotAvailable,
            "The preferred leader was not available.".to_owned(),
        ),
        _ => refuse(
            ErrorCode::EligibleLeadersNotAvailable,
            "Eligible topic partition leaders are not available.".to_owned(),
        ),
    }
}

#[cfg(test)]
#[path = "partitions_test.rs"]
mod tests;

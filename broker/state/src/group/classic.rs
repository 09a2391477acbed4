//! A classic group: who is in it, in which state, and what it takes to move on.
//!
//! This is soft state. What must survive the coordinator is in the group's last record; losing the rest
//! costs the members a rebalance. The phases of a rebalance are in the files beside this one.
//!
//! Source: KIP-62, KIP-345, KIP-394; behaviour of 4.3.1.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::ErrorCode;

use super::classic_member::Member;
use super::effects::{Step, TimerKey};
use super::record::{GroupMetadata, StoredMember};
use super::reply::{JoinReply, JoinedMember, Reply, SyncReply};
use super::request::{Protocol, Token};
use super::subscription::subscribed_topics;

/// The protocol type of consumers, whose subscriptions the coordinator can read.
pub(super) const CONSUMER: &str = "consumer";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// No members; offsets may remain.
    Empty,
    /// Waits for every member to join.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    /// Everybody knows its assignment.
    Stable,
    /// The coordinator has given the group up.
    Dead,
}

impl State {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }
}

/// The join phase that is under way.
#[derive(Debug)]
pub(super) struct JoinPhase {
    pub(super) deadline_ms: i64,
    /// Set for the first rebalance of an empty group, which waits for more members to come.
    pub(super) initial: Option<InitialDelay>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct InitialDelay {
    pub(super) delay_ms: i32,
    pub(super) remaining_ms: i32,
}

#[derive(Debug)]
pub(super) struct Classic {
    pub(super) id: Arc<str>,
    pub(super) state: State,
    pub(super) previous_state: State,
    pub(super) state_timestamp_ms: Option<i64>,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) generation: i32,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Instance id to member id.
    pub(super) static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were handed out and not used yet, with the end of their time.
    pub(super) pending_joins: BTreeMap<Arc<str>, i64>,
    /// Members whose join waits, and members that owe a sync: kept as counts, so that no request costs a
    /// walk over the members.
    waiting_joins: usize,
    owed_syncs: usize,
    /// How many members support a protocol.
    supporters: BTreeMap<Arc<str>, usize>,
    /// Topics of a consumer group; none when the coordinator cannot tell.
    subscribed: Option<BTreeSet<Arc<str>>>,
    pub(super) new_member_added: bool,
    pub(super) join_phase: Option<JoinPhase>,
    pub(super) sync_deadline_ms: Option<i64>,
}

impl Classic {
    pub(super) fn new(id: Arc<str>, now_ms: Option<i64>) -> Self {
        Self {
            id,
            state: State::Empty,
            previous_state: State::Dead,
            state_timestamp_ms: now_ms,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: BTreeMap::new(),
            waiting_joins: 0,
            owed_syncs: 0,
            supporters: BTreeMap::new(),
            subscribed: None,
            new_member_added: false,
            join_phase: None,
            sync_deadline_ms: None,
        }
    }

    /// The group that a coordinator finds in the log: stable if it has members.
    pub(super) fn load(id: Arc<str>, stored: &GroupMetadata) -> Self {
        let mut group = Self::new(id, (stored.state_timestamp_ms != -1).then_some(stored.state_timestamp_ms));
        group.generation = stored.generation;
        group.protocol_type = Some(stored.protocol_type.clone()).filter(|kind| !kind.is_empty());
        group.protocol.clone_from(&stored.protocol);
        group.leader.clone_from(&stored.leader);
        for member in &stored.members {
            // No coordinator writes that, but a log may hold it: an id or an instance is one member.
            let instance = member.instance_id.as_ref();
            if group.members.contains_key(&member.id)
                || instance.is_some_and(|id| group.static_members.contains_key(id))
            {
                continue;
            }
            group.add(member.id.clone(), Member::stored(member, stored.protocol.as_ref()));
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
        }
        group.subscribed = subscribed_topics(&group);
        group
    }

    /// What is stored of the group, with an assignment for each member.
    pub(super) fn metadata(&self, assignment: impl Fn(&Arc<str>, &Member) -> Bytes) -> GroupMetadata {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |(id, member): (&Arc<str>, &Member)| StoredMember {
            id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: assignment(id, member),
        };
        GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp_ms: self.state_timestamp_ms.unwrap_or(-1),
            members: self.members.iter().map(member).collect(),
        }
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.as_ref().map_or(self.uses_consumer_protocol(), |topics| topics.contains(topic))
    }

    pub(super) fn knows_subscriptions(&self) -> bool {
        self.subscribed.is_some()
    }

    pub(super) fn waiting_joins(&self) -> usize {
        self.waiting_joins
    }

    pub(super) fn everybody_joined(&self) -> bool {
        self.members.len() == self.waiting_joins && self.pending_joins.is_empty()
    }

    pub(super) fn everybody_synced(&self) -> bool {
        self.owed_syncs == 0
    }

    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    /// Whether a member with these protocols fits in: one of them is supported by all.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let by_all = |protocol: &Protocol| {
            self.supporters.get(&protocol.name).copied().unwrap_or(0) == self.members.len()
        };
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(by_all)
    }

    /// UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID, unless `member_id` is in the group under its instance id.
    pub(super) fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if **known != *member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Adds a member that waits for nothing yet. The first one leads.
    pub(super) fn add(&mut self, id: Arc<str>, member: Member) {
        debug_assert!(!self.members.contains_key(&id), "{id} is a member already");
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.count_supporters(&member.protocols, 1);
        self.waiting_joins += usize::from(member.join.is_some());
        self.owed_syncs += usize::from(member.owes_sync);
        self.pending_joins.remove(&id);
        self.members.insert(id, member);
    }

    /// Takes a member out without an answer to what it waits for.
    fn take(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.count_supporters(&member.protocols, -1);
        self.waiting_joins -= usize::from(member.join.is_some());
        self.owed_syncs -= usize::from(member.owes_sync);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        Some(member)
    }

    /// Removes a member, or an id that waits for one. What it waited for is answered UNKNOWN_MEMBER_ID.
    pub(super) fn remove(&mut self, id: &Arc<str>, step: &mut Step<'_>) {
        let pending = self.pending_joins.remove(id).is_some();
        let member = self.take(id);
        if pending || member.is_some() {
            step.cancel_timer(TimerKey::Member { group: self.id.clone(), member: id.clone() });
        }
        if let Some(member) = member {
            let error = ErrorCode::UnknownMemberId;
            if let Some(token) = member.join {
                step.reply(token, Reply::Join(JoinReply::error("".into(), error)));
            }
            if let Some(token) = member.sync {
                step.reply(token, Reply::Sync(SyncReply::error(error)));
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Gives a static member a new id (KIP-345). What the old one waited for is fenced.
    pub(super) fn rename(&mut self, old_id: &Arc<str>, new_id: &Arc<str>, step: &mut Step<'_>) {
        let Some(old) = self.take(old_id) else { return };
        step.cancel_timer(TimerKey::Member { group: self.id.clone(), member: old_id.clone() });
        let error = ErrorCode::FencedInstanceId;
        if let Some(token) = old.join {
            step.reply(token, Reply::Join(JoinReply::error(old_id.clone(), error)));
        }
        if let Some(token) = old.sync {
            step.reply(token, Reply::Sync(SyncReply::error(error)));
        }
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        self.add(new_id.clone(), old.successor());
    }

    /// What a member says in a join that is not its first. A join of it that still waits is given up:
    /// Kafka would leave that one without an answer.
    pub(super) fn update(
        &mut self,
        id: &str,
        protocols: Arc<[Protocol]>,
        timeouts: (i32, i32),
        join: Option<Token>,
        step: &mut Step<'_>,
    ) {
        let Some((key, mut member)) = self.members.remove_entry(id) else { return };
        self.count_supporters(&member.protocols, -1);
        self.count_supporters(&protocols, 1);
        member.protocols = protocols;
        (member.rebalance_timeout_ms, member.session_timeout_ms) = timeouts;
        self.waiting_joins -= usize::from(member.join.is_some());
        self.waiting_joins += usize::from(join.is_some());
        if let Some(token) = std::mem::replace(&mut member.join, join) {
            let error = ErrorCode::RebalanceInProgress;
            step.reply(token, Reply::Join(JoinReply::error(id.into(), error)));
        }
        self.members.insert(key, member);
    }

    /// Takes the join that a member waits with, to answer it.
    pub(super) fn take_join(&mut self, id: &str) -> Option<Token> {
        let token = self.members.get_mut(id)?.join.take()?;
        self.waiting_joins -= 1;
        Some(token)
    }

    /// Forgets joins that were answered elsewhere.
    pub(super) fn drop_joins(&mut self) {
        self.members.values_mut().for_each(|member| member.join = None);
        self.waiting_joins = 0;
    }

    pub(super) fn end_join_phase(&mut self, step: &mut Step<'_>) {
        if self.join_phase.take().is_some() {
            step.cancel_timer(TimerKey::Join { group: self.id.clone() });
        }
    }

    pub(super) fn set_owes_sync(&mut self, id: &str, owes: bool) {
        let Some(member) = self.members.get_mut(id) else { return };
        self.owed_syncs -= usize::from(member.owes_sync);
        self.owed_syncs += usize::from(owes);
        member.owes_sync = owes;
    }

    pub(super) fn forget_syncs(&mut self, step: &mut Step<'_>) {
        self.members.values_mut().for_each(|member| member.owes_sync = false);
        self.owed_syncs = 0;
        self.end_sync_phase(step);
    }

    pub(super) fn end_sync_phase(&mut self, step: &mut Step<'_>) {
        if self.sync_deadline_ms.take().is_some() {
            step.cancel_timer(TimerKey::Sync { group: self.id.clone() });
        }
    }

    pub(super) fn transition(&mut self, state: State, now_ms: i64) {
        self.previous_state = self.state;
        self.state = state;
        self.state_timestamp_ms = Some(now_ms);
    }

    /// Begins the next generation with the members that there are.
    pub(super) fn next_generation(&mut self, step: &mut Step<'_>) {
        self.generation = self.generation.wrapping_add(1);
        self.protocol = self.elect_protocol();
        self.subscribed = subscribed_topics(self);
        let state = if self.members.is_empty() { State::Empty } else { State::CompletingRebalance };
        self.transition(state, step.now_ms);
        self.forget_syncs(step);
    }

    /// The protocol with the most votes among those that all support; the first by name if equal.
    pub(super) fn elect_protocol(&self) -> Option<Arc<str>> {
        let all = self.members.len();
        let by_all = self.supporters.iter().filter(|(_, count)| **count == all);
        let candidates: BTreeSet<Arc<str>> = by_all.map(|(name, _)| name.clone()).collect();
        let mut votes = BTreeMap::<Arc<str>, usize>::new();
        for vote in self.members.values().filter_map(|member| member.vote(&candidates)) {
            *votes.entry(vote).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name)
    }

    /// Everybody who is to be assigned something, for the leader.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let joined = |(id, member): (&Arc<str>, &Member)| JoinedMember {
            id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.iter().map(joined).collect()
    }

    /// The answer to a join of the current generation.
    pub(super) fn joined(&self, member_id: &Arc<str>, with_members: bool) -> JoinReply {
        JoinReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: if with_members { self.joined_members() } else { Vec::new() },
        }
    }

    fn count_supporters(&mut self, protocols: &[Protocol], change: isize) {
        for protocol in protocols {
            let count = self.supporters.entry(protocol.name.clone()).or_default();
            *count = count.saturating_add_signed(change);
            if *count == 0 {
                self.supporters.remove(&protocol.name);
            }
        }
    }
}

//! JoinGroup (key 11): the way into a classic group and into its next generation.
//!
//! Source: KIP-345 (static members), KIP-394 (the member id comes first), KIP-814 (a returning static
//! leader skips the assignment).

use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::classic::{Classic, State};
use super::classic_member::{Member, distinct};
use super::config::{Config, MEMBER_ID_BYTES_MAX, NEW_MEMBER_JOIN_TIMEOUT_MS, PENDING_JOINS_MAX};
use super::effects::{Purpose, Replaced, Step, TimerKey};
use super::record::Record;
use super::reply::{JoinReply, Reply};
use super::request::Join;

/// What is refused whatever the group's state.
pub(super) fn check(join: &Join, config: &Config) -> Result<(), ErrorCode> {
    let timeouts = config.session_timeout_ms_min..=config.session_timeout_ms_max;
    if join.group.is_empty() {
        Err(ErrorCode::InvalidGroupId)
    } else if join.member_id.is_empty() && new_id(join).len() > MEMBER_ID_BYTES_MAX {
        // No answer could name such a member, not even to the others.
        Err(ErrorCode::InvalidRequest)
    } else if !timeouts.contains(&join.session_timeout_ms) {
        Err(ErrorCode::InvalidSessionTimeout)
    } else {
        Ok(())
    }
}

/// The id of a member that has none yet.
fn new_id(join: &Join) -> String {
    let prefix = join.instance_id.as_ref().unwrap_or(&join.client_id);
    format!("{prefix}-{}", join.unique)
}

impl Classic {
    pub(super) fn join(&mut self, join: &Join, step: &mut Step<'_>) {
        let newcomer = join.member_id.is_empty();
        if !self.has_room_for(&join.member_id, step.config) {
            self.remove(&join.member_id, step);
            self.refuse(join, "".into(), ErrorCode::GroupMaxSizeReached, step);
        } else if self.state == State::Dead {
            self.refuse(join, join.member_id.clone(), ErrorCode::CoordinatorNotAvailable, step);
        } else if !self.supports(&join.protocol_type, &join.protocols) {
            self.refuse(join, join.member_id.clone(), ErrorCode::InconsistentGroupProtocol, step);
        } else if newcomer {
            self.join_new(join, step);
        } else if self.pending_joins.contains_key(&join.member_id) {
            self.join_pending(join, step);
        } else {
            self.join_known(join, step);
        }
    }

    fn refuse(&self, join: &Join, member_id: Arc<str>, error: ErrorCode, step: &mut Step<'_>) {
        step.reply(join.token, Reply::Join(JoinReply::error(member_id, error)));
    }

    fn has_room_for(&self, member_id: &str, config: &Config) -> bool {
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                let waits = self.members.get(member_id).is_some_and(|member| member.join.is_some());
                waits || self.waiting_joins() < config.members_max
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(member_id) || self.members.len() < config.members_max
            }
        }
    }

    fn join_new(&mut self, join: &Join, step: &mut Step<'_>) {
        let new_id: Arc<str> = new_id(join).into();
        match &join.instance_id {
            Some(instance_id) => match self.static_members.get(instance_id).cloned() {
                Some(old_id) => self.join_again(join, instance_id, &old_id, new_id, step),
                None => self.admit(join, new_id, step),
            },
            None if join.requires_known_member_id => self.hand_out(join, new_id, step),
            None => self.admit(join, new_id, step),
        }
    }

    /// Tells a client its member id; it has its session timeout to come back with it.
    fn hand_out(&mut self, join: &Join, new_id: Arc<str>, step: &mut Step<'_>) {
        if self.pending_joins.len() >= PENDING_JOINS_MAX {
            return self.refuse(join, "".into(), ErrorCode::GroupMaxSizeReached, step);
        }
        let deadline_ms = step.after(join.session_timeout_ms);
        self.pending_joins.insert(new_id.clone(), deadline_ms);
        let key = TimerKey::Member { group: self.id.clone(), member: new_id.clone() };
        step.set_timer(key, deadline_ms);
        self.refuse(join, new_id, ErrorCode::MemberIdRequired, step);
    }

    /// A static member has an id without asking for one, so nobody can hold one of these and name an
    /// instance: such a client is not who it says.
    fn join_pending(&mut self, join: &Join, step: &mut Step<'_>) {
        if join.instance_id.is_some() {
            self.refuse(join, "".into(), ErrorCode::UnknownServerError, step);
        } else {
            self.admit(join, join.member_id.clone(), step);
        }
    }

    /// Adds a member and rebalances.
    fn admit(&mut self, join: &Join, id: Arc<str>, step: &mut Step<'_>) {
        if self.state == State::PreparingRebalance && self.previous_state == State::Empty {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        let mut member = Member::joining(join);
        member.join = Some(join.token);
        let timeout_ms = NEW_MEMBER_JOIN_TIMEOUT_MS;
        member.touch(&self.id, &id, timeout_ms, step);
        self.add(id, member);
        self.rebalance_or_go_on(step);
    }

    fn join_known(&mut self, join: &Join, step: &mut Step<'_>) {
        let id = &join.member_id;
        if let Err(error) = self.check_member(id, join.instance_id.as_deref()) {
            let refused = JoinReply::error(id.clone(), error);
            return step.reply(join.token, Reply::Join(refused));
        }
        let unchanged = self.members.get(id).is_some_and(|member| {
            member.protocols[..] == join.protocols[..] || member.protocols == distinct(&join.protocols)
        });
        match self.state {
            // It may have missed the answer: it gets it once more.
            State::CompletingRebalance if unchanged => {
                let reply = self.joined(id, self.is_leader(id));
                step.reply(join.token, Reply::Join(reply));
            }
            // A leader that joins again asks for a rebalance; a follower has only lost its place.
            State::Stable if unchanged && !self.is_leader(id) => {
                let reply = self.joined(id, false);
                step.reply(join.token, Reply::Join(reply));
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                let timeouts = (join.rebalance_timeout_ms, join.session_timeout_ms);
                self.update(id, distinct(&join.protocols), timeouts, Some(join.token), step);
                self.rebalance_or_go_on(step);
            }
            State::Empty | State::Dead => {
                self.refuse(join, id.clone(), ErrorCode::UnknownMemberId, step);
            }
        }
    }

    /// A static member has restarted: it takes the place of its former self. In a stable group that
    /// keeps its protocol it does so without a rebalance, once the new id is stored.
    fn join_again(
        &mut self,
        join: &Join,
        instance_id: &Arc<str>,
        old_id: &Arc<str>,
        new_id: Arc<str>,
        step: &mut Step<'_>,
    ) {
        let old_leader = self.leader.clone();
        self.rename(old_id, &new_id, step);
        let Some(member) = self.members.get_mut(&new_id) else { return };
        member.touch(&self.id, &new_id, member.session_timeout_ms, step);
        let replaced = Replaced {
            token: join.token,
            generation: self.generation,
            instance_id: instance_id.clone(),
            old_id: old_id.clone(),
            new_id: new_id.clone(),
            old_leader,
            protocols: member.protocols.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            supports_skipping_assignment: join.supports_skipping_assignment,
        };
        let timeouts = (join.rebalance_timeout_ms, join.session_timeout_ms);
        self.update(&new_id, distinct(&join.protocols), timeouts, Some(join.token), step);
        match self.state {
            State::Stable if self.protocol == self.elect_protocol() => {
                let metadata = self.metadata(|_, member| member.assignment.clone());
                let record = Record::group(&self.id, Some(metadata));
                step.write(&self.id.clone(), record, Purpose::Replaced(Box::new(replaced)));
            }
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(step),
            State::Empty | State::PreparingRebalance | State::Dead => {
                self.complete_join_if_all_are_here(step)
            }
        }
    }
}

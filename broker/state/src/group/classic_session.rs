//! Heartbeat (key 12), LeaveGroup (key 13) and sessions that end: staying in a group and leaving it.

use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::classic::{Classic, State};
use super::classic_member::Session;
use super::effects::{Step, TimerKey};
use super::reply::{LeaveReply, Left, Reply};
use super::request::{Heartbeat, Leave, Leaver};

impl Classic {
    pub(super) fn heartbeat(&mut self, heartbeat: &Heartbeat, step: &mut Step<'_>) {
        let error = self.check_heartbeat(heartbeat).err().unwrap_or(ErrorCode::None);
        if matches!(error, ErrorCode::None | ErrorCode::RebalanceInProgress) {
            self.touch(&heartbeat.member_id, step);
        }
        step.reply(heartbeat.token, Reply::Heartbeat(error));
    }

    fn check_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(&heartbeat.member_id, heartbeat.instance_id.as_deref())?;
        if heartbeat.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
            State::Empty | State::Dead => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// A sign of life: the member's session begins anew.
    pub(super) fn touch(&mut self, member_id: &str, step: &mut Step<'_>) {
        let Some((id, _)) = self.members.get_key_value(member_id) else { return };
        let id = id.clone();
        if let Some(member) = self.members.get_mut(&id) {
            member.touch(&self.id, &id, member.session_timeout_ms, step);
        }
    }

    pub(super) fn leave(&mut self, leave: &Leave, step: &mut Step<'_>) {
        if self.state == State::Dead {
            let error = ErrorCode::CoordinatorNotAvailable;
            return step.reply(leave.token, Reply::Leave(LeaveReply { error, members: Vec::new() }));
        }
        let members: Vec<Left> = leave.members.iter().map(|leaver| self.leave_one(leaver, step)).collect();
        let anybody = members.iter().any(|left| left.error == ErrorCode::None);
        step.leave = Some((leave.token, LeaveReply { error: ErrorCode::None, members }));
        match self.state {
            State::Stable | State::CompletingRebalance if anybody => self.prepare_rebalance(step),
            State::PreparingRebalance if anybody => self.complete_join_if_all_are_here(step),
            _ => {}
        }
        if let Some((token, reply)) = step.leave.take() {
            step.reply(token, Reply::Leave(reply));
        }
    }

    fn leave_one(&mut self, leaver: &Leaver, step: &mut Step<'_>) -> Left {
        let id = self.leaving_id(leaver);
        if let Ok(id) = &id {
            self.remove(id, step);
        }
        Left {
            member_id: leaver.member_id.clone(),
            instance_id: leaver.instance_id.clone(),
            error: id.err().unwrap_or(ErrorCode::None),
        }
    }

    fn leaving_id(&self, leaver: &Leaver) -> Result<Arc<str>, ErrorCode> {
        if leaver.member_id.is_empty() {
            let known = leaver.instance_id.as_ref().and_then(|id| self.static_members.get(id));
            return known.cloned().ok_or(ErrorCode::UnknownMemberId);
        }
        if !self.pending_joins.contains_key(&leaver.member_id) {
            self.check_member(&leaver.member_id, leaver.instance_id.as_deref())?;
        }
        Ok(leaver.member_id.clone())
    }

    /// A member's timer has fired: its session is over, or the time to come back with a new id.
    pub(super) fn member_timer(&mut self, id: &Arc<str>, step: &mut Step<'_>) {
        if let Some(deadline_ms) = self.pending_joins.get(id).copied() {
            if step.now_ms < deadline_ms {
                let key = TimerKey::Member { group: self.id.clone(), member: id.clone() };
                return step.set_timer(key, deadline_ms);
            }
            self.remove(id, step);
            return self.complete_join_without_one(step);
        }
        let Some(member) = self.members.get_mut(id) else { return };
        if member.timer(&self.id, id, step) == Session::Alive {
            return;
        }
        self.remove(id, step);
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(step),
            _ => self.complete_join_without_one(step),
        }
    }

    /// Unlike someone who comes, someone who is gone also ends an initial delay that nobody else is in.
    fn complete_join_without_one(&mut self, step: &mut Step<'_>) {
        if self.state == State::PreparingRebalance && self.everybody_joined() {
            self.complete_join(step);
        }
    }
}

//! The join phase of a rebalance: from the reason for one to the next generation.

use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::classic::{Classic, InitialDelay, JoinPhase, State};
use super::config::ABSENT_ROUND_MS_MIN;
use super::effects::{Purpose, Step, TimerKey};
use super::record::Record;
use super::reply::Reply;

impl Classic {
    /// Something about the members has changed.
    pub(super) fn rebalance_or_go_on(&mut self, step: &mut Step<'_>) {
        match self.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(step),
            State::PreparingRebalance | State::Dead => self.complete_join_if_all_are_here(step),
        }
    }

    /// Sends everybody back to the join phase.
    pub(super) fn prepare_rebalance(&mut self, step: &mut Step<'_>) {
        if self.state == State::CompletingRebalance {
            self.refuse_syncs(ErrorCode::RebalanceInProgress, step);
        }
        self.forget_syncs(step);
        let initial = self.state == State::Empty;
        self.transition(State::PreparingRebalance, step.now_ms);
        if initial {
            let delay_ms = step.config.initial_rebalance_delay_ms.max(0);
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.set_join_phase(delay_ms, Some(InitialDelay { delay_ms, remaining_ms }), step);
        } else if self.everybody_joined() {
            self.complete_join(step);
        } else {
            self.set_join_phase(self.rebalance_timeout_ms(), None, step);
        }
    }

    fn set_join_phase(&mut self, timeout_ms: i32, initial: Option<InitialDelay>, step: &mut Step<'_>) {
        let deadline_ms = step.after(timeout_ms);
        self.join_phase = Some(JoinPhase { deadline_ms, initial });
        step.set_timer(TimerKey::Join { group: self.id.clone() }, deadline_ms);
    }

    /// Ends the join phase early when nobody is missing, except that an empty group's first rebalance
    /// waits its delay out.
    pub(super) fn complete_join_if_all_are_here(&mut self, step: &mut Step<'_>) {
        let preparing = self.state == State::PreparingRebalance;
        if preparing && self.previous_state != State::Empty && self.everybody_joined() {
            self.complete_join(step);
        }
    }

    /// The timer of the join phase.
    pub(super) fn join_phase_ends(&mut self, step: &mut Step<'_>) {
        let Some(phase) = &self.join_phase else { return };
        if step.now_ms < phase.deadline_ms {
            let deadline_ms = phase.deadline_ms;
            return step.set_timer(TimerKey::Join { group: self.id.clone() }, deadline_ms);
        }
        match phase.initial {
            Some(initial) if self.new_member_added && initial.remaining_ms != 0 => {
                self.new_member_added = false;
                let delay_ms = step.config.initial_rebalance_delay_ms.max(0).min(initial.remaining_ms);
                let remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
                self.set_join_phase(delay_ms, Some(InitialDelay { delay_ms, remaining_ms }), step);
            }
            _ => self.complete_join(step),
        }
    }

    /// Begins the next generation with who is here. Dynamic members that did not come are out; static
    /// ones keep their place until their session ends.
    pub(super) fn complete_join(&mut self, step: &mut Step<'_>) {
        self.end_join_phase(step);
        self.remove_absent(step);
        if self.state == State::Dead {
            return;
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Only absent static members are left: nobody could be told to lead.
            let round_ms = self.rebalance_timeout_ms().max(ABSENT_ROUND_MS_MIN);
            return self.set_join_phase(round_ms, None, step);
        }
        self.next_generation(step);
        if self.state == State::Empty {
            self.store_empty(step);
        } else {
            self.answer_joins(step);
        }
    }

    fn remove_absent(&mut self, step: &mut Step<'_>) {
        let absent = self.members.iter().filter(|(_, member)| member.join.is_none() && !member.is_static());
        let absent: Vec<Arc<str>> = absent.map(|(id, _)| id.clone()).collect();
        for id in &absent {
            self.remove(id, step);
        }
    }

    /// Whether a member that is here leads; another one is chosen if the leader did not come.
    fn elect_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else { return false };
        if self.members.get(leader).is_some_and(|member| member.join.is_some()) {
            return true;
        }
        let present = self.members.iter().find(|(_, member)| member.join.is_some());
        let Some(id) = present.map(|(id, _)| id.clone()) else { return false };
        self.leader = Some(id);
        true
    }

    fn store_empty(&mut self, step: &mut Step<'_>) {
        let metadata = self.metadata(|_, member| member.assignment.clone());
        let leave = step.leave.take();
        step.write(&self.id.clone(), Record::group(&self.id, Some(metadata)), Purpose::Emptied { leave });
    }

    fn answer_joins(&mut self, step: &mut Step<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in &ids {
            if let Some(token) = self.take_join(id) {
                let reply = self.joined(id, self.is_leader(id));
                step.reply(token, Reply::Join(reply));
            }
            self.set_owes_sync(id, true);
            if let Some(member) = self.members.get_mut(id) {
                member.is_new = false;
                member.touch(&self.id, id, member.session_timeout_ms, step);
            }
        }
        let deadline_ms = step.after(self.rebalance_timeout_ms());
        self.sync_deadline_ms = Some(deadline_ms);
        step.set_timer(TimerKey::Sync { group: self.id.clone() }, deadline_ms);
    }
}

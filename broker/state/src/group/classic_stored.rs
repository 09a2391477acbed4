//! What happens to a classic group around its log: a write that ends, a load, the loss of the partition.

use milena_protocol::ErrorCode;

use super::classic::{Classic, State};
use super::effects::{Purpose, Replaced, Step};
use super::reply::{JoinReply, Reply, SyncReply};

impl Classic {
    /// The new id of a returned static member is stored, or is not.
    pub(super) fn replacement_stored(
        &mut self,
        replaced: Replaced,
        outcome: Result<(), ErrorCode>,
        step: &mut Step<'_>,
    ) {
        match outcome {
            Ok(()) => self.answer_replaced(&replaced, step),
            Err(error) => self.put_back(&replaced, error, step),
        }
    }

    /// If a rebalance has begun meanwhile the member simply takes part in it.
    fn answer_replaced(&mut self, replaced: &Replaced, step: &mut Step<'_>) {
        let waits = self.members.get(&replaced.new_id).is_some_and(|new| new.join == Some(replaced.token));
        if !waits || self.state != State::Stable || self.generation != replaced.generation {
            return;
        }
        self.take_join(&replaced.new_id);
        self.touch(&replaced.new_id, step);
        let leads = self.is_leader(&replaced.new_id);
        let reply = if replaced.supports_skipping_assignment {
            JoinReply { skip_assignment: leads, ..self.joined(&replaced.new_id, leads) }
        } else {
            // An old client that believes itself the leader would assign, which starts a rebalance:
            // so it is told the leader that was.
            let leader = replaced.old_leader.clone().unwrap_or_else(|| "".into());
            JoinReply { leader, ..self.joined(&replaced.new_id, false) }
        };
        step.reply(replaced.token, Reply::Join(reply));
    }

    /// The member has restarted once more since, and that is not stored yet: should it fail too, it goes back to who
    /// was there before both.
    fn put_back_later(&self, replaced: &Replaced, step: &mut Step<'_>) {
        for (group, purpose) in step.pending.by_id.values_mut() {
            match purpose {
                Purpose::Replaced(later) if *group == self.id && later.old_id == replaced.new_id => {
                    later.old_id = replaced.old_id.clone();
                    later.old_leader = replaced.old_leader.clone();
                    later.protocols = replaced.protocols.clone();
                    later.rebalance_timeout_ms = replaced.rebalance_timeout_ms;
                    later.session_timeout_ms = replaced.session_timeout_ms;
                }
                _ => {}
            }
        }
    }

    fn put_back(&mut self, replaced: &Replaced, error: ErrorCode, step: &mut Step<'_>) {
        if self.static_members.get(&replaced.instance_id) != Some(&replaced.new_id) {
            return self.put_back_later(replaced, step);
        }
        if self.members.get(&replaced.new_id).is_none_or(|new| new.join != Some(replaced.token)) {
            // A rebalance has answered it, and the next generation stores the new id.
            return;
        }
        self.take_join(&replaced.new_id);
        let leader = replaced.old_leader.clone().unwrap_or_else(|| "".into());
        let reply = JoinReply { error, leader, ..self.joined(&"".into(), false) };
        step.reply(replaced.token, Reply::Join(reply));
        let timeouts = (replaced.rebalance_timeout_ms, replaced.session_timeout_ms);
        self.update(&replaced.new_id, replaced.protocols.clone(), timeouts, None, step);
        self.rename(&replaced.new_id, &replaced.old_id, step);
        self.touch(&replaced.old_id, step);
    }

    /// A group that this coordinator has just read from the log: its members have a session to show up
    /// in. One with more members than are allowed now is made to rebalance.
    pub(super) fn loaded(&mut self, step: &mut Step<'_>) {
        for (id, member) in &mut self.members {
            member.touch(&self.id, id, member.session_timeout_ms, step);
        }
        if self.members.len() > step.config.members_max {
            self.prepare_rebalance(step);
        }
    }

    /// The group is another coordinator's now.
    pub(super) fn unload(&mut self, step: &mut Step<'_>) {
        let error = ErrorCode::NotCoordinator;
        for (id, member) in &mut self.members {
            if let Some(token) = member.sync.take() {
                step.reply(token, Reply::Sync(SyncReply::error(error)));
            }
            if let Some(token) = member.join {
                step.reply(token, Reply::Join(JoinReply::error(id.clone(), error)));
            }
        }
        self.drop_joins();
        self.transition(State::Dead, step.now_ms);
    }

    /// A group whose first record could not be written: it never was.
    pub(super) fn abandon(&mut self, error: ErrorCode, step: &mut Step<'_>) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in &ids {
            if let Some(token) = self.take_join(id) {
                step.reply(token, Reply::Join(JoinReply::error("".into(), error)));
            }
        }
        let pending: Vec<_> = self.pending_joins.keys().cloned().collect();
        for id in ids.iter().chain(&pending) {
            self.remove(id, step);
        }
        self.end_join_phase(step);
        self.end_sync_phase(step);
    }
}

//! SyncGroup (key 14): the leader brings the assignment, everybody gets its part.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::ErrorCode;

use super::classic::{Classic, State};
use super::effects::{Purpose, Step, TimerKey};
use super::record::{GroupMetadata, Record};
use super::reply::{Reply, SyncReply};
use super::request::Sync;

impl Classic {
    pub(super) fn sync(&mut self, sync: &Sync, step: &mut Step<'_>) {
        match self.check_sync(sync) {
            Err(error) => step.reply(sync.token, Reply::Sync(SyncReply::error(error))),
            Ok(()) if self.state == State::Stable => {
                self.has_synced(&sync.member_id, step);
                let assignment = self.members.get(&sync.member_id).map(|member| member.assignment.clone());
                let reply = self.assigned_reply(assignment.unwrap_or_default());
                step.reply(sync.token, Reply::Sync(reply));
            }
            Ok(()) => self.wait_for_assignment(sync, step),
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        match self.state {
            State::Dead => return Err(ErrorCode::CoordinatorNotAvailable),
            State::Empty => return Err(ErrorCode::UnknownMemberId),
            _ => self.check_member(&sync.member_id, sync.instance_id.as_deref())?,
        }
        let differs = |given: &Option<Arc<str>>, ours: &Option<Arc<str>>| matches!((given, ours), (Some(given), Some(ours)) if given != ours);
        if sync.generation != self.generation {
            Err(ErrorCode::IllegalGeneration)
        } else if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol)
        {
            Err(ErrorCode::InconsistentGroupProtocol)
        } else if self.state == State::PreparingRebalance {
            Err(ErrorCode::RebalanceInProgress)
        } else {
            Ok(())
        }
    }

    /// The assignment is handed out when it is stored. A sync of the same member that still waits is
    /// given up: Kafka would leave that one without an answer.
    fn wait_for_assignment(&mut self, sync: &Sync, step: &mut Step<'_>) {
        self.has_synced(&sync.member_id, step);
        let Some(member) = self.members.get_mut(&sync.member_id) else { return };
        if let Some(token) = member.sync.replace(sync.token) {
            step.reply(token, Reply::Sync(SyncReply::error(ErrorCode::RebalanceInProgress)));
        }
        if self.is_leader(&sync.member_id) {
            // Members that the leader forgot get nothing; strangers that it named are left out.
            let given: BTreeMap<&Arc<str>, &Bytes> = sync.assignments.iter().map(|(id, b)| (id, b)).collect();
            let metadata =
                self.metadata(|id, _| given.get(id).map(|bytes| (*bytes).clone()).unwrap_or_default());
            let purpose = Purpose::Assigned { generation: self.generation };
            step.write(&self.id.clone(), Record::group(&self.id, Some(metadata)), purpose);
        }
    }

    fn has_synced(&mut self, member_id: &str, step: &mut Step<'_>) {
        self.set_owes_sync(member_id, false);
        if self.everybody_synced() {
            self.end_sync_phase(step);
        }
    }

    /// The leader's assignment is stored, or is not.
    pub(super) fn assignment_stored(
        &mut self,
        stored: Option<&GroupMetadata>,
        generation: i32,
        outcome: Result<(), ErrorCode>,
        step: &mut Step<'_>,
    ) {
        // A rebalance that began meanwhile has sent everybody away already.
        if self.state != State::CompletingRebalance || self.generation != generation {
            return;
        }
        match (outcome, stored) {
            (Ok(()), Some(stored)) if stored.generation == generation => {
                self.hand_out_assignment(stored, step);
                self.transition(State::Stable, step.now_ms);
            }
            (outcome, _) => {
                self.refuse_syncs(outcome.err().unwrap_or(ErrorCode::UnknownServerError), step);
                self.prepare_rebalance(step);
            }
        }
    }

    fn hand_out_assignment(&mut self, stored: &GroupMetadata, step: &mut Step<'_>) {
        for member in &stored.members {
            let Some(known) = self.members.get_mut(&member.id) else { continue };
            known.assignment = member.assignment.clone();
            let token = known.sync.take();
            if let Some(token) = token {
                known.touch(&self.id, &member.id, known.session_timeout_ms, step);
                let reply = self.assigned_reply(member.assignment.clone());
                step.reply(token, Reply::Sync(reply));
            }
        }
    }

    fn assigned_reply(&self, assignment: Bytes) -> SyncReply {
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    /// Sends everybody away who waits for an assignment, and takes the old ones back.
    pub(super) fn refuse_syncs(&mut self, error: ErrorCode, step: &mut Step<'_>) {
        for (id, member) in &mut self.members {
            member.assignment = Bytes::new();
            if let Some(token) = member.sync.take() {
                member.touch(&self.id, id, member.session_timeout_ms, step);
                step.reply(token, Reply::Sync(SyncReply::error(error)));
            }
        }
    }

    /// The timer of the sync phase: who owes a sync is out, the others start over.
    pub(super) fn sync_phase_ends(&mut self, step: &mut Step<'_>) {
        let Some(deadline_ms) = self.sync_deadline_ms else { return };
        if step.now_ms < deadline_ms {
            return step.set_timer(TimerKey::Sync { group: self.id.clone() }, deadline_ms);
        }
        self.sync_deadline_ms = None;
        if !matches!(self.state, State::CompletingRebalance | State::Stable) || self.everybody_synced() {
            return;
        }
        let late = self.members.iter().filter(|(_, member)| member.owes_sync);
        let late: Vec<Arc<str>> = late.map(|(id, _)| id.clone()).collect();
        for id in &late {
            self.remove(id, step);
        }
        self.prepare_rebalance(step);
    }
}

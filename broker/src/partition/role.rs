//! What this broker is to a partition: its leader, or a replica that follows another. The image says so.

use std::sync::atomic::Ordering;

use milena_log::Log;
use milena_protocol::ErrorCode;
use milena_state::config::topic::{Flush, Settings};
use milena_state::metadata::Partition as Assigned;
use milena_state::partition::follower::Follower;
use milena_state::partition::isr::ProposeIsr;
use milena_state::partition::leader::{Effects, Leader, LogEnds, Rules};

use super::partition::{Inner, Myself, Partition};
use super::progress::{Marks, Progress};

/// Leaders are boxed: the table has room for many that idle as followers.
pub(super) enum Role {
    Leader(Box<Leader>),
    /// Another broker leads, or none does.
    Follower(Follower),
}

/// How a leader's replicas are doing, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaFigures {
    pub out_of_sync_count: usize,
    pub is_under_min_isr: bool,
    /// Offsets by which the last of the followers is behind.
    pub lag_max: i64,
}

impl Role {
    pub fn leader_epoch(&self) -> i32 {
        match self {
            Role::Leader(leader) => leader.leader_epoch(),
            Role::Follower(follower) => follower.leader_epoch(),
        }
    }

    pub fn high_watermark(&self) -> i64 {
        match self {
            Role::Leader(leader) => leader.high_watermark(),
            Role::Follower(follower) => follower.high_watermark(),
        }
    }
}

impl Partition {
    /// Takes what the image says about this partition: leads it, follows, or notes a changed ISR.
    pub(crate) fn assign(&self, assigned: &Assigned, myself: Myself, now_ms: i64) {
        let settings = self.settings();
        let mut inner = self.lock();
        if inner.log.is_none() {
            return;
        }
        if assigned.leader != Some(myself.broker_id) {
            return self.follow(&mut inner, assigned.leader_epoch);
        }
        let Inner { log: Some(log), role, .. } = &mut *inner else { return };
        let mut isr_before = None;
        let effects = match role {
            Role::Leader(leader) if leader.leader_epoch() == assigned.leader_epoch => {
                isr_before = (leader.isr() != assigned.isr).then(|| leader.isr().to_vec());
                leader.image_changed(assigned, now_ms)
            }
            Role::Leader(_) | Role::Follower(_) => {
                // A process that has just begun knows what an earlier one noted.
                let known = role.high_watermark().max(log.noted_high_watermark().unwrap_or(0));
                let (leader, effects) = lead(log, assigned, myself, rules(&settings, myself), known, now_ms);
                // Also when nothing rises: transactions that ended below it are decided.
                log.high_watermark_reached(leader.high_watermark());
                *role = Role::Leader(Box::new(leader));
                self.begin_term(&mut inner);
                effects
            }
        };
        let has_followers = inner.leading().is_ok_and(|(_, leader)| leader.has_followers());
        self.has_followers.store(has_followers, Ordering::Relaxed);
        let isr_after = inner.leading().ok().filter(|_| isr_before.is_some()).map(|(_, l)| l.isr().to_vec());
        let outcome = inner.settle(effects);
        drop(inner);
        self.tell(outcome);
        if let (Some(before), Some(after)) = (isr_before, isr_after) {
            self.isr_changed(&before, &after);
        }
        // What was recovered is not known to be synced, and counts only when it is.
        self.request_sync_when_durable();
    }

    fn follow(&self, inner: &mut Inner, leader_epoch: i32) {
        let is_followed =
            matches!(&inner.role, Role::Follower(follower) if follower.leader_epoch() == leader_epoch);
        if is_followed {
            return;
        }
        let Inner { log: Some(log), role, .. } = inner else { return };
        // A leader that wrote nothing leaves an epoch without records, which would be compared with the new leader's.
        let end_offset = log.log_end_offset();
        let failed = log.truncate_to(end_offset).err();
        *role = Role::Follower(Follower::new(leader_epoch, role.high_watermark(), end_offset));
        self.has_followers.store(false, Ordering::Relaxed);
        self.begin_term(inner);
        if let Some(error) = failed {
            self.storage_failed(&error);
        }
    }

    /// Gives the new role, or a log that was cut, numbers of its own, and sends away who waited for those of before.
    pub(super) fn begin_term(&self, inner: &mut Inner) {
        let Some(log) = &inner.log else { return };
        inner.term += 1;
        inner.noted_high_watermark = log.noted_high_watermark().unwrap_or(-1);
        let marks = Marks::of(inner.term, log, inner.role.high_watermark());
        let synced = log.durable_offset().min(marks.log_end);
        self.progress.swap(Progress::new(inner.role.leader_epoch(), marks, synced)).close();
        // It failed while this went on, and closed the numbers of before.
        if self.is_offline() {
            self.progress.load().close();
        }
    }

    /// Notes how far the partition is committed, for the next process of this broker. Where there are no other replicas
    /// that is all that was written, and need not be noted.
    pub(super) fn note_high_watermark(&self, inner: &mut Inner) {
        let is_shared = matches!(inner.role, Role::Follower(_)) || self.has_followers();
        let high_watermark = inner.role.high_watermark();
        // A follower knows nothing before its leader's first answer, which is no reason to forget.
        if !is_shared || high_watermark <= inner.noted_high_watermark {
            return;
        }
        let Some(log) = &inner.log else { return };
        log.note_high_watermark(high_watermark);
        inner.noted_high_watermark = high_watermark;
    }

    /// The image says under which epochs other brokers may join the ISR.
    pub(crate) fn set_eligible(&self, broker_epoch: &dyn Fn(i32) -> Option<i64>, now_ms: i64) {
        if !self.has_followers() {
            return;
        }
        let mut inner = self.lock();
        let Ok((_, leader)) = inner.leading() else { return };
        let followers: Vec<i32> = leader.followers().collect();
        let mut risen = Effects::default();
        for broker_id in followers {
            let effects = leader.set_eligible(broker_id, broker_epoch(broker_id), now_ms);
            risen.advance_high_watermark = effects.advance_high_watermark.or(risen.advance_high_watermark);
        }
        let outcome = inner.settle(risen);
        drop(inner);
        self.tell(outcome);
    }

    /// Whether we lead the partition and there are other replicas. Looks without the lock.
    pub(crate) fn has_followers(&self) -> bool {
        self.has_followers.load(Ordering::Relaxed)
    }

    /// `None` unless we lead it and there are other replicas.
    pub fn replica_figures(&self) -> Option<ReplicaFigures> {
        if !self.has_followers() {
            return None;
        }
        let mut inner = self.lock();
        let (log, leader) = inner.leading().ok()?;
        Some(ReplicaFigures {
            out_of_sync_count: leader.out_of_sync_count(),
            is_under_min_isr: leader.is_under_min_isr(),
            lag_max: leader.lag_max(log.log_start_offset()),
        })
    }

    /// The lowest log start of all replicas that are alive; none while one of them has not said its own.
    ///
    /// Errors: NOT_LEADER_OR_FOLLOWER.
    pub fn low_watermark(&self) -> Result<Option<i64>, ErrorCode> {
        let mut inner = self.lock();
        let (log, leader) = inner.leading()?;
        Ok(leader.low_watermark(log.log_start_offset()))
    }

    /// Asks for an ISR without those that have lagged too long.
    pub(crate) fn drop_lagging(&self, now_ms: i64) {
        let mut inner = self.lock();
        let Ok((_, leader)) = inner.leading() else { return };
        let effects = leader.tick(now_ms);
        let outcome = inner.settle(effects);
        drop(inner);
        self.tell(outcome);
    }

    /// The controller's answer to the change of the ISR that was `asked`: the partition epoch and the ISR that hold now.
    pub(crate) fn proposal_answered(
        &self,
        asked: &ProposeIsr,
        answer: Result<(i32, Vec<i32>), ErrorCode>,
        now_ms: i64,
    ) {
        let mut inner = self.lock();
        let Ok((_, leader)) = inner.leading() else { return };
        let before = leader.isr().to_vec();
        let effects = leader.proposal_answered(asked, answer, now_ms);
        let after = leader.isr().to_vec();
        let outcome = inner.settle(effects);
        drop(inner);
        self.tell(outcome);
        self.isr_changed(&before, &after);
    }

    /// Tells of it, whether the image said so first or the answer to the proposal.
    fn isr_changed(&self, before: &[i32], after: &[i32]) {
        if before == after {
            return;
        }
        let (topic, partition) = (self.topic(), self.index());
        tracing::info!(%topic, partition, ?before, ?after, "in-sync replicas changed");
        if let Some(proposals) = self.proposals() {
            proposals.isr_changed(before.len(), after.len());
        }
    }
}

fn lead(
    log: &mut Log,
    assigned: &Assigned,
    myself: Myself,
    rules: Rules,
    high_watermark: i64,
    now_ms: i64,
) -> (Leader, Effects) {
    log.assign_epoch_start(assigned.leader_epoch);
    let ends = LogEnds {
        log_start_offset: log.log_start_offset(),
        log_end_offset: log.log_end_offset(),
        synced_offset: log.durable_offset(),
        high_watermark,
    };
    Leader::new(myself.broker_id, myself.broker_epoch, assigned, ends, rules, now_ms)
}

pub(super) fn rules(settings: &Settings, myself: Myself) -> Rules {
    Rules {
        min_insync_replicas: settings.min_insync_replicas,
        durable: settings.flush == Flush::Durable,
        replica_lag_time_max_ms: myself.replica_lag_time_max_ms,
    }
}

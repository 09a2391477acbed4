//! A member of a classic group, as its coordinator knows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::effects::{Step, TimerKey};
use super::record::StoredMember;
use super::request::{Join, Protocol, Token};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// The preferred one first, no name twice.
    pub(super) protocols: Arc<[Protocol]>,
    pub(super) assignment: Bytes,
    /// The join that waits for the end of the join phase.
    pub(super) join: Option<Token>,
    /// The sync that waits for the leader's assignment.
    pub(super) sync: Option<Token>,
    /// Has joined, but has not been in a generation yet.
    pub(super) is_new: bool,
    /// Has been told its generation and has not asked for its assignment.
    pub(super) owes_sync: bool,
    /// When its session ends; none while it waits for an answer of ours.
    deadline_ms: Option<i64>,
    /// What the runtime's timer is set to: never later than the deadline. A heartbeat moves only the
    /// deadline, so that it costs no timer.
    armed_ms: Option<i64>,
}

/// What a member's timer means when it fires.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Session {
    Alive,
    Expired,
}

impl Member {
    pub(super) fn joining(join: &Join) -> Self {
        Self {
            instance_id: join.instance_id.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: distinct(&join.protocols),
            assignment: Bytes::new(),
            join: None,
            sync: None,
            is_new: true,
            owes_sync: false,
            deadline_ms: None,
            armed_ms: None,
        }
    }

    /// A member as its group's record has it: the subscription under the chosen protocol is all that is
    /// known of what it supports.
    pub(super) fn stored(member: &StoredMember, protocol: Option<&Arc<str>>) -> Self {
        let protocol = protocol.cloned().unwrap_or_else(|| "".into());
        let rebalance_timeout_ms = match member.rebalance_timeout_ms {
            -1 => member.session_timeout_ms,
            timeout => timeout,
        };
        Self {
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            protocols: Arc::new([Protocol { name: protocol, metadata: member.subscription.clone() }]),
            assignment: member.assignment.clone(),
            join: None,
            sync: None,
            is_new: false,
            owes_sync: false,
            deadline_ms: None,
            armed_ms: None,
        }
    }

    /// The member under a new id: nothing waits for it and no timer runs.
    pub(super) fn successor(&self) -> Self {
        Self {
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            protocols: self.protocols.clone(),
            assignment: self.assignment.clone(),
            join: None,
            sync: None,
            is_new: false,
            owes_sync: self.owes_sync,
            deadline_ms: None,
            armed_ms: None,
        }
    }

    pub(super) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|known| *known.name == *protocol);
        found.map(|known| known.metadata.clone()).unwrap_or_default()
    }

    /// The first of its protocols that everybody supports.
    pub(super) fn vote(&self, candidates: &BTreeSet<Arc<str>>) -> Option<Arc<str>> {
        self.protocols.iter().find(|known| candidates.contains(&known.name)).map(|known| known.name.clone())
    }

    /// Gives the member `timeout_ms` from now. The runtime hears of it only when its timer would come
    /// too late.
    pub(super) fn touch(&mut self, group: &Arc<str>, id: &Arc<str>, timeout_ms: i32, step: &mut Step<'_>) {
        let deadline_ms = step.after(timeout_ms);
        self.deadline_ms = Some(deadline_ms);
        if self.armed_ms.is_none_or(|armed_ms| armed_ms > deadline_ms) {
            self.arm(group, id, deadline_ms, step);
        }
    }

    fn arm(&mut self, group: &Arc<str>, id: &Arc<str>, deadline_ms: i64, step: &mut Step<'_>) {
        self.armed_ms = Some(deadline_ms);
        step.set_timer(TimerKey::Member { group: group.clone(), member: id.clone() }, deadline_ms);
    }

    /// The member's timer has fired. One that waits for us is alive by definition, but a new one is not
    /// waited for longer than its first deadline.
    pub(super) fn timer(&mut self, group: &Arc<str>, id: &Arc<str>, step: &mut Step<'_>) -> Session {
        self.armed_ms = None;
        let Some(deadline_ms) = self.deadline_ms else { return Session::Alive };
        if step.now_ms < deadline_ms {
            self.arm(group, id, deadline_ms, step);
            return Session::Alive;
        }
        self.deadline_ms = None;
        let waits = self.join.is_some() || self.sync.is_some();
        if waits && !self.is_new { Session::Alive } else { Session::Expired }
    }
}

/// The protocols without repetitions: a name counts once per member when supporters are counted.
pub(super) fn distinct(protocols: &[Protocol]) -> Arc<[Protocol]> {
    let mut names = BTreeSet::new();
    protocols.iter().filter(|protocol| names.insert(&protocol.name)).cloned().collect()
}

//! The groups of one partition of `__consumer_offsets`: events in, effects out, records applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::classic::Classic;
use super::classic_join;
use super::config::Config;
use super::effects::{Effects, PendingWrites, Purpose, Step, TimerKey, WriteId, error_of_write};
use super::offsets::Offsets;
use super::record::{GroupMetadata, GroupRecord, Record};
use super::reply::{JoinReply, LeaveReply, Left, Reply, SyncReply};
use super::request::{Heartbeat, Join, Leave, Sync};

/// What happens to a group that no single record decides.
#[derive(Debug, Clone)]
pub enum Event {
    Join(Join),
    Sync(Sync),
    Heartbeat(Heartbeat),
    Leave(Leave),
    /// A member has shown itself by another request (see [`super::Decision::alive`]).
    Alive {
        group: Arc<str>,
        member: Arc<str>,
    },
    /// A timer's deadline has passed.
    Timer(TimerKey),
    /// A write is committed, or the log refused it or lost it.
    Stored {
        write: WriteId,
        outcome: Result<(), ErrorCode>,
    },
}

#[derive(Debug)]
pub(super) struct Group {
    /// The group's last record; none for a group that is known by its offsets alone.
    pub(super) stored: Option<Arc<GroupMetadata>>,
    pub(super) classic: Classic,
}

#[derive(Debug)]
pub struct Groups {
    pub(super) config: Config,
    pub(super) by_id: BTreeMap<Arc<str>, Group>,
    pub(super) offsets: Offsets,
    pending: PendingWrites,
    /// While records are read from the log groups have no soft state.
    loading: bool,
}

impl Groups {
    /// Without groups, ready to be loaded.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            by_id: BTreeMap::new(),
            offsets: Offsets::default(),
            pending: PendingWrites::default(),
            loading: true,
        }
    }

    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// What the log says of a group: the state that a load brings back.
    pub fn stored(&self, group: &str) -> Option<&Arc<GroupMetadata>> {
        self.by_id.get(group)?.stored.as_ref()
    }

    pub fn group_ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_id.keys()
    }

    /// Applies a record that stands at `record_offset`, in the order of the log.
    pub fn apply(&mut self, record: &Record, record_offset: i64) {
        match record {
            Record::Offset(offset) => {
                if offset.value.is_some() {
                    self.known(&offset.group);
                }
                self.offsets.apply(offset, record_offset);
            }
            Record::Group(group) => self.apply_group(group),
        }
    }

    /// Applies a record of a transactional batch.
    pub fn apply_transactional(&mut self, producer_id: i64, record: &Record, record_offset: i64) {
        match record {
            Record::Offset(offset) => {
                if offset.value.is_some() {
                    self.known(&offset.group);
                }
                self.offsets.apply_transactional(producer_id, offset, record_offset);
            }
            Record::Group(group) => self.apply_group(group),
        }
    }

    /// Applies a transaction's marker.
    pub fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        self.offsets.end_transaction(producer_id, committed);
    }

    fn apply_group(&mut self, record: &GroupRecord) {
        let Some(stored) = &record.value else {
            self.by_id.remove(&record.group);
            return;
        };
        self.known(&record.group).stored = Some(stored.clone());
    }

    fn known(&mut self, id: &Arc<str>) -> &mut Group {
        let new = || Group { stored: None, classic: Classic::new(id.clone(), None) };
        self.by_id.entry(id.clone()).or_insert_with(new)
    }

    /// The log is read to its end: from here on the groups are served.
    pub fn loaded(&mut self, now_ms: i64) -> Effects {
        self.loading = false;
        self.with_step(now_ms, |by_id, step| {
            for (id, group) in by_id {
                if let Some(stored) = &group.stored {
                    group.classic = Classic::load(id.clone(), stored);
                    group.classic.loaded(step);
                }
            }
        })
    }

    /// Another broker coordinates these groups now: every reply that is owed is NOT_COORDINATOR. The
    /// machine is dropped afterwards.
    pub fn unload(&mut self, now_ms: i64) -> Effects {
        let pending = std::mem::take(&mut self.pending.by_id);
        self.with_step(now_ms, |by_id, step| {
            for (_, purpose) in pending.into_values() {
                if let Purpose::Emptied { leave: Some((token, _)) } = purpose {
                    step.reply(token, Reply::Leave(refused(ErrorCode::NotCoordinator)));
                }
            }
            by_id.values_mut().for_each(|group| group.classic.unload(step));
        })
    }

    /// Changes soft state. Nothing that comes from a client or a timer is out of order here: what does
    /// not fit the state is answered with Kafka's error.
    pub fn on_event(&mut self, event: Event, now_ms: i64) -> Effects {
        debug_assert!(!self.loading, "loaded() comes before the first event");
        match event {
            Event::Join(join) => self.join(&join, now_ms),
            Event::Sync(sync) => self.sync(&sync, now_ms),
            Event::Heartbeat(heartbeat) => self.heartbeat(&heartbeat, now_ms),
            Event::Leave(leave) => self.leave(&leave, now_ms),
            Event::Alive { group, member } => {
                self.in_group(&group, now_ms, |group, step| group.classic.touch(&member, step))
            }
            Event::Timer(key) => self.timer(&key, now_ms),
            Event::Stored { write, outcome } => self.stored_event(write, outcome, now_ms),
        }
    }

    fn with_step(
        &mut self,
        now_ms: i64,
        act: impl FnOnce(&mut BTreeMap<Arc<str>, Group>, &mut Step<'_>),
    ) -> Effects {
        let mut effects = Effects::default();
        let mut step = Step {
            now_ms,
            config: &self.config,
            pending: &mut self.pending,
            effects: &mut effects,
            leave: None,
        };
        act(&mut self.by_id, &mut step);
        effects
    }

    /// Does nothing for a group that is gone.
    fn in_group(&mut self, id: &str, now_ms: i64, act: impl FnOnce(&mut Group, &mut Step<'_>)) -> Effects {
        self.with_step(now_ms, |by_id, step| {
            if let Some(group) = by_id.get_mut(id) {
                act(group, step);
            }
        })
    }

    fn join(&mut self, join: &Join, now_ms: i64) -> Effects {
        let known = self.by_id.contains_key(&join.group);
        let refused = match classic_join::check(join, &self.config) {
            Ok(()) if !known && !join.member_id.is_empty() => Err(ErrorCode::UnknownMemberId),
            checked => checked,
        };
        self.with_step(now_ms, |by_id, step| {
            if let Err(error) = refused {
                let reply = JoinReply::error(join.member_id.clone(), error);
                return step.reply(join.token, Reply::Join(reply));
            }
            let new = || Group { stored: None, classic: Classic::new(join.group.clone(), Some(now_ms)) };
            let group = by_id.entry(join.group.clone()).or_insert_with(new);
            // Stored before anything about the members is, so that a group that never gets further
            // expires like any other.
            let first = (!known).then(|| group.classic.metadata(|_, member| member.assignment.clone()));
            group.classic.join(join, step);
            if let Some(metadata) = first {
                step.write(&join.group, Record::group(&join.group, Some(metadata)), Purpose::Created);
            }
        })
    }

    fn sync(&mut self, sync: &Sync, now_ms: i64) -> Effects {
        self.with_step(now_ms, |by_id, step| match by_id.get_mut(&sync.group) {
            Some(group) => group.classic.sync(sync, step),
            None => step.reply(sync.token, Reply::Sync(SyncReply::error(unknown(&sync.group)))),
        })
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat, now_ms: i64) -> Effects {
        self.with_step(now_ms, |by_id, step| match by_id.get_mut(&heartbeat.group) {
            Some(group) => group.classic.heartbeat(heartbeat, step),
            None => step.reply(heartbeat.token, Reply::Heartbeat(unknown(&heartbeat.group))),
        })
    }

    fn leave(&mut self, leave: &Leave, now_ms: i64) -> Effects {
        self.with_step(now_ms, |by_id, step| match by_id.get_mut(&leave.group) {
            Some(group) => group.classic.leave(leave, step),
            None if leave.group.is_empty() => {
                step.reply(leave.token, Reply::Leave(refused(ErrorCode::InvalidGroupId)));
            }
            None => {
                let unknown = leave.members.iter().map(|leaver| Left {
                    member_id: leaver.member_id.clone(),
                    instance_id: leaver.instance_id.clone(),
                    error: ErrorCode::UnknownMemberId,
                });
                let reply = LeaveReply { error: ErrorCode::None, members: unknown.collect() };
                step.reply(leave.token, Reply::Leave(reply));
            }
        })
    }

    fn timer(&mut self, key: &TimerKey, now_ms: i64) -> Effects {
        let (TimerKey::Member { group, .. } | TimerKey::Join { group } | TimerKey::Sync { group }) = key;
        self.in_group(group, now_ms, |group, step| match key {
            TimerKey::Member { member, .. } => group.classic.member_timer(member, step),
            TimerKey::Join { .. } => group.classic.join_phase_ends(step),
            TimerKey::Sync { .. } => group.classic.sync_phase_ends(step),
        })
    }

    fn stored_event(&mut self, write: WriteId, outcome: Result<(), ErrorCode>, now_ms: i64) -> Effects {
        let Some((id, purpose)) = self.pending.by_id.remove(&write) else { return Effects::default() };
        let outcome = outcome.map_err(error_of_write);
        let has_offsets = self.offsets.group(&id).is_some() || self.offsets.has_open_transaction(&id);
        self.with_step(now_ms, |by_id, step| {
            if let Purpose::Emptied { leave: Some((token, reply)) } = purpose {
                let reply = outcome.map_or_else(refused, |()| reply);
                return step.reply(token, Reply::Leave(reply));
            }
            let Some(group) = by_id.get_mut(&id) else { return };
            match purpose {
                Purpose::Created => {
                    let Err(error) = outcome else { return };
                    if group.stored.is_none() && !has_offsets {
                        group.classic.abandon(error, step);
                        by_id.remove(&id);
                    }
                }
                Purpose::Emptied { .. } => {}
                Purpose::Assigned { generation } => {
                    group.classic.assignment_stored(group.stored.as_deref(), generation, outcome, step);
                }
                Purpose::Replaced(replaced) => group.classic.replacement_stored(*replaced, outcome, step),
            }
        })
    }
}

fn refused(error: ErrorCode) -> LeaveReply {
    LeaveReply { error, members: Vec::new() }
}

/// Nobody is a member of a group that is not there.
fn unknown(group: &str) -> ErrorCode {
    if group.is_empty() { ErrorCode::InvalidGroupId } else { ErrorCode::UnknownMemberId }
}

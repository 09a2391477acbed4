//! Who was heard of when, and who is leaving: what only the active controller knows.
//!
//! Soft state, which begins anew with each leadership: losing it may cost a session's time, never data. Whoever decides
//! has a command [informed](Sessions::inform) before, and what was decided [remembered](Sessions::remember) once it is
//! committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::types::Uuid;

use super::brokers::{FenceBroker, Heartbeat, RegisterBroker, Registered, check_broker_epoch};
use super::command::{Command, Reply};
use super::image::{Broker, Image};

/// Processes of one broker that are remembered, with the present one.
const INCARNATIONS_MAX: usize = 8;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    sessions: BTreeMap<i32, Session>,
    /// Index at which each broker's controlled shutdown began.
    leaving_since: BTreeMap<i32, i64>,
    /// Incarnation ids that each broker was registered with here, the present one last.
    incarnations: BTreeMap<i32, Vec<Uuid>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Session {
    broker_epoch: i64,
    last_contact_ms: i64,
    metadata_offset: i64,
}

/// What is to be known of a decision once it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    Nothing,
    Registered { broker_id: i32, incarnation_id: Uuid, registered: Registered },
    Unregistered { broker_id: i32 },
    Leaving { broker_id: i32 },
}

impl Note {
    /// A refusal leaves nothing: whoever was refused is not the broker whose id it named, and says nothing of it.
    pub fn of(command: &Command, reply: &Reply) -> Self {
        match (command, reply) {
            (Command::RegisterBroker(c), Reply::RegisterBroker(Ok(registered))) => Self::Registered {
                broker_id: c.broker_id,
                incarnation_id: c.incarnation_id,
                registered: *registered,
            },
            (Command::UnregisterBroker(c), Reply::UnregisterBroker(Ok(()))) => {
                Self::Unregistered { broker_id: c.broker_id }
            }
            (Command::BrokerHeartbeat(c), Reply::BrokerHeartbeat(Ok(_))) if c.want_shut_down => {
                Self::Leaving { broker_id: c.broker_id }
            }
            _ => Self::Nothing,
        }
    }
}

impl Sessions {
    /// What a controller knows when it takes over: nothing, so everybody counts as just seen.
    pub fn seeded(image: &Image, now_ms: i64) -> Self {
        let session = |broker: &Arc<Broker>| {
            let session =
                Session { broker_epoch: broker.broker_epoch, last_contact_ms: now_ms, metadata_offset: -1 };
            (broker.broker_id, session)
        };
        let present = |broker: &Arc<Broker>| (broker.broker_id, vec![broker.incarnation_id]);
        Self {
            sessions: image.brokers().map(session).collect(),
            leaving_since: BTreeMap::new(),
            incarnations: image.brokers().map(present).collect(),
        }
    }

    /// Adds to a command, before it is decided on `image`, what only the active controller knows. A heartbeat is heard
    /// by that.
    pub fn inform(&mut self, command: &mut Command, image: &Image, session_timeout_ms: i64, now_ms: i64) {
        match command {
            Command::RegisterBroker(c) => {
                c.session_is_live =
                    self.is_live(c.broker_id, session_timeout_ms, now_ms) && !self.succeeds(image, c);
            }
            Command::BrokerHeartbeat(c) => {
                self.hear(c, image, now_ms);
                let since = self.leaving_since.get(&c.broker_id);
                c.others_caught_up = since.is_some_and(|index| self.all_reached(image, c.broker_id, *index));
            }
            _ => {}
        }
    }

    /// Takes note of a decision that is committed at `index`.
    pub fn remember(&mut self, note: Note, index: i64, now_ms: i64) {
        match note {
            Note::Nothing => {}
            Note::Registered { broker_id, incarnation_id, registered } => {
                self.touch(broker_id, registered.epoch_at(index), -1, now_ms);
                self.leaving_since.remove(&broker_id);
                self.follow(broker_id, incarnation_id);
            }
            Note::Unregistered { broker_id } => {
                self.forget(broker_id);
                self.leaving_since.remove(&broker_id);
                self.incarnations.remove(&broker_id);
            }
            Note::Leaving { broker_id } => {
                self.leaving_since.entry(broker_id).or_insert(index);
            }
        }
    }

    /// This incarnation takes the place of the one before.
    fn follow(&mut self, broker_id: i32, incarnation_id: Uuid) {
        let all = self.incarnations.entry(broker_id).or_default();
        all.retain(|id| *id != incarnation_id);
        all.push(incarnation_id);
        if all.len() > INCARNATIONS_MAX {
            all.remove(0);
        }
    }

    /// Whether the process that registers takes the place of the one before though that was heard of a moment ago.
    ///
    /// Its directories show that the one before is gone, unless it is itself the older of the two: then it lives and has
    /// missed that another has its id, or it is dead and its registration comes late. Neither may drive out a process that
    /// heartbeats. One that was never heard since it registered may be such a late one itself, and gives way.
    fn succeeds(&self, image: &Image, command: &RegisterBroker) -> bool {
        let former = self.incarnations.get(&command.broker_id).and_then(|all| all.split_last());
        let is_former = former.is_some_and(|(_, former)| former.contains(&command.incarnation_id));
        let was_heard = self.sessions.get(&command.broker_id).is_some_and(|s| s.metadata_offset >= 0);
        has_its_directories(image, command) && !(is_former && was_heard)
    }

    /// A heartbeat came in; whether it is one of the broker that is registered. Any other will be refused and keeps no
    /// session alive: the broker whose id it names may be dead.
    pub fn hear(&mut self, heartbeat: &Heartbeat, image: &Image, now_ms: i64) -> bool {
        let (id, epoch) = (heartbeat.broker_id, heartbeat.broker_epoch);
        let is_known = check_broker_epoch(image, id, epoch).is_ok();
        if is_known {
            self.touch(id, epoch, heartbeat.current_metadata_offset, now_ms);
        }
        is_known
    }

    /// A broker that is registered was heard. One that comes late, from a process that another has followed, says nothing of
    /// the broker as it is now.
    pub fn touch(&mut self, broker_id: i32, broker_epoch: i64, metadata_offset: i64, now_ms: i64) {
        if self.sessions.get(&broker_id).is_some_and(|session| session.broker_epoch > broker_epoch) {
            return;
        }
        self.sessions.insert(broker_id, Session { broker_epoch, last_contact_ms: now_ms, metadata_offset });
    }

    pub fn forget(&mut self, broker_id: i32) {
        self.sessions.remove(&broker_id);
    }

    /// As [`forget`](Self::forget), unless another incarnation has taken its place.
    pub fn forget_incarnation(&mut self, broker_id: i32, broker_epoch: i64) {
        if self.sessions.get(&broker_id).is_some_and(|session| session.broker_epoch == broker_epoch) {
            self.forget(broker_id);
        }
    }

    pub fn is_live(&self, broker_id: i32, session_timeout_ms: i64, now_ms: i64) -> bool {
        self.sessions.get(&broker_id).is_some_and(|s| now_ms - s.last_contact_ms <= session_timeout_ms)
    }

    /// Unfenced brokers that were not heard of for longer than the timeout, the longest first.
    pub fn expired(&self, image: &Image, session_timeout_ms: i64, now_ms: i64) -> Vec<FenceBroker> {
        let mut expired: Vec<_> = self
            .sessions
            .iter()
            .filter(|(id, s)| {
                now_ms - s.last_contact_ms > session_timeout_ms
                    && image.broker(**id).is_some_and(|b| !b.fenced && b.broker_epoch == s.broker_epoch)
            })
            .map(|(id, s)| (s.last_contact_ms, FenceBroker { broker_id: *id, broker_epoch: s.broker_epoch }))
            .collect();
        expired.sort_by_key(|(last_contact_ms, command)| (*last_contact_ms, command.broker_id));
        expired.into_iter().map(|(_, command)| command).collect()
    }

    /// Active brokers that this controller has given a session and never heard.
    pub fn unheard(&self, image: &Image) -> Vec<FenceBroker> {
        let silent = self.sessions.iter().filter(|(id, session)| {
            let is_it = |broker: &Arc<Broker>| !broker.fenced && broker.broker_epoch == session.broker_epoch;
            session.metadata_offset < 0 && image.broker(**id).is_some_and(is_it)
        });
        silent
            .map(|(id, session)| FenceBroker { broker_id: *id, broker_epoch: session.broker_epoch })
            .collect()
    }

    /// Whether every active broker but this one has applied the metadata up to `index`.
    pub fn all_reached(&self, image: &Image, except: i32, index: i64) -> bool {
        image
            .brokers()
            .filter(|broker| broker.is_active() && broker.broker_id != except)
            .all(|broker| self.sessions.get(&broker.broker_id).is_some_and(|s| s.metadata_offset >= index))
    }
}

/// Whether the process that registers holds a directory of the one that was registered before. Directories are locked:
/// whoever had it is gone, however short its last heartbeat is ago.
fn has_its_directories(image: &Image, command: &RegisterBroker) -> bool {
    let before = image.broker(command.broker_id);
    before.is_some_and(|before| before.log_dirs.iter().any(|id| command.log_dirs.contains(id)))
}

#[cfg(test)]
#[path = "sessions_test.rs"]
mod tests;

//! The front door for what is decided at once: commands in, records and replies out.

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::machine::{Event, Groups};
use super::record::Record;
use super::reply::Outcomes;
use super::request::{Commit, DeleteOffsets};
use super::{commit, removal};

#[derive(Debug, Clone)]
pub enum Command {
    Commit(Commit),
    DeleteOffsets(DeleteOffsets),
    DeleteGroups(Vec<Arc<str>>),
    /// One round of expiry, from `from` on; none begins with the first group (KIP-211).
    Expire {
        from: Option<Arc<str>>,
    },
    /// Topics are gone, with their ids: nobody will read on from their offsets.
    TopicsDeleted(Vec<(Arc<str>, Uuid)>),
}

#[derive(Debug, PartialEq)]
pub struct Decision {
    /// Written as one batch; empty when nothing changes.
    pub records: Vec<Record>,
    pub reply: CommandReply,
    /// The member that this was a sign of life of.
    pub alive: Option<(Arc<str>, Arc<str>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandReply {
    /// An error here is that of every partition.
    Commit(Result<Outcomes, ErrorCode>),
    DeleteOffsets(Result<Outcomes, ErrorCode>),
    DeleteGroups(Vec<(Arc<str>, ErrorCode)>),
    /// Where the next round begins; none when this one reached the end.
    Expired {
        next: Option<Arc<str>>,
    },
    TopicsDeleted,
}

impl Decision {
    pub(super) fn new(records: Vec<Record>, reply: CommandReply) -> Self {
        Self { records, reply, alive: None }
    }

    /// The event that tells the machine of [`Decision::alive`].
    pub fn alive_event(&self) -> Option<Event> {
        let (group, member) = self.alive.clone()?;
        Some(Event::Alive { group, member })
    }
}

impl Groups {
    /// Decides one command. Nothing changes until the records are applied.
    pub fn decide(&self, command: &Command, now_ms: i64) -> Decision {
        match command {
            Command::Commit(request) => commit::commit(self, request, now_ms),
            Command::DeleteOffsets(request) => removal::delete_offsets(self, request),
            Command::DeleteGroups(ids) => removal::delete_groups(self, ids),
            Command::Expire { from } => removal::expire(self, from.as_ref(), now_ms),
            Command::TopicsDeleted(topics) => removal::topics_deleted(self, topics),
        }
    }
}

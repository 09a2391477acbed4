//! Whether this node can do its work, as far as it can tell by itself: what `/readyz` answers and the metrics show.
//!
//! Judging is pure ([`Signs::problem`]); the signs are read where they are kept, when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use milena_protocol::types::Uuid;

use crate::controller::raft::quorum::Quorum;
use crate::metadata::Metadata;
use crate::partition::directories::Directories;
use crate::starting::Starting;

/// What is said of a node that has not started, before what it waits for.
pub const STARTING: &str = "starting";

/// Where the signs of life are read.
#[derive(Clone)]
pub struct Health {
    pub node_id: i32,
    /// Of this process.
    pub incarnation_id: Uuid,
    /// None in a process that is no controller.
    pub quorum: Option<Quorum>,
    /// Whether this process is a broker, which can be fenced.
    pub is_broker: bool,
    pub metadata: Arc<Metadata>,
    pub directories: Arc<Directories>,
    pub starting: Starting,
    pub stopping: Arc<AtomicBool>,
}

/// What can be seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs {
    pub is_stopping: bool,
    /// What others have to give before it is one of them has not all come.
    pub is_starting: bool,
    /// The member of the metadata quorum in this process has not ended.
    pub quorum_runs: bool,
    /// The task that brings committed metadata to this broker has not ended.
    pub metadata_is_followed: bool,
    /// At least one directory can hold partitions.
    pub has_usable_directory: bool,
    /// Registered and not fenced, or no broker at all.
    pub is_active: bool,
}

impl Health {
    pub fn signs(&self) -> Signs {
        Signs {
            is_stopping: self.stopping.load(Ordering::Relaxed),
            is_starting: self.starting.now().is_some(),
            quorum_runs: self.quorum.as_ref().is_none_or(|quorum| quorum.stopped().is_none()),
            metadata_is_followed: self.metadata.is_followed(),
            has_usable_directory: self.directories.has_usable(),
            is_active: !self.is_broker || self.is_active_broker(),
        }
    }

    /// Another process may be active under our id.
    fn is_active_broker(&self) -> bool {
        let image = self.metadata.image();
        let own = image.broker(self.node_id);
        own.is_some_and(|own| own.is_active() && own.incarnation_id == self.incarnation_id)
    }

    /// Why clients should not be sent here, and while it starts, what it waits for.
    pub fn problem(&self) -> Option<String> {
        let problem = self.signs().problem()?;
        match self.starting.now().filter(|_| problem == STARTING) {
            Some(what) => Some(format!("{STARTING}: {what}")),
            None => Some(problem.to_owned()),
        }
    }
}

impl Signs {
    /// Why clients should not be sent here; the first reason that applies, those that only a restart mends before the
    /// others.
    pub fn problem(&self) -> Option<&'static str> {
        let Self {
            is_stopping,
            is_starting,
            quorum_runs,
            metadata_is_followed,
            has_usable_directory,
            is_active,
        } = *self;
        let reasons = [
            (is_stopping, "stopping"),
            (!quorum_runs, "the metadata quorum member has stopped"),
            (!metadata_is_followed, "metadata is not followed any more"),
            (!has_usable_directory, "every log directory is offline"),
            (is_starting, STARTING),
            (!is_active, "fenced"),
        ];
        reasons.into_iter().find_map(|(applies, reason)| applies.then_some(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Signs = Signs {
        is_stopping: false,
        is_starting: false,
        quorum_runs: true,
        metadata_is_followed: true,
        has_usable_directory: true,
        is_active: true,
    };

    #[test]
    fn node_is_ready_when_nothing_is_wrong_and_names_what_is() {
        let check = |signs: Signs, problem: Option<&str>| assert_eq!(signs.problem(), problem, "{signs:?}");
        check(WELL, None);
        check(Signs { is_active: false, ..WELL }, Some("fenced"));
        check(Signs { is_starting: true, is_active: false, ..WELL }, Some("starting"));
        check(Signs { is_stopping: true, is_starting: true, is_active: false, ..WELL }, Some("stopping"));
        check(Signs { quorum_runs: false, ..WELL }, Some("the metadata quorum member has stopped"));
        let unfollowed = Signs { metadata_is_followed: false, is_active: false, ..WELL };
        check(unfollowed, Some("metadata is not followed any more"));
        check(Signs { has_usable_directory: false, ..WELL }, Some("every log directory is offline"));
    }
}

//! Commits of a member.
//!
//! One commit is under way at a time, over one connection, so an older one never overwrites a younger. Only what the
//! coordinator acknowledged counts as committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::link::Link;
use super::wire::Identity;
use crate::cluster::Retry;
use crate::config::GroupConfig;
use crate::connection::Connection;
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};
use crate::offsets::commit::{self as wire_commit, Committer, NewOffset};

/// Where a group goes on in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitOffset {
    /// The next offset to read: one more than that of the last record that is done.
    pub offset: i64,
    /// For the reader of the commit; at most `offset.metadata.max.bytes` of the broker.
    pub metadata: String,
}

/// Offsets by partition.
pub type CommitOffsets = BTreeMap<PartitionKey, CommitOffset>;

/// A commit with what came of it. What is neither acknowledged nor refused has a fate that nobody knows.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) link: Link,
    /// Who committed.
    pub(super) identity: Identity,
    pub(super) acknowledged: BTreeMap<PartitionKey, i64>,
    pub(super) refused: BTreeMap<PartitionKey, ErrorCode>,
    /// Why no more is known.
    pub(super) error: Option<Error>,
}

impl Committed {
    /// Nothing was asked for.
    pub(super) fn nothing(link: Link, identity: Identity) -> Self {
        Self { link, identity, acknowledged: BTreeMap::new(), refused: BTreeMap::new(), error: None }
    }

    /// The error codes that the coordinator answered with.
    pub(super) fn codes(&self) -> impl Iterator<Item = ErrorCode> {
        self.refused.values().copied().chain(self.error.as_ref().and_then(Error::code))
    }

    /// Whether the same offsets may be taken a moment later.
    pub(super) fn may_come_right(&self) -> bool {
        let is_open = self.error.as_ref().is_some_and(Error::may_be_retried);
        is_open || !self.refused.is_empty() && self.refused.values().copied().all(may_come_right)
    }

    /// Whether the coordinator knows no such member in this generation (any more).
    pub(super) fn is_out_of_date(&self) -> bool {
        self.codes().any(is_out_of_date)
    }

    /// Says of what is out of date that the group rebalances: for a commit that a join has overtaken, nothing is lost
    /// yet.
    pub(super) fn blame_the_rebalance(&mut self) {
        for code in self.refused.values_mut().filter(|code| is_out_of_date(**code)) {
            *code = ErrorCode::RebalanceInProgress;
        }
    }

    /// Errors: `CommitFailed` for what was refused, and what kept the coordinator from being asked.
    pub(super) fn outcome(self) -> Result<()> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.refused.is_empty() {
            return Ok(());
        }
        let failed = self.refused.into_iter().map(|((topic, partition), code)| (topic, partition, code));
        Err(Error::CommitFailed { failed: failed.collect() })
    }
}

fn is_out_of_date(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId | ErrorCode::RebalanceInProgress)
}

/// A topic that does not exist may come back, but its commits do not wait for that: as in Kafka's consumer.
fn may_come_right(code: ErrorCode) -> bool {
    code.is_retriable() && code != ErrorCode::UnknownTopicOrPartition
}

/// Commits once, or with `retry` until nothing is left that may come right.
pub(super) async fn commit(
    mut link: Link,
    config: Arc<GroupConfig>,
    identity: Identity,
    mut left: CommitOffsets,
    mut retry: Option<Retry>,
) -> Committed {
    let (mut acknowledged, mut refused) = (BTreeMap::new(), BTreeMap::new());
    let error = loop {
        let setback = match once(&mut link, &config, &identity, &left).await {
            Err(error) if error.may_be_retried() => error,
            Err(error) => break Some(error),
            Ok(codes) => {
                refused = codes;
                for (key, commit) in &left {
                    if !refused.contains_key(key) {
                        acknowledged.insert(key.clone(), commit.offset);
                    }
                }
                // What was refused for good makes the whole commit fail, however often the rest is tried.
                if refused.is_empty() || !refused.values().copied().all(may_come_right) {
                    break None;
                }
                left.retain(|key, _| refused.contains_key(key));
                let (key, code) = refused.first_key_value().expect("it is not empty");
                let context = format!("committing offset of {}-{}", key.0, key.1);
                Error::Broker { context, code: *code, message: None }
            }
        };
        let Some(retry) = &mut retry else { break refused.is_empty().then_some(setback) };
        if let Err(error) = retry.pause(setback).await {
            break refused.is_empty().then_some(error);
        }
    };
    Committed { link, identity, acknowledged, refused, error }
}

/// One request. The partitions that were refused, or left out of the answer, are in what this gives; an error that
/// concerns the coordinator as a whole is an error.
async fn once(
    link: &mut Link,
    config: &GroupConfig,
    identity: &Identity,
    offsets: &CommitOffsets,
) -> Result<BTreeMap<PartitionKey, ErrorCode>> {
    let committer = Committer {
        group_id: &config.group_id,
        generation: identity.generation,
        member_id: &identity.member_id,
        instance_id: config.group_instance_id.as_deref(),
    };
    let offsets: Vec<_> = offsets
        .iter()
        .map(|(key, commit)| NewOffset { key, offset: commit.offset, metadata: &commit.metadata })
        .collect();
    let ask = |connection: Arc<Connection>| async move {
        wire_commit::commit(&connection, committer, &offsets).await
    };
    let refused = link.attempt(ask).await?.into_iter().filter_map(|(key, result)| {
        let code = result.err()?.code().unwrap_or(ErrorCode::UnknownServerError);
        Some((key, code))
    });
    Ok(refused.collect())
}

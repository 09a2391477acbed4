//! Where to begin in a partition: its committed offset, or what `auto.offset.reset` says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::link::Link;
use crate::admin::{Admin, OffsetSpec};
use crate::cluster::Cluster;
use crate::config::{GroupConfig, OffsetReset};
use crate::connection::Connection;
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};
use crate::offsets::fetch::{self as wire_fetch, Question};

/// Partitions that need a position.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// Their committed offset, if there is one.
    pub(super) committed: BTreeSet<PartitionKey>,
    /// Their position is not in the log: they are reset.
    pub(super) reset: BTreeSet<PartitionKey>,
}

/// What was found. Partitions of topics that do not exist are in none of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) positions: BTreeMap<PartitionKey, i64>,
    /// Those of them that are committed offsets.
    pub(super) committed: BTreeMap<PartitionKey, i64>,
    /// Why others have no place yet, where that may come right.
    pub(super) waits_for: Option<Error>,
}

/// A search with what came of it. What was found before it failed counts.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) link: Link,
    pub(super) found: Found,
    pub(super) outcome: Result<()>,
}

pub(super) async fn place(
    mut link: Link,
    config: Arc<GroupConfig>,
    wanted: Wanted,
    read_committed: bool,
) -> Placed {
    let mut found = Found::default();
    let outcome = find(&mut link, &config, wanted, read_committed, &mut found).await;
    Placed { link, found, outcome }
}

async fn find(
    link: &mut Link,
    config: &GroupConfig,
    wanted: Wanted,
    read_committed: bool,
    found: &mut Found,
) -> Result<()> {
    let mut reset = wanted.reset;
    if !wanted.committed.is_empty() {
        for (key, offset) in committed(link, &wanted.committed).await? {
            match offset {
                Some(offset) => {
                    found.positions.insert(key.clone(), offset);
                    found.committed.insert(key, offset);
                }
                None => {
                    reset.insert(key);
                }
            }
        }
    }
    if reset.is_empty() {
        return Ok(());
    }
    let spec = match config.auto_offset_reset {
        OffsetReset::Earliest => OffsetSpec::Earliest,
        OffsetReset::Latest => OffsetSpec::Latest,
        OffsetReset::None => return Err(Error::NoOffset { partitions: reset.into_iter().collect() }),
    };
    let wanted = reset.into_iter().map(|key| (key, spec)).collect();
    list(link.cluster(), &wanted, read_committed, found).await
}

/// Asks each leader once: what one of them does not know holds up no other.
async fn list(
    cluster: &Cluster,
    wanted: &BTreeMap<PartitionKey, OffsetSpec>,
    read_committed: bool,
    found: &mut Found,
) -> Result<()> {
    let listed = Admin::new(cluster.clone()).list_offsets_once(wanted, read_committed).await;
    let mut outcome = Ok(());
    for (key, listed) in listed {
        let error = match listed {
            Ok(listed) => {
                found.positions.extend(listed.offset.map(|offset| (key, offset)));
                continue;
            }
            Err(error) => error,
        };
        // The next look is not at what was known of the topic, which may be from before the partition.
        cluster.doubt_leader(&key.0, key.1);
        match error {
            // Gone since it was assigned, and the group will hear of it; or so new that not every broker knows it.
            Error::UnknownTopic(_) | Error::UnknownPartition { .. } => {}
            error if error.may_be_retried() => {
                found.waits_for.get_or_insert(error);
            }
            error => outcome = outcome.and(Err(error)),
        }
    }
    outcome
}

/// The committed offsets of partitions, none where there is none. What is loading, moving or waits for an open
/// transaction is asked for again, for `default.api.timeout.ms`.
///
/// Errors: the coordinator's answer, such as GROUP_AUTHORIZATION_FAILED, and those of the connection.
pub(super) async fn committed(
    link: &mut Link,
    partitions: &BTreeSet<PartitionKey>,
) -> Result<BTreeMap<PartitionKey, Option<i64>>> {
    let mut retry = link.cluster().retry();
    loop {
        match fetch(link, partitions).await {
            Err(error) if error.may_be_retried() => retry.pause(error).await?,
            outcome => return outcome,
        }
    }
}

async fn fetch(
    link: &mut Link,
    partitions: &BTreeSet<PartitionKey>,
) -> Result<BTreeMap<PartitionKey, Option<i64>>> {
    let groups = &[link.group_id().to_owned()];
    let question = Question { partitions: Some(partitions), require_stable: true };
    // To take silence for «nothing is committed» would send the member back to where topics begin or end.
    let silent =
        |what: &str| Error::Corrupt(format!("OffsetFetch of group {}: {what} is left out", groups[0]));
    let ask = |connection: Arc<Connection>| async move {
        let mut answer = wire_fetch::fetch(&connection, groups, question).await?;
        answer.remove(&groups[0]).ok_or_else(|| silent("the group"))?
    };
    let mut fetched = link.attempt(ask).await?;
    let offset = |key: &PartitionKey| {
        let of_key = fetched.remove(key).ok_or_else(|| silent(&format!("{}-{}", key.0, key.1)))?;
        Ok((key.clone(), of_key?.map(|committed| committed.offset)))
    };
    partitions.iter().map(offset).collect()
}

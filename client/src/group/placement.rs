//! Where to begin in a partition: its committed offset (OffsetFetch, key 9, versions 1–9), or what `auto.offset.reset`
//! says.
//!
//! From version 8 on a request names a list of groups (KIP-709); here it is always one. Version 10 names topics by id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use milena_protocol::messages::offset_fetch_response::OffsetFetchResponse;

use super::link::Link;
use crate::admin::{Admin, OffsetSpec};
use crate::cluster::Cluster;
use crate::config::{GroupConfig, OffsetReset};
use crate::connection::Connection;
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};

const BY_NAME_UNTIL: i16 = 9;
/// Groups are asked for as a list from this version on.
const BATCHED_FROM: i16 = 8;
/// Offsets of open transactions can be waited for from this version on (KIP-447).
const STABLE_FROM: i16 = 7;

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
        cluster.forget(&key.0);
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
    let group_id = link.group_id().to_owned();
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let ask = |connection: Arc<Connection>| async move {
        let version = connection.version_of::<OffsetFetchRequest<'_>>(BY_NAME_UNTIL)?;
        let request = request(&group_id, &topics, version);
        let response = connection.call_at(&request, version).await?;
        let answer = response.decode::<OffsetFetchRequest<'_>>()?;
        offsets(&answer, &group_id, version)
    };
    let mut offsets = link.attempt(ask).await?;
    // A partition that the answer leaves out has no offset.
    Ok(partitions.iter().map(|key| (key.clone(), offsets.remove(key).flatten())).collect())
}

fn request<'a>(
    group_id: &'a str,
    topics: &BTreeMap<&'a str, Vec<i32>>,
    version: i16,
) -> OffsetFetchRequest<'a> {
    let mut request = OffsetFetchRequest { require_stable: version >= STABLE_FROM, ..Default::default() };
    if version >= BATCHED_FROM {
        let topics = topics.iter().map(|(topic, partitions)| OffsetFetchRequestTopics {
            name: (*topic).into(),
            partition_indexes: partitions.clone(),
            ..Default::default()
        });
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: group_id.into(),
            topics: Some(topics.collect()),
            ..Default::default()
        }];
    } else {
        let topics = topics.iter().map(|(topic, partitions)| OffsetFetchRequestTopic {
            name: (*topic).into(),
            partition_indexes: partitions.clone(),
        });
        request.group_id = group_id.into();
        request.topics = Some(topics.collect());
    }
    request
}

fn offsets(
    answer: &OffsetFetchResponse<'_>,
    group_id: &str,
    version: i16,
) -> Result<BTreeMap<PartitionKey, Option<i64>>> {
    let context = || format!("committed offsets of group {group_id}");
    let mut offsets = BTreeMap::new();
    let mut add = |topic: &str, partition: i32, offset: i64, code: i16| {
        Error::check(code, None, || format!("committed offset of {topic}-{partition} in group {group_id}"))?;
        offsets.insert((topic.to_owned(), partition), (offset >= 0).then_some(offset));
        Ok::<(), Error>(())
    };
    Error::check(answer.error_code, None, context)?;
    if version < BATCHED_FROM {
        for topic in &answer.topics {
            for part in &topic.partitions {
                add(&topic.name, part.partition_index, part.committed_offset, part.error_code)?;
            }
        }
        return Ok(offsets);
    }
    for group in answer.groups.iter().filter(|group| group.group_id == group_id) {
        Error::check(group.error_code, None, context)?;
        for topic in &group.topics {
            for part in &topic.partitions {
                add(&topic.name, part.partition_index, part.committed_offset, part.error_code)?;
            }
        }
    }
    Ok(offsets)
}

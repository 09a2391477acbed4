//! How offsets and groups go: OffsetDelete (key 47), DeleteGroups (key 42), expiry (KIP-211), and the
//! deletion of topics. All of it is tombstones.

use std::ops::Bound;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::classic::{Classic, State};
use super::command::{CommandReply, Decision};
use super::config::EXPIRY_RECORDS_MAX;
use super::machine::Groups;
use super::offsets::{Committed, GroupOffsets};
use super::record::Record;
use super::reply::{Outcomes, TopicOutcome};
use super::request::DeleteOffsets;

pub(super) fn delete_offsets(groups: &Groups, request: &DeleteOffsets) -> Decision {
    let group = match deletable_offsets(groups, &request.group) {
        Ok(group) => group,
        Err(error) => return Decision::new(Vec::new(), CommandReply::DeleteOffsets(Err(error))),
    };
    let mut records = Vec::new();
    let mut outcomes = Outcomes::new();
    for (topic, partitions) in &request.topics {
        let subscribed = group.is_subscribed_to(topic);
        let error = if subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
        for partition in partitions.iter().filter(|_| !subscribed) {
            let committed = groups.offsets.get(&request.group, topic, *partition).is_some();
            if committed || groups.offsets.is_pending(&request.group, topic, *partition) {
                records.push(Record::offset(&request.group, topic, *partition, None));
            }
        }
        let partitions = partitions.iter().map(|partition| (*partition, error)).collect();
        outcomes.push(TopicOutcome { name: topic.clone(), topic_id: Uuid::ZERO, partitions });
    }
    Decision::new(records, CommandReply::DeleteOffsets(Ok(outcomes)))
}

/// Members of a consumer group say what they read, so the rest may go; of others it is not known.
fn deletable_offsets<'a>(groups: &'a Groups, id: &str) -> Result<&'a Classic, ErrorCode> {
    if id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let group = &groups.by_id.get(id).ok_or(ErrorCode::GroupIdNotFound)?.classic;
    match group.state {
        State::Dead => Err(ErrorCode::GroupIdNotFound),
        State::Empty => Ok(group),
        _ if group.uses_consumer_protocol() => Ok(group),
        _ => Err(ErrorCode::NonEmptyGroup),
    }
}

pub(super) fn delete_groups(groups: &Groups, ids: &[Arc<str>]) -> Decision {
    let mut records = Vec::new();
    let mut outcomes = Vec::with_capacity(ids.len());
    for id in ids {
        let error = match groups.by_id.get(id).map(|group| group.classic.state) {
            None | Some(State::Dead) => ErrorCode::GroupIdNotFound,
            Some(State::Empty) => {
                delete_group(groups, id, &mut records);
                ErrorCode::None
            }
            Some(_) => ErrorCode::NonEmptyGroup,
        };
        outcomes.push((id.clone(), error));
    }
    Decision::new(records, CommandReply::DeleteGroups(outcomes))
}

fn delete_group(groups: &Groups, id: &Arc<str>, records: &mut Vec<Record>) {
    let committed = groups.offsets.group(id).into_iter();
    for (topic, partition, _) in committed.flat_map(each) {
        records.push(Record::offset(id, topic, partition, None));
    }
    for (topic, partition, _) in groups.offsets.pending_in(id).flat_map(each) {
        if groups.offsets.get(id, topic, partition).is_none() {
            records.push(Record::offset(id, topic, partition, None));
        }
    }
    records.push(Record::group(id, None));
}

fn each(offsets: &GroupOffsets) -> impl Iterator<Item = (&Arc<str>, i32, &Committed)> {
    offsets.iter().flat_map(|(topic, partitions)| {
        partitions.iter().map(move |(partition, committed)| (topic, *partition, committed))
    })
}

/// One round of expiry, which ends with the group that reaches [`EXPIRY_RECORDS_MAX`]: the next round
/// begins with it.
pub(super) fn expire(groups: &Groups, from: Option<&Arc<str>>, now_ms: i64) -> Decision {
    let mut records = Vec::new();
    let from = from.map_or(Bound::Unbounded, Bound::Included);
    for (id, group) in groups.by_id.range::<Arc<str>, _>((from, Bound::Unbounded)) {
        let nothing_left = expire_group(groups, id, &group.classic, now_ms, &mut records);
        if records.len() >= EXPIRY_RECORDS_MAX {
            return Decision::new(records, CommandReply::Expired { next: Some(id.clone()) });
        }
        if nothing_left && group.classic.state == State::Empty {
            records.push(Record::group(id, None));
        }
    }
    Decision::new(records, CommandReply::Expired { next: None })
}

/// Whether no offset of the group is left, as far as this round came.
fn expire_group(
    groups: &Groups,
    id: &Arc<str>,
    group: &Classic,
    now_ms: i64,
    records: &mut Vec<Record>,
) -> bool {
    let open = groups.offsets.has_open_transaction(id);
    let Some(offsets) = groups.offsets.group(id) else { return !open };
    let Some(since) = Since::of(group) else { return false };
    let mut nothing_left = true;
    for (topic, partition, committed) in each(offsets) {
        let outdated = !group.is_subscribed_to(topic)
            && since.is_outdated(committed, now_ms, groups.config.offsets_retention_ms)
            && !groups.offsets.is_pending(id, topic, partition);
        if outdated && records.len() >= EXPIRY_RECORDS_MAX {
            return false;
        }
        if outdated {
            records.push(Record::offset(id, topic, partition, None));
        }
        nothing_left &= outdated;
    }
    nothing_left && !open
}

/// From when on the offsets of a group get old.
enum Since {
    /// The group became empty then.
    Emptied(i64),
    /// Each from its commit: nobody is a member of such a group, or nobody reads that topic any more.
    Committed,
}

impl Since {
    /// None while members may still need their offsets.
    fn of(group: &Classic) -> Option<Since> {
        if group.protocol_type.is_none() {
            return Some(Since::Committed);
        }
        match group.state {
            State::Empty => Some(group.state_timestamp_ms.map_or(Since::Committed, Since::Emptied)),
            State::Stable if group.uses_consumer_protocol() && group.knows_subscriptions() => {
                Some(Since::Committed)
            }
            _ => None,
        }
    }

    fn is_outdated(&self, committed: &Committed, now_ms: i64, retention_ms: i64) -> bool {
        let base_ms = match (committed.value.expire_timestamp_ms, self) {
            (Some(expire_ms), _) => return now_ms >= expire_ms,
            (None, Since::Emptied(since_ms)) => *since_ms,
            (None, Since::Committed) => committed.value.commit_timestamp_ms,
        };
        now_ms.saturating_sub(base_ms) >= retention_ms
    }
}

/// An offset that names another topic id belongs to a topic of that name that came later.
pub(super) fn topics_deleted(groups: &Groups, topics: &[(Arc<str>, Uuid)]) -> Decision {
    let mut records = Vec::new();
    let all = groups.offsets.groups().chain(groups.offsets.pending_groups());
    for (id, offsets) in all {
        for (topic, topic_id) in topics {
            for (partition, committed) in offsets.get(topic).into_iter().flatten() {
                if committed.value.topic_id.is_zero() || committed.value.topic_id == *topic_id {
                    records.push(Record::offset(id, topic, *partition, None));
                }
            }
        }
    }
    Decision::new(records, CommandReply::TopicsDeleted)
}

#[cfg(test)]
#[path = "removal_test.rs"]
mod tests;

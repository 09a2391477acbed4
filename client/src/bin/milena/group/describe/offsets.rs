//! `group describe --offsets`: what is committed, where the partitions end, how far apart these are.

use std::collections::{BTreeMap, BTreeSet};

use milena_client::Error as ClientError;
use milena_client::admin::{
    Admin, ByPartition, CommittedOffset, GroupDescription, GroupMember, ListedOffset, OffsetSpec, RecordPlace,
};
use milena_client::consumer::PartitionKey;
use serde_json::{Value, json};

use super::state;
use crate::context::Context;
use crate::error::Result;
use crate::{output, progress, time};

/// A partition that a group has to do with.
struct Line<'a> {
    group: &'a GroupDescription,
    topic: &'a str,
    partition: i32,
    committed: Option<&'a CommittedOffset>,
    member: Option<&'a GroupMember>,
}

type Committed = ByPartition<CommittedOffset>;

/// What partitions know of themselves.
#[derive(Default)]
struct Ends {
    /// Log start offsets, where something is behind.
    start: ByPartition<i64>,
    /// Log end offsets.
    end: ByPartition<i64>,
    /// Timestamps of records that somebody has not consumed, in milliseconds since 1970.
    stamps: BTreeMap<RecordPlace, i64>,
    now_ms: i64,
}

/// Shows what can be known, and gives what could not.
pub async fn show(context: &Context, admin: &Admin, groups: &[GroupDescription]) -> Result<Vec<ClientError>> {
    let ids: Vec<String> = groups.iter().map(|group| group.group_id.clone()).collect();
    let asking = admin.list_committed_offsets(&ids);
    let fetched = progress::during("asking for committed offsets", asking).await;
    let (mut committed, mut failures) = (BTreeMap::<String, Committed>::new(), Vec::new());
    for (group, offsets) in fetched {
        let of_group = committed.entry(group).or_default();
        match offsets {
            Ok(offsets) => {
                for (key, offset) in offsets {
                    match offset {
                        Ok(offset) => drop(of_group.insert(key, offset)),
                        Err(error) => failures.push(error),
                    }
                }
            }
            Err(error) => failures.push(error),
        }
    }
    let nothing = Committed::new();
    let of = |group: &GroupDescription| committed.get(&group.group_id).unwrap_or(&nothing);
    let lines: Vec<Line<'_>> = groups.iter().flat_map(|group| lines(group, of(group))).collect();
    let looking = look_up(admin, &lines, &mut failures);
    let ends = progress::during("asking for the ends of partitions", looking).await?;
    if context.is_json() {
        output::json(&groups.iter().map(|group| as_json(group, &lines, &ends)).collect::<Vec<_>>())?;
    } else if !lines.is_empty() {
        let headers = [
            "GROUP",
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "END",
            "LAG",
            "SECONDS",
            "MEMBER",
            "INSTANCE",
            "HOST",
            "CLIENT",
        ];
        output::table(&headers, &lines.iter().map(|line| row(line, &ends)).collect::<Vec<_>>())?;
    }
    Ok(failures)
}

/// What is committed or assigned, by topic and partition. While a group rebalances two members may have one partition.
fn lines<'a>(group: &'a GroupDescription, committed: &'a Committed) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for member in &group.members {
        for (topic, partitions) in &member.assignment {
            for partition in partitions {
                let committed = committed.get(&(topic.clone(), *partition));
                lines.push(Line { group, topic, partition: *partition, committed, member: Some(member) });
            }
        }
    }
    let assigned: BTreeSet<(&str, i32)> = lines.iter().map(|line| (line.topic, line.partition)).collect();
    let left =
        committed.iter().filter(|((topic, partition), _)| !assigned.contains(&(topic.as_str(), *partition)));
    lines.extend(left.map(|((topic, partition), committed)| Line {
        group,
        topic,
        partition: *partition,
        committed: Some(committed),
        member: None,
    }));
    lines.sort_by_key(|line| (line.topic, line.partition));
    lines
}

impl Line<'_> {
    fn key(&self) -> PartitionKey {
        (self.topic.to_owned(), self.partition)
    }

    /// Records between what is committed and the end, as Kafka's tool counts them: less than none beyond the end.
    fn lag(&self, ends: &Ends) -> Option<i64> {
        Some(ends.end.get(&self.key())? - self.committed?.offset)
    }

    /// Age of the first record that is not consumed; 0 when none is left, be it that retention took them.
    fn lag_seconds(&self, ends: &Ends) -> Option<i64> {
        let next = self.next(ends)?;
        if next.2 >= *ends.end.get(&self.key())? {
            return Some(0);
        }
        Some((ends.now_ms - ends.stamps.get(&next)?).max(0) / 1000)
    }

    /// The first record that is not consumed: retention may have passed what is committed.
    fn next(&self, ends: &Ends) -> Option<RecordPlace> {
        let start = ends.start.get(&self.key()).copied().unwrap_or(0);
        Some((self.topic.to_owned(), self.partition, self.committed?.offset.max(start)))
    }
}

/// What can be known of the partitions. Why something is not goes into `failures`.
async fn look_up(admin: &Admin, lines: &[Line<'_>], failures: &mut Vec<ClientError>) -> Result<Ends> {
    let topics: BTreeSet<String> = lines.iter().map(|line| line.topic.to_owned()).collect();
    if topics.is_empty() {
        return Ok(Ends::default());
    }
    let known = admin.cluster().refresh(Some(&topics.into_iter().collect::<Vec<_>>()), false).await?;
    // A partition that is gone or that nobody leads has no end; asking for it would only wait.
    let is_led = |line: &&Line<'_>| {
        let topic = known.topic(line.topic).filter(|topic| topic.is_usable());
        topic.is_some_and(|topic| topic.leader(line.partition).is_ok())
    };
    let end = offsets(admin, lines.iter().filter(is_led), OffsetSpec::Latest, failures).await;
    let mut ends = Ends { end, now_ms: time::now_ms(), ..Ends::default() };
    let behind: Vec<&Line<'_>> = lines.iter().filter(|line| line.lag(&ends) > Some(0)).collect();
    ends.start = offsets(admin, behind.iter().copied(), OffsetSpec::Earliest, failures).await;
    let places = behind.iter().filter_map(|line| line.next(&ends)).collect();
    ends.stamps = admin.timestamps_at(&places).await;
    Ok(ends)
}

async fn offsets<'a>(
    admin: &Admin,
    lines: impl Iterator<Item = &'a Line<'a>>,
    spec: OffsetSpec,
    failures: &mut Vec<ClientError>,
) -> ByPartition<i64> {
    let wanted = lines.map(|line| (line.key(), spec)).collect();
    known(admin.list_offsets_of(&wanted, false).await, failures)
}

/// The offsets that were told; the others go into `failures`, so that nobody takes a gap in the table for an answer.
fn known(
    listed: ByPartition<Result<ListedOffset, ClientError>>,
    failures: &mut Vec<ClientError>,
) -> ByPartition<i64> {
    let mut offsets = ByPartition::new();
    for (key, listed) in listed {
        match listed {
            Ok(listed) => offsets.extend(listed.offset.map(|offset| (key, offset))),
            Err(error) => failures.push(error),
        }
    }
    offsets
}

fn row(line: &Line<'_>, ends: &Ends) -> Vec<String> {
    vec![
        line.group.group_id.clone(),
        line.topic.to_owned(),
        line.partition.to_string(),
        output::or_dash(line.committed.map(|committed| committed.offset)),
        output::or_dash(ends.end.get(&line.key())),
        output::or_dash(line.lag(ends)),
        output::or_dash(line.lag_seconds(ends)),
        output::or_dash(line.member.map(|member| &member.member_id)),
        output::or_dash(line.member.and_then(|member| member.instance_id.as_ref())),
        output::or_dash(line.member.map(|member| &member.host)),
        output::or_dash(line.member.map(|member| &member.client_id)),
    ]
}

fn as_json(group: &GroupDescription, lines: &[Line<'_>], ends: &Ends) -> Value {
    let of_group = lines.iter().filter(|line| line.group.group_id == group.group_id);
    let partitions = of_group.map(|line| {
        json!({
            "topic": line.topic,
            "partition": line.partition,
            "committed_offset": line.committed.map(|committed| committed.offset),
            "leader_epoch": line.committed.and_then(|committed| committed.leader_epoch),
            "metadata": line.committed.map(|committed| &committed.metadata),
            "log_end_offset": ends.end.get(&line.key()),
            "lag": line.lag(ends),
            "lag_seconds": line.lag_seconds(ends),
            "member_id": line.member.map(|member| &member.member_id),
            "instance_id": line.member.and_then(|member| member.instance_id.as_ref()),
            "host": line.member.map(|member| &member.host),
            "client_id": line.member.map(|member| &member.client_id),
        })
    });
    let partitions = partitions.collect::<Vec<_>>();
    let mut group = state::as_json(group);
    group["partitions"] = Value::Array(partitions);
    group
}

#[cfg(test)]
mod tests {
    use milena_protocol::ErrorCode;

    use super::*;

    #[test]
    fn an_end_that_is_not_told_is_a_failure_and_hides_no_other() {
        let key = |partition: i32| ("t".to_owned(), partition);
        let told = |offset| Ok(ListedOffset { partition: 0, offset, timestamp: None, leader_epoch: None });
        let failed = || {
            let (context, code) = ("offsets of t-1".to_owned(), ErrorCode::TopicAuthorizationFailed);
            Err(ClientError::Broker { context, code, message: None })
        };
        let listed = ByPartition::from([(key(0), told(Some(7))), (key(1), failed()), (key(2), told(None))]);
        let mut failures = Vec::new();
        assert_eq!(known(listed, &mut failures), ByPartition::from([(key(0), 7)]));
        let said: Vec<String> = failures.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["offsets of t-1: TOPIC_AUTHORIZATION_FAILED"]);
    }
}

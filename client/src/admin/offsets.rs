//! ListOffsets: where a partition begins, ends, or passes a time.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::ErrorCode;
use milena_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};

use super::{Admin, ByPartition};
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};
use crate::offsets::by_topic;

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    Earliest,
    Latest,
    MaxTimestamp,
    /// The first record with a timestamp of at least this, in milliseconds since 1970.
    At(i64),
}

/// An answer; `offset` is none when no record is that young.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    pub partition: i32,
    pub offset: Option<i64>,
    pub timestamp: Option<i64>,
    pub leader_epoch: Option<i32>,
}

impl OffsetSpec {
    fn number(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::At(timestamp) => timestamp,
        }
    }

    /// The first version that knows it.
    fn version_min(self) -> i16 {
        if self == OffsetSpec::MaxTimestamp { 7 } else { 1 }
    }
}

impl Admin {
    /// Offsets of some partitions of a topic, asked of their leaders, in order of the partitions.
    pub async fn list_offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        spec: OffsetSpec,
        read_committed: bool,
    ) -> Result<Vec<ListedOffset>> {
        let wanted = partitions.iter().map(|partition| ((topic.to_owned(), *partition), spec));
        let mut listed = self.list_offsets_of(&wanted.collect(), read_committed).await;
        let in_order = partitions.iter().collect::<BTreeSet<_>>().into_iter();
        in_order
            .map(|partition| {
                let answer = listed.remove(&(topic.to_owned(), *partition));
                answer.unwrap_or_else(|| Err(unanswered(topic, *partition)))
            })
            .collect()
    }

    /// An offset of each of many partitions, with a result for each. Leaders are asked again, for the partitions alone
    /// for which that may help.
    pub async fn list_offsets_of(
        &self,
        wanted: &ByPartition<OffsetSpec>,
        read_committed: bool,
    ) -> ByPartition<Result<ListedOffset>> {
        let mut retry = self.cluster.retry();
        let mut listed = ByPartition::new();
        let mut due = wanted.clone();
        loop {
            let mut again = Vec::new();
            for (key, answer) in self.list_offsets_once(&due, read_committed).await {
                match answer {
                    Err(error) if error.may_be_retried() => again.push((key, error)),
                    answer => {
                        listed.insert(key, answer);
                    }
                }
            }
            let Some((_, error)) = again.first() else { return listed };
            again.iter().for_each(|((topic, partition), _)| self.cluster.doubt_leader(topic, *partition));
            if retry.pause(error.clone()).await.is_err() {
                listed.extend(again.into_iter().map(|(key, error)| (key, Err(error))));
                return listed;
            }
            due = again.into_iter().filter_map(|(key, _)| wanted.get_key_value(&key)).map(owned).collect();
        }
    }

    /// As [`Admin::list_offsets_of`], and nothing is asked again.
    pub(crate) async fn list_offsets_once(
        &self,
        wanted: &ByPartition<OffsetSpec>,
        read_committed: bool,
    ) -> ByPartition<Result<ListedOffset>> {
        let mut listed = ByPartition::new();
        let mut by_leader: BTreeMap<i32, ByPartition<OffsetSpec>> = BTreeMap::new();
        let mut topics = BTreeMap::new();
        for (topic, _) in wanted.keys() {
            if !topics.contains_key(topic) {
                topics.insert(topic, self.cluster.topic(topic, false).await);
            }
        }
        for (key, spec) in wanted {
            let (topic, partition) = key;
            match topics[topic].clone().and_then(|known| known.leader(*partition)) {
                Ok(leader) => {
                    by_leader.entry(leader).or_default().insert(key.clone(), *spec);
                }
                Err(error) => {
                    listed.insert(key.clone(), Err(error));
                }
            }
        }
        for (leader, wanted) in by_leader {
            match self.ask_leader(leader, &wanted, read_committed).await {
                Ok(answers) => listed.extend(answers),
                Err(error) => listed.extend(wanted.into_keys().map(|key| (key, Err(error.clone())))),
            }
        }
        listed
    }

    async fn ask_leader(
        &self,
        leader: i32,
        wanted: &ByPartition<OffsetSpec>,
        read_committed: bool,
    ) -> Result<ByPartition<Result<ListedOffset>>> {
        let connection = self.cluster.broker(leader).await?;
        let version = connection.version_of::<ListOffsetsRequest<'_>>(i16::MAX)?;
        if let Some(spec) = wanted.values().find(|spec| version < spec.version_min()) {
            let context = format!("{spec:?} on {}", connection.address());
            return Err(Error::Broker { context, code: ErrorCode::UnsupportedVersion, message: None });
        }
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(read_committed && version >= 2),
            topics: to_ask(wanted),
            ..Default::default()
        };
        let response = connection.call_at(&request, version).await?;
        let response = response.decode::<ListOffsetsRequest<'_>>()?;
        let mut listed = ByPartition::new();
        for topic in &response.topics {
            for answer in &topic.partitions {
                listed.insert((topic.name.to_string(), answer.partition_index), listed_offset(topic, answer));
            }
        }
        for (topic, partition) in wanted.keys() {
            let key = (topic.clone(), *partition);
            listed.entry(key).or_insert_with(|| Err(unanswered(topic, *partition)));
        }
        Ok(listed)
    }
}

fn to_ask(wanted: &ByPartition<OffsetSpec>) -> Vec<ListOffsetsTopic<'_>> {
    let topics = by_topic(wanted).into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, spec)| ListOffsetsPartition {
            partition_index,
            current_leader_epoch: -1,
            timestamp: spec.number(),
        });
        ListOffsetsTopic { name: topic.into(), partitions: partitions.collect() }
    });
    topics.collect()
}

fn listed_offset(
    topic: &ListOffsetsTopicResponse<'_>,
    answer: &ListOffsetsPartitionResponse,
) -> Result<ListedOffset> {
    let partition = answer.partition_index;
    Error::check(answer.error_code, None, || format!("offsets of {}-{partition}", topic.name))?;
    Ok(ListedOffset {
        partition,
        offset: (answer.offset >= 0).then_some(answer.offset),
        timestamp: (answer.timestamp >= 0).then_some(answer.timestamp),
        leader_epoch: (answer.leader_epoch >= 0).then_some(answer.leader_epoch),
    })
}

fn unanswered(topic: &str, partition: i32) -> Error {
    Error::Corrupt(format!("ListOffsets said nothing of {topic}-{partition}"))
}

fn owned((key, spec): (&PartitionKey, &OffsetSpec)) -> (PartitionKey, OffsetSpec) {
    (key.clone(), *spec)
}

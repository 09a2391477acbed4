//! ListOffsets: where a partition begins, ends, or passes a time.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

use super::Admin;
use crate::error::{Error, Result};

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
        let mut retry = self.cluster.retry();
        loop {
            match self.list_offsets_once(topic, partitions, spec, read_committed).await {
                Err(error) if error.may_be_retried() => {
                    self.cluster.forget(topic);
                    retry.pause(error).await?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn list_offsets_once(
        &self,
        topic: &str,
        partitions: &[i32],
        spec: OffsetSpec,
        read_committed: bool,
    ) -> Result<Vec<ListedOffset>> {
        let known = self.cluster.topic(topic, false).await?;
        let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for partition in partitions {
            by_leader.entry(known.leader(*partition)?).or_default().push(*partition);
        }
        let mut listed = Vec::with_capacity(partitions.len());
        for (leader, partitions) in by_leader {
            listed.extend(self.ask_leader(leader, topic, &partitions, spec, read_committed).await?);
        }
        listed.sort_by_key(|listed| listed.partition);
        Ok(listed)
    }

    async fn ask_leader(
        &self,
        leader: i32,
        topic: &str,
        partitions: &[i32],
        spec: OffsetSpec,
        read_committed: bool,
    ) -> Result<Vec<ListedOffset>> {
        let connection = self.cluster.broker(leader).await?;
        let version = connection.version_of::<ListOffsetsRequest<'_>>(i16::MAX)?;
        if version < spec.version_min() {
            let context = format!("{spec:?} on {}", connection.address());
            return Err(Error::Broker { context, code: ErrorCode::UnsupportedVersion, message: None });
        }
        let asked = partitions.iter().map(|partition| ListOffsetsPartition {
            partition_index: *partition,
            current_leader_epoch: -1,
            timestamp: spec.number(),
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(read_committed && version >= 2),
            topics: vec![ListOffsetsTopic { name: topic.into(), partitions: asked.collect() }],
            ..Default::default()
        };
        let response = connection.call_at(&request, version).await?;
        let response = response.decode::<ListOffsetsRequest<'_>>()?;
        let answers = response.topics.iter().flat_map(|topic| &topic.partitions);
        answers
            .map(|answer| {
                Error::check(answer.error_code, None, || {
                    format!("offsets of {topic}-{}", answer.partition_index)
                })?;
                Ok(ListedOffset {
                    partition: answer.partition_index,
                    offset: (answer.offset >= 0).then_some(answer.offset),
                    timestamp: (answer.timestamp >= 0).then_some(answer.timestamp),
                    leader_epoch: (answer.leader_epoch >= 0).then_some(answer.leader_epoch),
                })
            })
            .collect()
    }
}

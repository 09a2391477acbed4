//! DeleteRecords: where partitions are to begin.

use std::collections::BTreeMap;

use milena_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};

use super::Admin;
use crate::error::{Error, Result};

/// In DeleteRecords: everything that is committed.
const ALL_RECORDS: i64 = -1;

impl Admin {
    /// Deletes the records of a topic below an offset of each partition, none for all of them, at the partitions'
    /// leaders. One result per partition, in their order: the offset at which it begins now.
    pub async fn delete_records(
        &self,
        topic: &str,
        before: &[(i32, Option<i64>)],
    ) -> Result<Vec<(i32, Result<i64>)>> {
        let known = self.cluster.topic(topic, false).await?;
        let mut by_leader: BTreeMap<i32, Vec<DeleteRecordsPartition>> = BTreeMap::new();
        for (partition_index, offset) in before {
            let asked = DeleteRecordsPartition {
                partition_index: *partition_index,
                offset: offset.unwrap_or(ALL_RECORDS),
            };
            by_leader.entry(known.leader(*partition_index)?).or_default().push(asked);
        }
        let mut results = Vec::with_capacity(before.len());
        for (leader, partitions) in by_leader {
            let asked = DeleteRecordsTopic { name: topic.into(), partitions };
            let request = DeleteRecordsRequest { topics: vec![asked], timeout_ms: self.timeout_ms() };
            let response = self.cluster.broker(leader).await?.call(&request).await?;
            let response = response.decode::<DeleteRecordsRequest<'_>>()?;
            let answers = response.topics.iter().flat_map(|topic| &topic.partitions);
            results.extend(answers.map(|answer| {
                let checked = Error::check(answer.error_code, None, || {
                    format!("deleting records of {topic}-{}", answer.partition_index)
                });
                (answer.partition_index, checked.map(|()| answer.low_watermark))
            }));
        }
        results.sort_by_key(|(partition, _)| *partition);
        Ok(results)
    }
}

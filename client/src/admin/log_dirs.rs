//! DescribeLogDirs and AlterReplicaLogDirs: which log directory of a broker holds what, and moving replicas between them
//! (KIP-113).

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use milena_protocol::messages::describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use milena_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;

use super::{Admin, ByPartition};
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};
use crate::offsets::by_topic;

/// A log directory of a broker.
#[derive(Debug, Clone)]
pub struct LogDir {
    pub path: String,
    /// Why it cannot be used, if so.
    pub error: Option<Error>,
    /// Of its disk, when the broker says it.
    pub total_bytes: Option<i64>,
    pub usable_bytes: Option<i64>,
    pub replicas: Vec<LogDirReplica>,
}

/// A replica in a log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirReplica {
    pub topic: String,
    pub partition: i32,
    pub size_bytes: i64,
    /// What it lacks: of a future replica in comparison with the current one, of that with its leader's high watermark.
    pub offset_lag: i64,
    /// It is being moved here.
    pub is_future: bool,
}

impl Admin {
    /// The log directories of a broker, with some partitions or all.
    pub async fn describe_log_dirs(
        &self,
        broker_id: i32,
        partitions: Option<&BTreeSet<PartitionKey>>,
    ) -> Result<Vec<LogDir>> {
        let topics = partitions.map(|partitions| {
            let asked = by_topic(partitions.iter().map(|key| (key, ())));
            let topics = asked.into_iter().map(|(topic, partitions)| DescribableLogDirTopic {
                topic: topic.into(),
                partitions: partitions.into_iter().map(|(partition, ())| partition).collect(),
            });
            topics.collect()
        });
        let request = DescribeLogDirsRequest { topics };
        // Which brokers there are comes with the metadata of no topic at all.
        self.cluster.refresh(Some(&[]), false).await?;
        let response = self.cluster.broker(broker_id).await?.call(&request).await?;
        let response = response.decode::<DescribeLogDirsRequest<'_>>()?;
        Error::check(response.error_code, None, || format!("asking for the log directories of {broker_id}"))?;
        Ok(response.results.iter().map(|result| log_dir(result, broker_id)).collect())
    }

    /// Has replicas of a broker move to other log directories of it. One result per partition; that a move has begun
    /// does not mean that it has ended.
    pub async fn alter_replica_log_dirs(
        &self,
        broker_id: i32,
        directories: &ByPartition<String>,
    ) -> Result<ByPartition<Result<()>>> {
        let mut by_path: BTreeMap<&str, Vec<&PartitionKey>> = BTreeMap::new();
        for (key, path) in directories {
            by_path.entry(path).or_default().push(key);
        }
        let dirs = by_path.into_iter().map(|(path, keys)| {
            let asked = by_topic(keys.into_iter().map(|key| (key, ())));
            let topics = asked.into_iter().map(|(topic, partitions)| AlterReplicaLogDirTopic {
                name: topic.into(),
                partitions: partitions.into_iter().map(|(partition, ())| partition).collect(),
            });
            AlterReplicaLogDir { path: path.into(), topics: topics.collect() }
        });
        let request = AlterReplicaLogDirsRequest { dirs: dirs.collect() };
        // Which brokers there are comes with the metadata of no topic at all.
        self.cluster.refresh(Some(&[]), false).await?;
        let response = self.cluster.broker(broker_id).await?.call(&request).await?;
        let response = response.decode::<AlterReplicaLogDirsRequest<'_>>()?;
        let mut results = ByPartition::new();
        for topic in &response.results {
            for answer in &topic.partitions {
                let name = format!("{}-{}", topic.topic_name, answer.partition_index);
                let checked =
                    Error::check(answer.error_code, None, || format!("moving {name} on broker {broker_id}"));
                results.insert((topic.topic_name.to_string(), answer.partition_index), checked);
            }
        }
        for (topic, partition) in directories.keys() {
            let silent = || Err(Error::Corrupt(format!("nothing was said of {topic}-{partition}")));
            results.entry((topic.clone(), *partition)).or_insert_with(silent);
        }
        Ok(results)
    }
}

fn log_dir(result: &DescribeLogDirsResult<'_>, broker_id: i32) -> LogDir {
    let known = |bytes: i64| (bytes >= 0).then_some(bytes);
    let replicas = result.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| LogDirReplica {
            topic: topic.name.to_string(),
            partition: partition.partition_index,
            size_bytes: partition.partition_size,
            offset_lag: partition.offset_lag,
            is_future: partition.is_future_key,
        })
    });
    let named = || format!("log directory {} of broker {broker_id}", result.log_dir);
    LogDir {
        path: result.log_dir.to_string(),
        error: Error::check(result.error_code, None, named).err(),
        total_bytes: known(result.total_bytes),
        usable_bytes: known(result.usable_bytes),
        replicas: replicas.collect(),
    }
}

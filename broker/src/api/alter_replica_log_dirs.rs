//! AlterReplicaLogDirs (key 34), versions 1–2 (KIP-113, KIP-858).
//!
//! Replicas of this broker are to be in other log directories of it. The answer says that a move has begun; copying goes
//! on in the background ([`Mover`](crate::partition::Mover)), and DescribeLogDirs (35) shows how far it is. Naming the
//! directory where a replica is ends its move. A replica that is not here answers REPLICA_NOT_AVAILABLE, and will be
//! created in the directory named, if it comes before the next start. v2 is the first flexible version.

use std::collections::BTreeMap;

use milena_log::relocation::may_be_moved;
use milena_protocol::ErrorCode;
use milena_protocol::messages::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use milena_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};

use crate::broker::Node;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: AlterReplicaLogDirsRequest<'_>) -> Reply {
    let mut results: BTreeMap<&str, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for ((topic, index), path) in wishes(&request) {
        let error = relocate(&cx.node, (topic, index), path).err().unwrap_or(ErrorCode::None);
        if error != ErrorCode::None {
            tracing::debug!(topic, partition = index, path, error = error.name(), "replica is not moved");
        }
        let result = AlterReplicaLogDirPartitionResult { partition_index: index, error_code: error.into() };
        results.entry(topic).or_default().push(result);
    }
    let results = results
        .into_iter()
        .map(|(topic, partitions)| AlterReplicaLogDirTopicResult { topic_name: topic.into(), partitions });
    cx.reply(&AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() })
}

type Wishes<'a> = BTreeMap<(&'a str, i32), &'a str>;

/// The directory of each partition; of one that stands twice the last, as in Apache Kafka.
fn wishes<'a>(request: &'a AlterReplicaLogDirsRequest<'_>) -> Wishes<'a> {
    let mut wishes = Wishes::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let partitions = topic.partitions.iter();
            wishes.extend(partitions.map(|index| ((&*topic.name, *index), &*dir.path)));
        }
    }
    wishes
}

fn relocate(node: &Node, (topic, index): (&str, i32), path: &str) -> Result<(), ErrorCode> {
    let folder = format!("{topic}-{index}");
    if !may_be_moved(&folder) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let target = node.directories.named(&node.settings.log_dirs, path)?;
    let moved = node
        .partitions
        .by_name(topic, index)
        .and_then(|partition| node.directories.relocate(&partition, target));
    moved.map_err(|error| match error {
        ErrorCode::NotLeaderOrFollower => {
            node.directories.note_wish(folder, target);
            ErrorCode::ReplicaNotAvailable
        }
        ErrorCode::UnknownTopicOrPartition => {
            node.directories.note_wish(folder, target);
            error
        }
        error => error,
    })
}

#[cfg(test)]
mod tests {
    use milena_protocol::messages::alter_replica_log_dirs_request::{
        AlterReplicaLogDir, AlterReplicaLogDirTopic,
    };

    use super::*;

    #[test]
    fn of_a_partition_that_stands_twice_the_last_directory_counts() {
        let topic = |name: &'static str, partitions: &[i32]| AlterReplicaLogDirTopic {
            name: name.into(),
            partitions: partitions.to_vec(),
        };
        let dir = |path: &'static str, topics| AlterReplicaLogDir { path: path.into(), topics };
        let dirs =
            vec![dir("/a", vec![topic("t", &[0, 1])]), dir("/b", vec![topic("t", &[1]), topic("u", &[7])])];
        let request = AlterReplicaLogDirsRequest { dirs };
        let expected = [(("t", 0), "/a"), (("t", 1), "/b"), (("u", 7), "/b")];
        assert_eq!(wishes(&request), expected.into());
    }
}

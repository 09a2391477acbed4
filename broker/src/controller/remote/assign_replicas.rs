//! AssignReplicasToDirs as a broker asks it of the active controller.

use std::collections::BTreeMap;

use milena_protocol::messages::assign_replicas_to_dirs_request::{
    AssignReplicasToDirsRequest, DirectoryData, PartitionData, TopicData,
};
use milena_protocol::messages::assign_replicas_to_dirs_response::AssignReplicasToDirsResponse;
use milena_protocol::{ErrorCode, Uuid};
use milena_state::metadata::Reply;
use milena_state::metadata::directories::{AssignReplicasToDirs, AssignedReplica};
use tokio::time::Instant;

use super::requests::{checked, decoded};
use super::{Refused, Remote};
use crate::controller::client::Committed;

impl Remote {
    pub(super) async fn assign_replicas(
        &self,
        c: &AssignReplicasToDirs,
        deadline: Instant,
    ) -> Result<Committed, Refused> {
        let request = AssignReplicasToDirsRequest {
            broker_id: c.broker_id,
            broker_epoch: c.broker_epoch,
            directories: by_directory(&c.replicas),
        };
        let answered = self.ask(&self.commands, &request, deadline).await?;
        let response = decoded::<AssignReplicasToDirsRequest>(&answered)?;
        let reply = checked(response.error_code)?.map(|()| outcomes(&c.replicas, &response));
        Ok(Committed { reply: Reply::AssignReplicasToDirs(reply), index: -1 })
    }
}

fn by_directory(replicas: &[AssignedReplica]) -> Vec<DirectoryData> {
    let mut directories: BTreeMap<Uuid, BTreeMap<Uuid, Vec<PartitionData>>> = BTreeMap::new();
    for replica in replicas {
        let topics = directories.entry(replica.directory).or_default();
        let partition = PartitionData { partition_index: replica.partition_id };
        topics.entry(replica.topic_id).or_default().push(partition);
    }
    let topics = |topics: BTreeMap<Uuid, Vec<PartitionData>>| {
        topics.into_iter().map(|(topic_id, partitions)| TopicData { topic_id, partitions }).collect()
    };
    directories.into_iter().map(|(id, of)| DirectoryData { id, topics: topics(of) }).collect()
}

/// In the order of what was asked; what is not answered was not done.
fn outcomes(
    asked: &[AssignedReplica],
    response: &AssignReplicasToDirsResponse,
) -> Vec<Result<(), ErrorCode>> {
    let mut answers: BTreeMap<(Uuid, Uuid, i32), i16> = BTreeMap::new();
    for directory in &response.directories {
        for topic in &directory.topics {
            for partition in &topic.partitions {
                let place = (directory.id, topic.topic_id, partition.partition_index);
                answers.insert(place, partition.error_code);
            }
        }
    }
    let outcome = |replica: &AssignedReplica| {
        let place = (replica.directory, replica.topic_id, replica.partition_id);
        let code = answers.get(&place).and_then(|code| ErrorCode::from_i16(*code));
        match code.unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => Ok(()),
            code => Err(code),
        }
    };
    asked.iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use milena_protocol::messages::assign_replicas_to_dirs_response as answered;

    use super::*;

    #[test]
    fn answers_are_found_wherever_they_stand() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let replica =
            |directory, topic_id, partition_id| AssignedReplica { directory, topic_id, partition_id };
        let asked = [replica(two, one, 0), replica(one, one, 1), replica(two, two, 5), replica(two, one, 3)];
        let request = by_directory(&asked);
        assert_eq!(request.iter().map(|directory| directory.topics.len()).collect::<Vec<_>>(), [1, 2]);
        // The last is not answered.
        let codes = [ErrorCode::None, ErrorCode::UnknownTopicId, ErrorCode::NotLeaderOrFollower];
        let directories = asked.iter().zip(codes).rev().map(|(replica, code)| answered::DirectoryData {
            id: replica.directory,
            topics: vec![answered::TopicData {
                topic_id: replica.topic_id,
                partitions: vec![answered::PartitionData {
                    partition_index: replica.partition_id,
                    error_code: code.as_i16(),
                }],
            }],
        });
        let response =
            AssignReplicasToDirsResponse { directories: directories.collect(), ..Default::default() };
        let expected = [
            Ok(()),
            Err(ErrorCode::UnknownTopicId),
            Err(ErrorCode::NotLeaderOrFollower),
            Err(ErrorCode::UnknownServerError),
        ];
        assert_eq!(outcomes(&asked, &response), expected);
    }
}

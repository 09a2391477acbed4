//! AssignReplicasToDirs (key 73), version 0 (KIP-858).
//!
//! A broker with several log directories says in which it keeps which replica, so that the controller knows what is lost
//! with one of them. Brokers ask it of the controller; clients have no use for it.

use milena_protocol::ErrorCode;
use milena_protocol::messages::assign_replicas_to_dirs_request::AssignReplicasToDirsRequest;
use milena_protocol::messages::assign_replicas_to_dirs_response::{
    AssignReplicasToDirsResponse, DirectoryData, PartitionData, TopicData,
};
use milena_state::metadata::directories::{AssignReplicasToDirs, AssignedReplica, Outcomes};
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: AssignReplicasToDirsRequest) -> Reply {
    let command = Command::AssignReplicasToDirs(AssignReplicasToDirs {
        broker_id: request.broker_id,
        broker_epoch: request.broker_epoch,
        replicas: replicas(&request).collect(),
    });
    let committed = controller_call::decide_here(cx, command).await;
    let outcomes = match committed.map(|committed| committed.reply) {
        Ok(Decided::AssignReplicasToDirs(outcomes)) => outcomes.map_err(|error| error.code),
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(code) => Err(code),
    };
    match outcomes {
        Ok(outcomes) => cx.reply(&answer(&request, outcomes)),
        Err(code) => {
            cx.reply(&AssignReplicasToDirsResponse { error_code: code.into(), ..Default::default() })
        }
    }
}

/// In the order of the request.
fn replicas(request: &AssignReplicasToDirsRequest) -> impl Iterator<Item = AssignedReplica> {
    request.directories.iter().flat_map(|directory| {
        directory.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| AssignedReplica {
                directory: directory.id,
                topic_id: topic.topic_id,
                partition_id: partition.partition_index,
            })
        })
    })
}

fn answer(request: &AssignReplicasToDirsRequest, outcomes: Outcomes) -> AssignReplicasToDirsResponse {
    let mut outcomes = outcomes.into_iter();
    let directories = request.directories.iter().map(|directory| DirectoryData {
        id: directory.id,
        topics: directory
            .topics
            .iter()
            .map(|topic| TopicData {
                topic_id: topic.topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| PartitionData {
                        partition_index: partition.partition_index,
                        error_code: outcomes.next().and_then(Result::err).unwrap_or(ErrorCode::None).into(),
                    })
                    .collect(),
            })
            .collect(),
    });
    AssignReplicasToDirsResponse { directories: directories.collect(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use milena_protocol::Uuid;
    use milena_protocol::messages::assign_replicas_to_dirs_request as asked;

    use super::*;

    #[test]
    fn outcomes_stand_where_their_replicas_were_asked_for() {
        let partition = |partition_index| asked::PartitionData { partition_index };
        let topic = |id, partitions: &[i32]| asked::TopicData {
            topic_id: Uuid::from_u128(id),
            partitions: partitions.iter().map(|index| partition(*index)).collect(),
        };
        let directory = |id, topics| asked::DirectoryData { id: Uuid::from_u128(id), topics };
        let directories =
            vec![directory(7, vec![topic(1, &[0, 1]), topic(2, &[0])]), directory(8, vec![topic(1, &[2])])];
        let request = AssignReplicasToDirsRequest { directories, ..Default::default() };
        let outcomes =
            vec![Ok(()), Err(ErrorCode::NotLeaderOrFollower), Ok(()), Err(ErrorCode::UnknownTopicId)];
        let answer = answer(&request, outcomes);
        let codes = answer.directories.iter().flat_map(|directory| {
            let topics = directory.topics.iter();
            topics.flat_map(move |topic| {
                topic
                    .partitions
                    .iter()
                    .map(move |p| (directory.id, topic.topic_id, p.partition_index, p.error_code))
            })
        });
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (seven, eight) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let not_there = ErrorCode::NotLeaderOrFollower.into();
        let unknown = ErrorCode::UnknownTopicId.into();
        let expected =
            [(seven, one, 0, 0), (seven, one, 1, not_there), (seven, two, 0, 0), (eight, one, 2, unknown)];
        assert_eq!(codes.collect::<Vec<_>>(), expected);
    }
}

//! AlterPartition (key 56), versions 2–3 (KIP-497), on the listeners of controllers.
//!
//! A leader proposes in-sync replicas for its partitions; each answers with its state after the change, or why there is
//! none. v3 brings the broker epochs under which the leader heard the replicas (KIP-903).

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::messages::alter_partition_request::{self as asked, AlterPartitionRequest};
use milena_protocol::messages::alter_partition_response::{AlterPartitionResponse, PartitionData, TopicData};
use milena_protocol::types::Uuid;
use milena_state::metadata::partitions::{AlterPartition, AlteredPartition, ProposedPartition};
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call;
use crate::controller::remote::{recovery_number, recovery_state};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: AlterPartitionRequest) -> Reply {
    let command = AlterPartition {
        broker_id: request.broker_id,
        broker_epoch: request.broker_epoch,
        partitions: request.topics.iter().flat_map(|topic| proposals(topic, cx.version)).collect(),
    };
    let decided = match controller_call::decide_here(cx, Command::AlterPartition(command)).await {
        Ok(committed) => match committed.reply {
            Decided::AlterPartition(outcome) => outcome.map_err(|error| error.code),
            _ => Err(ErrorCode::UnknownServerError),
        },
        Err(error) => Err(error),
    };
    cx.reply(&match decided {
        Ok(altered) => AlterPartitionResponse { topics: by_topic(altered), ..Default::default() },
        Err(error) => AlterPartitionResponse { error_code: error.into(), ..Default::default() },
    })
}

fn proposals(topic: &asked::TopicData, version: i16) -> impl Iterator<Item = ProposedPartition> + '_ {
    topic.partitions.iter().map(move |partition| ProposedPartition {
        topic_id: topic.topic_id,
        partition_id: partition.partition_index,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        new_isr: match version {
            ..=2 => partition.new_isr.iter().map(|id| (*id, -1)).collect(),
            _ => partition
                .new_isr_with_epochs
                .iter()
                .map(|state| (state.broker_id, state.broker_epoch))
                .collect(),
        },
        leader_recovery_state: recovery_state(partition.leader_recovery_state),
    })
}

fn by_topic(altered: Vec<AlteredPartition>) -> Vec<TopicData> {
    let mut topics: BTreeMap<Uuid, Vec<PartitionData>> = BTreeMap::new();
    for partition in altered {
        let (topic_id, data) = (partition.topic_id, data(partition));
        topics.entry(topic_id).or_default().push(data);
    }
    topics.into_iter().map(|(topic_id, partitions)| TopicData { topic_id, partitions }).collect()
}

fn data(altered: AlteredPartition) -> PartitionData {
    let partition_index = altered.partition_id;
    match altered.result {
        Ok(state) => PartitionData {
            partition_index,
            leader_id: state.leader.unwrap_or(-1),
            leader_epoch: state.leader_epoch,
            isr: state.isr,
            leader_recovery_state: recovery_number(state.leader_recovery_state),
            partition_epoch: state.partition_epoch,
            ..Default::default()
        },
        Err(error) => PartitionData { partition_index, error_code: error.into(), ..Default::default() },
    }
}

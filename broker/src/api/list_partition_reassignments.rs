//! ListPartitionReassignments (key 46), version 0 (KIP-455).
//!
//! Partitions whose replicas are being added or removed: of those asked for, or all. What is unknown, or not being
//! reassigned, is left out.

use milena_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use milena_protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use milena_state::metadata::reassignments::{self, Ongoing};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: ListPartitionReassignmentsRequest<'_>) -> Reply {
    let image = cx.node.metadata.image_arc();
    let asked: Option<Vec<(&str, &[i32])>> = request
        .topics
        .as_ref()
        .map(|topics| topics.iter().map(|topic| (&*topic.name, &*topic.partition_indexes)).collect());
    let topics = reassignments::list(&image, asked.as_deref());
    let topics = topics.into_iter().map(|(name, ongoing)| OngoingTopicReassignment {
        name: name.into(),
        partitions: ongoing.into_iter().map(partition).collect(),
    });
    cx.reply(&ListPartitionReassignmentsResponse {
        error_message: None,
        topics: topics.collect(),
        ..Default::default()
    })
}

fn partition(ongoing: Ongoing) -> OngoingPartitionReassignment {
    OngoingPartitionReassignment {
        partition_index: ongoing.partition_id,
        replicas: ongoing.replicas,
        adding_replicas: ongoing.adding,
        removing_replicas: ongoing.removing,
    }
}

//! DeleteGroups and OffsetDelete.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use milena_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};

use super::ByGroup;
use super::ask::Coordinator;
use crate::admin::{Admin, ByPartition};
use crate::connection::Connection;
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};
use crate::offsets::{indexes_by_topic, results};

impl Admin {
    /// Deletes groups with all their offsets; only groups without members can be.
    pub async fn delete_groups(&self, groups: &[String]) -> ByGroup<()> {
        let ask = async |coordinator: Coordinator, groups: Vec<String>| {
            let groups_names = groups.iter().map(|group| group.as_str().into()).collect();
            let response = coordinator.connection.call(&DeleteGroupsRequest { groups_names }).await?;
            let response = response.decode::<DeleteGroupsRequest<'_>>()?;
            let results = response.results.iter().map(|result| {
                let group = result.group_id.to_string();
                let checked = Error::check(result.error_code, None, || format!("deleting group {group}"));
                (group, checked)
            });
            Ok(results.collect())
        };
        self.ask_coordinators(groups, ask).await
    }

    /// Deletes what a group has committed in some partitions. One result for each of them.
    ///
    /// Errors: what is wrong with the group as a whole.
    pub async fn delete_committed_offsets(
        &self,
        group_id: &str,
        partitions: &BTreeSet<PartitionKey>,
    ) -> Result<ByPartition<Result<()>>> {
        let delete = async |coordinator: Arc<Connection>| {
            let request = OffsetDeleteRequest { group_id: group_id.into(), topics: to_delete(partitions) };
            let response = coordinator.call(&request).await?;
            let response = response.decode::<OffsetDeleteRequest<'_>>()?;
            let context = format!("deleting the offset of group {group_id}");
            Error::check(response.error_code, None, || format!("deleting offsets of group {group_id}"))?;
            let answers = response.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|answer| (&topic.name, answer.partition_index, answer.error_code))
            });
            results(partitions, answers, &context)
        };
        self.cluster.at_coordinator(group_id, delete).await
    }
}

fn to_delete(partitions: &BTreeSet<PartitionKey>) -> Vec<OffsetDeleteRequestTopic<'_>> {
    let topics = indexes_by_topic(partitions).into_iter().map(|(topic, indexes)| OffsetDeleteRequestTopic {
        name: topic.into(),
        partitions: indexes
            .into_iter()
            .map(|partition_index| OffsetDeleteRequestPartition { partition_index })
            .collect(),
    });
    topics.collect()
}

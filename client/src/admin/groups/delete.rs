//! DeleteGroups and OffsetDelete.

use std::borrow::Cow;
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
use crate::error::{Error, Result};

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

    /// Deletes what a group has committed in some partitions. One result per partition.
    ///
    /// Errors: what is wrong with the group as a whole.
    pub async fn delete_committed_offsets(
        &self,
        group_id: &str,
        partitions: &BTreeSet<(String, i32)>,
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
            by_partition(answers, &context)
        };
        self.cluster.at_coordinator(group_id, delete).await
    }
}

fn to_delete(partitions: &BTreeSet<(String, i32)>) -> Vec<OffsetDeleteRequestTopic<'_>> {
    let mut topics: Vec<OffsetDeleteRequestTopic<'_>> = Vec::new();
    for (topic, partition) in partitions {
        let partition = OffsetDeleteRequestPartition { partition_index: *partition };
        match topics.last_mut() {
            Some(last) if last.name == topic.as_str() => last.partitions.push(partition),
            _ => topics
                .push(OffsetDeleteRequestTopic { name: topic.as_str().into(), partitions: vec![partition] }),
        }
    }
    topics
}

/// Answers by partition.
///
/// Errors: the first that may pass, so that all are asked for again; doing it twice does no harm.
pub(super) fn by_partition<'a>(
    answers: impl Iterator<Item = (&'a Cow<'a, str>, i32, i16)>,
    what: &str,
) -> Result<ByPartition<Result<()>>> {
    let mut results = ByPartition::new();
    for (topic, partition, error_code) in answers {
        let checked = Error::check(error_code, None, || format!("{what} in {topic}-{partition}"));
        match checked {
            Err(error) if error.may_be_retried() => return Err(error),
            checked => results.insert((topic.to_string(), partition), checked),
        };
    }
    Ok(results)
}

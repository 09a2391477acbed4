//! DeleteGroups and OffsetDelete.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use milena_protocol::ErrorCode;
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
            by_partition(partitions, answers, &context)
        };
        self.cluster.at_coordinator(group_id, delete).await
    }
}

fn to_delete(partitions: &BTreeSet<PartitionKey>) -> Vec<OffsetDeleteRequestTopic<'_>> {
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

/// A result for each partition that was asked about; one that the answer leaves out has an error, as nobody said that it
/// was done. What one partition is refused for is its own: asking again for all would do the others again, and a topic
/// that is gone does not come back.
///
/// Errors: the first that concerns the coordinator, so that another is asked; doing it twice does no harm.
pub(super) fn by_partition<'a>(
    asked: impl IntoIterator<Item = &'a PartitionKey>,
    answers: impl Iterator<Item = (&'a Cow<'a, str>, i32, i16)>,
    what: &str,
) -> Result<ByPartition<Result<()>>> {
    let unanswered = |key: &PartitionKey| {
        Err(Error::Corrupt(format!("{what} in {}-{}: the answer leaves it out", key.0, key.1)))
    };
    let mut results: ByPartition<_> = asked.into_iter().map(|key| (key.clone(), unanswered(key))).collect();
    for (topic, partition, error_code) in answers {
        let checked = Error::check(error_code, None, || format!("{what} in {topic}-{partition}"));
        match checked {
            Err(error) if concerns_the_coordinator(&error) => return Err(error),
            checked => results.entry((topic.to_string(), partition)).and_modify(|result| *result = checked),
        };
    }
    Ok(results)
}

/// Whether the partition that has this error has it only because this broker cannot answer for the group now.
pub(super) fn concerns_the_coordinator(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress
        )
    )
}

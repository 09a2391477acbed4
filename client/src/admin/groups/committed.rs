//! OffsetFetch and OffsetCommit from outside of a group.

use std::sync::Arc;

use super::ByGroup;
use super::ask::Coordinator;
use crate::admin::{Admin, ByPartition};
use crate::connection::Connection;
use crate::error::Result;
use crate::offsets::commit::{self, Committer, NewOffset};
use crate::offsets::fetch::{self, CommittedOffset, Question};

/// All that is committed, also by transactions that are open.
const EVERYTHING: Question<'static> = Question { partitions: None, require_stable: false };

impl Admin {
    /// What groups have committed, in all partitions. A group that is not there has committed nothing.
    pub async fn list_committed_offsets(
        &self,
        groups: &[String],
    ) -> ByGroup<ByPartition<Result<CommittedOffset>>> {
        let ask = async |coordinator: Coordinator, groups: Vec<String>| {
            let fetched = fetch::fetch(&coordinator.connection, &groups, EVERYTHING).await?;
            let fetched = fetched.into_iter();
            Ok(fetched.map(|(group, offsets)| (group, offsets.map(only_committed))).collect())
        };
        self.ask_coordinators(groups, ask).await
    }

    /// Commits offsets for a group without members, whatever it has committed before. One result for each of the
    /// partitions.
    ///
    /// Errors: what keeps the request from being answered.
    pub async fn alter_committed_offsets(
        &self,
        group_id: &str,
        offsets: &ByPartition<i64>,
    ) -> Result<ByPartition<Result<()>>> {
        let offsets = offsets.iter().map(|(key, offset)| NewOffset { key, offset: *offset, metadata: "" });
        let offsets: Vec<NewOffset<'_>> = offsets.collect();
        let commit = async |coordinator: Arc<Connection>| {
            commit::commit(&coordinator, Committer::nobody(group_id), &offsets).await
        };
        self.cluster.at_coordinator(group_id, commit).await
    }
}

fn only_committed(fetched: fetch::Fetched) -> ByPartition<Result<CommittedOffset>> {
    fetched.into_iter().filter_map(|(key, offset)| Some((key, offset.transpose()?))).collect()
}

//! ListGroups: every broker is asked, because each knows only the groups that it coordinates.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::messages::list_groups_request::ListGroupsRequest;

use crate::admin::Admin;
use crate::error::{Error, Result};

/// Versions in which a filter is known.
const STATES_FROM: i16 = 4;
const TYPES_FROM: i16 = 5;

/// A group in the list. Old brokers tell neither state nor type: then they are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    pub group_id: String,
    /// `consumer`, `connect`, or empty for a group that only has offsets.
    pub protocol_type: String,
    pub state: String,
    /// `Classic`, `Consumer`, `Share`, `Streams`.
    pub group_type: String,
}

/// The groups of a cluster, and the brokers that did not say which they have.
#[derive(Debug, Clone)]
pub struct ListedGroups {
    /// By id.
    pub groups: Vec<GroupListing>,
    pub failures: Vec<Error>,
}

impl Admin {
    /// All groups; or those in one of these states and of one of these types, in the words of Kafka, where a list is not
    /// empty.
    ///
    /// Errors: what keeps the brokers from being known. What one broker fails with is in the answer.
    pub async fn list_groups(&self, states: &[String], types: &[String]) -> Result<ListedGroups> {
        let known = self.cluster.refresh(Some(&[]), false).await?;
        let (mut groups, mut failures) = (BTreeMap::new(), Vec::new());
        for broker in &known.brokers {
            match self.list_groups_of(broker.id, states, types).await {
                // A group that moves meanwhile may be on two lists.
                Ok(listed) => groups.extend(listed.into_iter().map(|group| (group.group_id.clone(), group))),
                Err(error) => failures.push(error),
            }
        }
        Ok(ListedGroups { groups: groups.into_values().collect(), failures })
    }

    async fn list_groups_of(
        &self,
        broker: i32,
        states: &[String],
        types: &[String],
    ) -> Result<Vec<GroupListing>> {
        let mut retry = self.cluster.retry();
        loop {
            match self.list_groups_once(broker, states, types).await {
                Err(error) if error.may_be_retried() => retry.pause(error).await?,
                outcome => return outcome,
            }
        }
    }

    async fn list_groups_once(
        &self,
        broker: i32,
        states: &[String],
        types: &[String],
    ) -> Result<Vec<GroupListing>> {
        let connection = self.cluster.broker(broker).await?;
        let version = connection.version_of::<ListGroupsRequest<'_>>(i16::MAX)?;
        for (filter, from, what) in [(states, STATES_FROM, "state"), (types, TYPES_FROM, "type")] {
            if !filter.is_empty() && version < from {
                let context = format!("groups by {what} on {}", connection.address());
                return Err(Error::Broker { context, code: ErrorCode::UnsupportedVersion, message: None });
            }
        }
        let request = ListGroupsRequest {
            states_filter: states.iter().map(|state| state.as_str().into()).collect(),
            types_filter: types.iter().map(|name| name.as_str().into()).collect(),
        };
        let response = connection.call_at(&request, version).await?;
        let response = response.decode::<ListGroupsRequest<'_>>()?;
        Error::check(response.error_code, None, || format!("groups of broker {broker}"))?;
        let groups = response.groups.iter().map(|group| GroupListing {
            group_id: group.group_id.to_string(),
            protocol_type: group.protocol_type.to_string(),
            state: group.group_state.to_string(),
            group_type: capitalized(&group.group_type),
        });
        Ok(groups.collect())
    }
}

/// Brokers write types small, Kafka's tools and their users large.
fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

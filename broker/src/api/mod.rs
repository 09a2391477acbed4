//! The route table: one row per API key that this broker serves, one file per API.
//!
//! A handler is
//!
//! ```text
//! pub async fn handle(cx: &RequestContext, request: MetadataRequest<'_>) -> Reply {
//!     let response = …;
//!     cx.reply(&response)
//! }
//! ```
//!
//! The request was decoded in `cx.version` and borrows from the frame. The future is polled at once, in
//! the order in which requests arrived on the connection, and is not `Send`: it stays on the reactor of
//! its connection. Whatever must happen in arrival order (appends) happens before the first `.await`
//! that waits. A handler always answers; errors are error codes in the response. It must not block:
//! slow file work goes to the background runtime. `Reply::Nothing` is for acks=0.
//!
//! Dropping the future (the client went away) must not leave anything half done.

use std::future::Future;
use std::pin::Pin;

use milena_protocol::{ApiKey, DecodeError, decode_start};

use crate::server::{Reply, RequestContext};

pub mod add_raft_voter;
pub mod allocate_producer_ids;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod assign_replicas_to_dirs;
mod authorized_operations;
mod auto_create;
pub mod begin_cluster;
pub mod broker_heartbeat;
mod broker_loggers;
pub mod broker_registration;
mod client_host;
mod controller_call;
pub mod controller_registration;
pub mod create_partitions;
pub mod create_topics;
mod current_leader;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_controller;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod envelope;
pub mod fetch;
pub mod fetch_metadata;
pub mod find_coordinator;
mod group_topics;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
mod mutations;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod raft_append;
pub mod raft_snapshot;
pub mod raft_transfer;
pub mod raft_vote;
pub mod remove_raft_voter;
mod room;
pub mod sync_group;
mod topic_metadata;
pub mod unregister_broker;
pub mod update_features;
pub mod update_raft_voter;
mod voter_change;

/// A handler at work. Fails when the body cannot be decoded.
pub type Running = Pin<Box<dyn Future<Output = Result<Reply, DecodeError>>>>;

/// One API: which versions are served, and by what.
#[derive(Debug)]
pub struct Route {
    pub key: ApiKey,
    /// First and last version that is served.
    pub versions: (i16, i16),
    /// The first version that ApiVersions names. Differs for Produce only: librdkafka takes a broker whose
    /// Produce begins above 0 for one without compression, so Apache Kafka says 0 and serves from 3.
    pub advertised_first: i16,
    /// Nothing behind it on the connection begins before it is answered, as with Apache Kafka, which takes the requests
    /// of a connection one by one. Set where the answer may take minutes and changes what those behind it mean: a
    /// heartbeat that ran ahead of its member's join would report a rebalance that is over when the client reads of it.
    pub holds_the_line: bool,
    /// On which listeners it is answered.
    pub scope: Scope,
    /// Only the active controller can answer it: whichever broker a client asks passes it on (KIP-590).
    pub forwards: bool,
    /// Whether this broker answers a part of the request for itself, which is therefore not passed on whole.
    pub has_own_part: fn(&RequestContext) -> bool,
    pub run: fn(RequestContext) -> Running,
}

/// Who connects to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Clients, and brokers that replicate.
    Clients,
    /// Controllers and brokers that report to them, and tools that are pointed at a controller.
    Controllers,
}

/// The listeners on which an API is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Clients,
    Controllers,
    Both,
}

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Scope::Clients => "clients",
            Scope::Controllers => "controllers",
            Scope::Both => "both",
        }
    }

    pub const fn includes(self, audience: Audience) -> bool {
        match self {
            Scope::Clients => matches!(audience, Audience::Clients),
            Scope::Controllers => matches!(audience, Audience::Controllers),
            Scope::Both => true,
        }
    }
}

macro_rules! route {
    ($key:ident, $first:literal ..= $last:literal, $handler:path) => {
        Route {
            key: ApiKey::$key,
            versions: ($first, $last),
            advertised_first: $first,
            holds_the_line: false,
            scope: Scope::Clients,
            forwards: false,
            has_own_part: |_| false,
            run: |cx| {
                Box::pin(async move {
                    let request = decode_start(cx.body(), cx.version)?;
                    Ok($handler(&cx, request).await)
                })
            },
        }
    };
}

/// An API of which the active controller decides, whoever is asked.
const fn decided(route: Route) -> Route {
    Route { scope: Scope::Both, forwards: true, ..route }
}

/// An API that brokers and controllers answer for themselves.
const fn both(route: Route) -> Route {
    Route { scope: Scope::Both, ..route }
}

/// An API between controllers, or from brokers to them.
const fn internal(route: Route) -> Route {
    Route { scope: Scope::Controllers, ..route }
}

/// Every API that this broker serves, by ascending key. `docs/apis.md` is made from it.
pub static ROUTES: &[Route] = &[
    Route { advertised_first: 0, ..route!(Produce, 3..=13, produce::handle) },
    route!(Fetch, 4..=18, fetch::handle),
    route!(ListOffsets, 1..=11, list_offsets::handle),
    route!(Metadata, 0..=13, metadata::handle),
    route!(OffsetCommit, 2..=10, offset_commit::handle),
    route!(OffsetFetch, 1..=10, offset_fetch::handle),
    route!(FindCoordinator, 0..=6, find_coordinator::handle),
    Route { holds_the_line: true, ..route!(JoinGroup, 0..=9, join_group::handle) },
    route!(Heartbeat, 0..=4, heartbeat::handle),
    route!(LeaveGroup, 0..=5, leave_group::handle),
    Route { holds_the_line: true, ..route!(SyncGroup, 0..=5, sync_group::handle) },
    route!(DescribeGroups, 0..=6, describe_groups::handle),
    route!(ListGroups, 0..=5, list_groups::handle),
    both(route!(ApiVersions, 0..=4, api_versions::handle)),
    decided(route!(CreateTopics, 2..=7, create_topics::handle)),
    decided(route!(DeleteTopics, 1..=6, delete_topics::handle)),
    route!(DeleteRecords, 0..=2, delete_records::handle),
    route!(InitProducerId, 0..=5, init_producer_id::handle),
    route!(OffsetForLeaderEpoch, 2..=4, offset_for_leader_epoch::handle),
    both(route!(DescribeConfigs, 1..=4, describe_configs::handle)),
    decided(route!(AlterConfigs, 0..=2, alter_configs::handle)),
    route!(AlterReplicaLogDirs, 1..=2, alter_replica_log_dirs::handle),
    route!(DescribeLogDirs, 1..=5, describe_log_dirs::handle),
    decided(route!(CreatePartitions, 0..=3, create_partitions::handle)),
    route!(DeleteGroups, 0..=2, delete_groups::handle),
    decided(route!(ElectLeaders, 0..=2, elect_leaders::handle)),
    Route {
        has_own_part: incremental_alter_configs::has_loggers,
        ..decided(route!(IncrementalAlterConfigs, 0..=1, incremental_alter_configs::handle))
    },
    decided(route!(AlterPartitionReassignments, 0..=1, alter_partition_reassignments::handle)),
    decided(route!(ListPartitionReassignments, 0..=0, list_partition_reassignments::handle)),
    route!(OffsetDelete, 0..=0, offset_delete::handle),
    route!(DescribeClientQuotas, 0..=1, describe_client_quotas::handle),
    decided(route!(AlterClientQuotas, 0..=1, alter_client_quotas::handle)),
    decided(route!(DescribeQuorum, 0..=2, describe_quorum::handle)),
    internal(route!(AlterPartition, 2..=3, alter_partition::handle)),
    decided(route!(UpdateFeatures, 0..=2, update_features::handle)),
    internal(route!(Envelope, 0..=0, envelope::handle)),
    both(route!(DescribeCluster, 0..=2, describe_cluster::handle)),
    route!(DescribeProducers, 0..=0, describe_producers::handle),
    internal(route!(BrokerRegistration, 0..=4, broker_registration::handle)),
    internal(route!(BrokerHeartbeat, 0..=2, broker_heartbeat::handle)),
    decided(route!(UnregisterBroker, 0..=0, unregister_broker::handle)),
    internal(route!(AllocateProducerIds, 0..=0, allocate_producer_ids::handle)),
    internal(route!(ControllerRegistration, 0..=0, controller_registration::handle)),
    internal(route!(AssignReplicasToDirs, 0..=0, assign_replicas_to_dirs::handle)),
    route!(ListConfigResources, 0..=1, list_config_resources::handle),
    route!(DescribeTopicPartitions, 0..=0, describe_topic_partitions::handle),
    decided(route!(AddRaftVoter, 0..=1, add_raft_voter::handle)),
    decided(route!(RemoveRaftVoter, 0..=0, remove_raft_voter::handle)),
    internal(route!(UpdateRaftVoter, 0..=0, update_raft_voter::handle)),
    internal(route!(RaftAppend, 0..=0, raft_append::handle)),
    internal(route!(RaftVote, 0..=0, raft_vote::handle)),
    internal(route!(RaftSnapshot, 0..=0, raft_snapshot::handle)),
    internal(route!(RaftTransfer, 0..=0, raft_transfer::handle)),
    internal(route!(DescribeController, 0..=0, describe_controller::handle)),
    internal(route!(BeginCluster, 0..=0, begin_cluster::handle)),
    internal(route!(FetchMetadata, 0..=0, fetch_metadata::handle)),
];

/// Keys below this are looked up; Kafka's last is 94.
const KEYS_MAX: usize = 128;

/// Keys from here on are Milena's own, between its nodes.
const PRIVATE_KEYS_FROM: i16 = 120;

/// Place in `ROUTES` by key; `u8::MAX` where there is none.
static PLACES: [u8; KEYS_MAX] = places();

const fn places() -> [u8; KEYS_MAX] {
    let mut places = [u8::MAX; KEYS_MAX];
    let mut place = 0;
    while place < ROUTES.len() {
        places[ROUTES[place].key.as_i16() as usize] = place as u8;
        place += 1;
    }
    places
}

/// The row of an API key as read from the wire.
pub fn find(key: i16) -> Option<&'static Route> {
    let place = *PLACES.get(usize::try_from(key).ok()?)?;
    ROUTES.get(usize::from(place))
}

impl Route {
    pub fn serves(&self, version: i16) -> bool {
        (self.versions.0..=self.versions.1).contains(&version)
    }

    /// Place in [`ROUTES`], for tables that go with it.
    pub fn place(&self) -> usize {
        usize::from(PLACES[self.key.as_i16() as usize])
    }
}

/// What Apache Kafka answers; nothing for the keys that are ours alone.
fn kafkas_versions(route: &Route) -> Option<(i16, i16)> {
    match route.scope {
        _ if route.key.as_i16() >= PRIVATE_KEYS_FROM => None,
        Scope::Controllers => route.key.versions(),
        Scope::Clients | Scope::Both => milena_protocol::versions::broker_4_3_1(route.key),
    }
}

/// The page `docs/apis.md`.
pub fn reference() -> String {
    use std::fmt::Write as _;

    let mut page = String::from(
        "# APIs\n\nGenerated from the route table in `broker/src/api/mod.rs`; a test compares the two. Listeners: of clients, of \
         controllers, or both.\n\n\
         | key | API | versions | Apache Kafka 4.3.1 | listeners |\n|---|---|---|---|---|\n",
    );
    for route in ROUTES {
        let (first, last) = route.versions;
        let kafka = kafkas_versions(route);
        let kafka = kafka.map_or(String::from("–"), |(first, last)| format!("{first}–{last}"));
        let note = if route.advertised_first == first {
            String::new()
        } else {
            format!(" (advertised from {})", route.advertised_first)
        };
        let _ = writeln!(
            page,
            "| {} | {} | {first}–{last}{note} | {kafka} | {} |",
            route.key.as_i16(),
            route.key.name(),
            route.scope.name(),
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_in_order_and_found_by_key() {
        assert!(ROUTES.windows(2).all(|pair| pair[0].key.as_i16() < pair[1].key.as_i16()));
        for route in ROUTES {
            assert_eq!(find(route.key.as_i16()).map(|found| found.key), Some(route.key));
        }
        for absent in [i16::MIN, -1, 4, 119, 127, 128, i16::MAX] {
            assert!(find(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn served_keys_have_the_versions_of_apache_kafka_4_3_1() {
        for route in ROUTES.iter().filter(|route| route.key.as_i16() < PRIVATE_KEYS_FROM) {
            let kafka = kafkas_versions(route).expect("a 4.3.1 node answers this key");
            assert_eq!((route.advertised_first, route.versions.1), kafka, "{}", route.key);
        }
    }

    #[test]
    fn keys_are_served_on_the_listeners_of_apache_kafka_4_3_1() {
        for route in ROUTES {
            let listeners = route.key.info().listeners;
            let (clients, controllers) = (
                listeners.contains(&"broker"),
                listeners.contains(&"controller") && route.key != ApiKey::Fetch,
            );
            // Kafka's controllers are asked for the metadata log by Fetch, ours by keys of their own.
            let scope = match (clients, controllers) {
                (true, true) => Scope::Both,
                (true, false) => Scope::Clients,
                (false, _) => Scope::Controllers,
            };
            assert_eq!(route.scope, scope, "{}", route.key);
            assert!(!route.forwards || scope == Scope::Both, "{}", route.key);
        }
    }

    #[test]
    fn reference_page_is_up_to_date() {
        crate::reference::check("docs/apis.md", &reference());
    }
}

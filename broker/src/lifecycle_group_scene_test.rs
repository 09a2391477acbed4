//! What the tests of group coordinators share: a node with few partitions for groups, and what its clients say.

use bytes::Bytes;
use milena_log::memory_files::MemoryFiles;
use milena_protocol::ErrorCode;
use milena_state::group::reply::{FetchedOffset, JoinReply, Reply as GroupReply, SyncReply};
use milena_state::group::request::{
    Commit, CommitPartition, CommitTopic, Fetch, FetchTopic, Heartbeat, Join, Protocol, Sync, Token,
};
use milena_state::group::{Command as GroupCommand, CommandReply, Event};
use milena_state::metadata::Delta;
use tokio::task::JoinHandle;

use super::test_node::{Node, eventually};
use super::*;
use crate::broker::now_ms;
use crate::coordinator::OFFSETS_TOPIC;
use crate::partition::{Myself, Partition};

pub(super) const GROUP: &str = "g";
pub(super) const EMFILE: i32 = 24;
const FEW: &[(&str, &str)] = &[
    ("log.dirs", "/data"),
    ("offsets.topic.num.partitions", "2"),
    ("group.initial.rebalance.delay.ms", "0"),
];

/// A node whose topic for groups exists; `more` wins over the usual properties.
pub(super) fn node(files: &MemoryFiles, more: &[(&str, &str)]) -> Node {
    let node = bare_node(files, more);
    node.run(node.lifecycle.groups().ensure_topic()).expect("there is a topic");
    // After a restart it is read in the background.
    eventually("groups are loaded", || !node.run(node.lifecycle.groups().read_all(|_| ())).1);
    node
}

pub(super) fn bare_node(files: &MemoryFiles, more: &[(&str, &str)]) -> Node {
    let mut properties: Vec<_> =
        FEW.iter().filter(|(name, _)| more.iter().all(|(n, _)| n != name)).copied().collect();
    properties.extend_from_slice(more);
    Node::start_on(Arc::new(files.clone()), &properties).expect("starts")
}

pub(super) type Joining = JoinHandle<Result<GroupReply, ErrorCode>>;

impl Node {
    pub fn commit(&self, commit: Commit) -> Result<CommandReply, ErrorCode> {
        let group = commit.group.clone();
        self.run(self.lifecycle.groups().command(&group, GroupCommand::Commit(commit)))
    }

    /// What the group has committed for a partition; −1 is nothing.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> i64 {
        self.fetched(group, topic, partition).expect("is served").offset
    }

    pub fn fetched(&self, group: &str, topic: &str, partition: i32) -> Result<FetchedOffset, ErrorCode> {
        let topics =
            vec![FetchTopic { name: topic.into(), topic_id: Uuid::ZERO, partitions: vec![partition] }];
        let fetch = Fetch { group: group.into(), topics: Some(topics), require_stable: false };
        let read = self.lifecycle.groups().read(group, move |groups| groups.fetch(&fetch));
        self.run(read).map(|topics| topics[0].partitions[0].clone())
    }

    pub fn state(&self, group: &str) -> &'static str {
        let id: Arc<str> = group.into();
        self.run(self.lifecycle.groups().read(group, move |groups| groups.describe(&id, true).state))
            .expect("is served")
    }

    /// Joins in the background.
    pub fn joining(&self, group: &str, member_id: &str) -> Joining {
        let join = join(group, member_id);
        let (groups, group) = (Arc::clone(self.lifecycle.groups()), group.to_owned());
        self.runtime.spawn(async move { groups.event(&group, join).await })
    }

    pub fn answer(&self, joining: Joining) -> Result<GroupReply, ErrorCode> {
        self.run(joining).expect("no panic")
    }

    /// The answer to a join that went well.
    pub fn joined(&self, joining: Joining) -> JoinReply {
        match self.answer(joining) {
            Ok(GroupReply::Join(reply)) if reply.error == ErrorCode::None => reply,
            other => panic!("{other:?}"),
        }
    }

    /// The sync of a member in the background; the leader gives everything to itself.
    pub fn syncing(&self, group: &str, joined: &JoinReply) -> Joining {
        let (id, generation) = (joined.member_id.clone(), joined.generation);
        let mine = (joined.leader == id).then(|| (id.clone(), Bytes::from_static(b"all")));
        let (name, protocol) = (Arc::<str>::from(group), joined.protocol.clone());
        let sync = move |token| {
            Event::Sync(Sync {
                token,
                group: name,
                generation,
                member_id: id,
                instance_id: None,
                protocol_type: Some("consumer".into()),
                protocol,
                assignments: mine.into_iter().collect(),
            })
        };
        let (groups, group) = (Arc::clone(self.lifecycle.groups()), group.to_owned());
        self.runtime.spawn(async move { groups.event(&group, sync).await })
    }

    pub fn sync(&self, group: &str, joined: &JoinReply) -> SyncReply {
        match self.answer(self.syncing(group, joined)) {
            Ok(GroupReply::Sync(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    pub fn heartbeat(&self, group: &str, member_id: &str, generation: i32) -> Result<ErrorCode, ErrorCode> {
        let (name, member_id) = (Arc::<str>::from(group), Arc::<str>::from(member_id));
        let heartbeat = move |token| {
            Event::Heartbeat(Heartbeat { token, group: name, generation, member_id, instance_id: None })
        };
        match self.run(self.lifecycle.groups().event(group, heartbeat))? {
            GroupReply::Heartbeat(error) => Ok(error),
            other => panic!("{other:?}"),
        }
    }

    /// A stable group of one member.
    pub fn stable(&self, group: &str) -> JoinReply {
        let joined = self.joined(self.joining(group, ""));
        assert_eq!(self.sync(group, &joined).error, ErrorCode::None);
        assert_eq!(self.state(group), "Stable");
        joined
    }

    /// Waits until so many requests wait for the coordinator of a group.
    /// Another leadership of a group's partition, as if the image said so: of broker 1, which this is, or another.
    pub fn elect(&self, group: &str, leader: i32) {
        let partition = partition_of(self, group);
        let image = self.lifecycle.metadata().image_arc();
        let topic = image.topic_by_name(OFFSETS_TOPIC).expect("there is a topic");
        let mut elected = topic.partition(partition.index()).expect("it has the partition").as_ref().clone();
        let broker_id = elected.leader.expect("has a leader");
        (elected.leader, elected.leader_epoch) = (Some(leader), elected.leader_epoch + 1);
        let myself = Myself { broker_id, broker_epoch: 1, replica_lag_time_max_ms: 30_000 };
        partition.assign(&elected, myself, now_ms());
    }

    /// Lets the coordinators take up what [`elect`](Self::elect) said.
    pub fn publish_groups(&self) {
        let image = self.lifecycle.metadata().image_arc();
        self.lifecycle.groups().publish(&image, &Delta::default());
    }

    pub fn wait_for_waiting(&self, group: &str, count: usize) {
        eventually("requests wait", || self.lifecycle.groups().waiting(group) == count);
    }
}

/// The partition that keeps a group.
pub(super) fn partition_of(node: &Node, group: &str) -> Arc<Partition> {
    let index = node.lifecycle.groups().partition_of(group).expect("there is a topic");
    node.lifecycle.partitions().by_name(OFFSETS_TOPIC, index).expect("is here")
}

pub(super) fn segment_of(node: &Node, group: &str) -> String {
    format!("{OFFSETS_TOPIC}-{}/00000000000000000000.log", partition_of(node, group).index())
}

/// A commit without a generation.
pub(super) fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> Commit {
    Commit {
        group: group.into(),
        generation: -1,
        member_id: "".into(),
        instance_id: None,
        retention_time_ms: -1,
        knows_group_id_not_found: true,
        topics: vec![CommitTopic {
            name: topic.into(),
            topic_id: Uuid::ZERO,
            partitions: vec![CommitPartition { partition, offset, leader_epoch: -1, metadata: None }],
        }],
    }
}

pub(super) fn join(group: &str, member_id: &str) -> impl FnOnce(Token) -> Event + Send + 'static {
    let (group, member_id) = (Arc::<str>::from(group), Arc::<str>::from(member_id));
    move |token| {
        Event::Join(Join {
            token,
            group,
            member_id,
            unique: uuid::Uuid::new_v4().to_string(),
            instance_id: None,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 600_000,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(&[0; 10]) }],
            requires_known_member_id: false,
            supports_skipping_assignment: true,
        })
    }
}

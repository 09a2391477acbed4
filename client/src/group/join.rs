//! The way into a group: JoinGroup (key 11, versions 0–9), for the leader the assignment, SyncGroup (key 14, versions
//! 0–5).
//!
//! It runs in a task, so that a poll that is dropped does not break it off, and ends with heartbeats under way. What may
//! come right by itself is tried again here, with growing pauses; what costs the member its partitions is for the
//! consumer to tell its caller first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use milena_protocol::messages::join_group_response::JoinGroupResponse;
use milena_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use milena_protocol::messages::{JoinGroupRequest, SyncGroupRequest};

use super::assignor::{Assignor, Member, Topics};
use super::clock::PollClock;
use super::id::KnownId;
use super::link::Link;
use super::protocol::{self, PROTOCOL_TYPE};
use super::session::Session;
use super::topics::{self, Subscription, Watched};
use super::wire::Identity;
use crate::cluster::{Cluster, Metadata, Retry};
use crate::config::GroupConfig;
use crate::connection::Connection;
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};

/// What the coordinator gets beyond the time that members have to rejoin.
const GRACE: Duration = Duration::from_secs(5);

/// Partitions, and the generation in which a member had them.
#[derive(Debug, Clone, Default)]
pub(super) struct Holding {
    pub(super) partitions: Vec<PartitionKey>,
    pub(super) generation: Option<i32>,
}

/// One attempt to get into the group, with what the member brings.
pub(super) struct Join {
    pub(super) cluster: Cluster,
    pub(super) config: Arc<GroupConfig>,
    pub(super) clock: Arc<PollClock>,
    pub(super) subscription: Subscription,
    pub(super) identity: Identity,
    pub(super) known_id: KnownId,
    /// What it still has: nothing under an eager protocol.
    pub(super) owned: Holding,
    /// What it was last given, for the sticky assignor.
    pub(super) last: Holding,
}

/// A member with its assignment.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) session: Session,
    pub(super) assignor: Assignor,
    pub(super) assigned: BTreeSet<PartitionKey>,
}

/// Why there is no membership.
#[derive(Debug)]
pub(super) enum Refused {
    /// The coordinator does not know the member (any more): what it owned is lost.
    Lost { error: Error, keeps_id: bool },
    /// Another process has its place.
    Fenced(Error),
    /// The caller should know, and may try again.
    Failed(Error),
}

/// What came of a round.
enum Setback {
    /// The id that was asked for has come: the next round uses it.
    AtOnce,
    /// It may come right. `progress` when the group had let the member in before.
    Again {
        error: Error,
        progress: bool,
    },
    Refused(Refused),
}

/// A JoinGroup that let the member in.
struct Admission {
    assignor: Assignor,
    generation: i32,
    /// Of the leader: all members, and whether their assignment is to stay as it is (KIP-814).
    members: Option<Vec<Member>>,
    skip_assignment: bool,
}

impl Join {
    pub(super) async fn run(mut self) -> Result<Joined, Refused> {
        let mut link = Link::new(self.cluster.clone(), self.config.group_id.as_str().into());
        let mut retry = self.retry();
        loop {
            match self.round(&mut link).await {
                Ok((assignor, assigned, watched)) => {
                    let Self { config, identity, clock, .. } = self;
                    let session = Session::start(link, config, identity, clock, watched);
                    return Ok(Joined { session, assignor, assigned });
                }
                Err(Setback::AtOnce) => {}
                Err(Setback::Refused(refused)) => return Err(refused),
                Err(Setback::Again { error, progress }) => {
                    if progress {
                        retry = self.retry();
                    }
                    retry.pause(error).await.map_err(Refused::Failed)?;
                }
            }
        }
    }

    /// A join may rightly last as long as a rebalance.
    fn retry(&self) -> Retry {
        let client = self.cluster.config();
        let limit = client.api_timeout + self.config.max_poll_interval;
        Retry::new(client.retry_backoff, client.retry_backoff_max, limit)
    }

    async fn round(
        &mut self,
        link: &mut Link,
    ) -> Result<(Assignor, BTreeSet<PartitionKey>, Watched), Setback> {
        let topics = self.subscription.resolve(&self.cluster).await.map_err(outside)?;
        let admission = self.join(link, &topics).await?;
        let mut watched = Watched { subscription: self.subscription.clone(), joined: topics, counts: None };
        let mut assignments = Vec::new();
        if let Some(members) = &admission.members {
            let (made, counts) = self.assign(&admission, members).await.map_err(inside)?;
            watched.counts = Some(counts);
            assignments = made;
        }
        let assigned = self.sync(link, &admission, &assignments).await?;
        Ok((admission.assignor, assigned.into_iter().collect(), watched))
    }

    async fn join(&mut self, link: &mut Link, topics: &BTreeSet<String>) -> Result<Admission, Setback> {
        let protocols = self.protocols(topics).map_err(outside)?;
        let config = &self.config;
        let client = self.cluster.config();
        let timeout = client.request_timeout.max(config.max_poll_interval + GRACE);
        let had_id = !self.identity.member_id.is_empty();
        let request = JoinGroupRequest {
            group_id: config.group_id.as_str().into(),
            session_timeout_ms: millis(config.session_timeout),
            rebalance_timeout_ms: millis(config.max_poll_interval),
            member_id: self.identity.member_id.as_str().into(),
            group_instance_id: config.group_instance_id.as_deref().map(Into::into),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols,
            reason: None,
        };
        let asked = link.attempt(|connection: Arc<Connection>| async move {
            let version = connection.version_of::<JoinGroupRequest<'_>>(i16::MAX)?;
            let response = connection.call_within(&request, version, timeout).await?;
            let answer = response.decode::<JoinGroupRequest<'_>>()?;
            let given = answer.member_id.to_string();
            let checked = Error::check(answer.error_code, None, || joining(&config.group_id));
            // Returned as an error where it casts doubt on the coordinator.
            match checked {
                Ok(()) => Ok((given, Ok(admission(config, &answer)?))),
                Err(error) if error.may_be_retried() => Err(error),
                Err(error) => Ok((given, Err(error))),
            }
        });
        match asked.await.map_err(outside)? {
            (given, Ok(admission)) => {
                self.known_id.set(&given);
                self.identity = Identity { member_id: given, generation: admission.generation };
                Ok(admission)
            }
            (given, Err(error)) if error.code() == Some(ErrorCode::MemberIdRequired) && !had_id => {
                self.known_id.set(&given);
                self.identity.member_id = given;
                Err(Setback::AtOnce)
            }
            (_, Err(error)) => Err(refusal(error, false)),
        }
    }

    /// The subscription, as each of the assignors wants it.
    fn protocols(&self, topics: &BTreeSet<String>) -> Result<Vec<JoinGroupRequestProtocol<'static>>> {
        let protocol = |assignor: &Assignor| {
            let holding = if *assignor == Assignor::Sticky { &self.last } else { &self.owned };
            let member = Member {
                topics: topics.clone(),
                owned: holding.partitions.clone(),
                generation: holding.generation,
                rack: self.config.client_rack.clone(),
                ..Member::default()
            };
            let metadata = protocol::encode_subscription(*assignor, &member)?;
            Ok(JoinGroupRequestProtocol { name: assignor.name().into(), metadata: metadata.into() })
        };
        self.config.assignors.iter().map(protocol).collect()
    }

    /// What the leader says to all members, and the partitions that it shared out.
    async fn assign(
        &self,
        admission: &Admission,
        members: &[Member],
    ) -> Result<(Vec<SyncGroupRequestAssignment<'static>>, BTreeMap<String, usize>)> {
        let names: BTreeSet<String> = members.iter().flat_map(|member| &member.topics).cloned().collect();
        let names: Vec<String> = names.into_iter().collect();
        let metadata = match names.is_empty() {
            true => self.cluster.cached(),
            false => self.cluster.refresh(Some(&names), false).await?,
        };
        let counts = topics::counts(&metadata, names.iter(), &BTreeMap::new());
        if admission.skip_assignment {
            return Ok((Vec::new(), counts));
        }
        let assignment = admission.assignor.assign(&topics_of(&metadata, &names), members);
        let made = assignment.into_iter().map(|(member_id, partitions)| {
            let assignment = protocol::encode_assignment(&partitions)?;
            Ok(SyncGroupRequestAssignment { member_id: member_id.into(), assignment: assignment.into() })
        });
        Ok((made.collect::<Result<_>>()?, counts))
    }

    async fn sync(
        &mut self,
        link: &mut Link,
        admission: &Admission,
        assignments: &[SyncGroupRequestAssignment<'static>],
    ) -> Result<Vec<PartitionKey>, Setback> {
        let (config, identity) = (&self.config, &self.identity);
        // The leader may die meanwhile; then the coordinator answers when its session is over.
        let timeout = self.cluster.config().request_timeout.max(config.session_timeout + GRACE);
        let request = SyncGroupRequest {
            group_id: config.group_id.as_str().into(),
            generation_id: identity.generation,
            member_id: identity.member_id.as_str().into(),
            group_instance_id: config.group_instance_id.as_deref().map(Into::into),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(admission.assignor.name().into()),
            assignments: assignments.to_vec(),
        };
        let asked = link.attempt(|connection: Arc<Connection>| async move {
            let version = connection.version_of::<SyncGroupRequest<'_>>(i16::MAX)?;
            let response = connection.call_within(&request, version, timeout).await?;
            let answer = response.decode::<SyncGroupRequest<'_>>()?;
            Error::check(answer.error_code, None, || joining(&config.group_id))?;
            protocol::decode_assignment(&answer.assignment)
        });
        asked.await.map_err(|error| refusal(error, true))
    }
}

fn admission(config: &GroupConfig, answer: &JoinGroupResponse<'_>) -> Result<Admission> {
    let name = answer.protocol_name.as_deref().unwrap_or_default();
    let chosen = config.assignors.iter().copied().find(|assignor| assignor.name() == name);
    let assignor = chosen.ok_or_else(|| Error::Broker {
        context: format!("the coordinator of group {} chose assignor '{name}'", config.group_id),
        code: ErrorCode::InconsistentGroupProtocol,
        message: None,
    })?;
    let member = |member: &milena_protocol::messages::join_group_response::JoinGroupResponseMember<'_>| {
        let instance_id = member.group_instance_id.as_deref();
        protocol::decode_subscription(assignor, &member.member_id, instance_id, &member.metadata)
    };
    let is_leader = answer.leader == answer.member_id;
    let members = is_leader.then(|| answer.members.iter().map(member).collect()).transpose()?;
    Ok(Admission {
        assignor,
        generation: answer.generation_id,
        members,
        skip_assignment: answer.skip_assignment,
    })
}

/// Topics that can be assigned, with the racks of their replicas.
fn topics_of(metadata: &Metadata, names: &[String]) -> Topics {
    let rack = |id: &i32| metadata.broker(*id).and_then(|broker| broker.rack.clone());
    let usable = names.iter().filter_map(|name| metadata.topic(name)).filter(|topic| topic.is_usable());
    let with_racks = usable.map(|topic| {
        let racks = topic.partitions.iter().map(|partition| partition.replicas.iter().filter_map(rack));
        (topic.name.clone(), racks.map(Iterator::collect).collect())
    });
    with_racks.collect()
}

fn joining(group_id: &str) -> String {
    format!("joining group {group_id}")
}

/// An error before the group let the member in.
fn outside(error: Error) -> Setback {
    refusal(error, false)
}

/// An error of the leader's while the others wait for it.
fn inside(error: Error) -> Setback {
    refusal(error, true)
}

fn refusal(error: Error, progress: bool) -> Setback {
    match error.code() {
        Some(ErrorCode::RebalanceInProgress) => Setback::Again { error, progress },
        Some(ErrorCode::UnknownMemberId) => Setback::Refused(Refused::Lost { error, keeps_id: false }),
        Some(ErrorCode::IllegalGeneration) => Setback::Refused(Refused::Lost { error, keeps_id: true }),
        Some(ErrorCode::FencedInstanceId) => Setback::Refused(Refused::Fenced(error)),
        _ if error.may_be_retried() => Setback::Again { error, progress },
        _ => Setback::Refused(Refused::Failed(error)),
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

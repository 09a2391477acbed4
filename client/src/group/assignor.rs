//! Who reads which partition: the assignors of the classic protocol, as functions of subscriptions and partitions.
//!
//! The leader of a group runs the one that all members have. Range and round robin give what Kafka's classes give; the
//! sticky ones are held to the same promises (balance, few moves), and to the same answer where nothing was owned before.
//! `tests` beside this compare them with answers of Kafka's classes. Of racks (KIP-881) only range takes notice.

mod range;
mod round_robin;
mod sticky;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::consumer::PartitionKey;

/// A way to share partitions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Each topic is cut into ranges, so that equal partitions of topics go to the same member.
    Range,
    /// All partitions of all topics, one member after the other.
    RoundRobin,
    /// Balanced, with as few moves as that allows; everybody gives everything up in between.
    Sticky,
    /// As sticky, but only what moves is given up, in a second round (KIP-429).
    CooperativeSticky,
}

/// A member of a group as an assignor sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    /// Of a static member.
    pub instance_id: Option<String>,
    pub topics: BTreeSet<String>,
    /// What it had before, if it says so.
    pub owned: Vec<PartitionKey>,
    /// The generation in which it had that.
    pub generation: Option<i32>,
    pub rack: Option<String>,
}

/// A topic as an assignor sees it: for each partition, in order, the racks where it has replicas.
pub type Racks = Vec<BTreeSet<String>>;

/// Topics that exist, by name.
pub type Topics = BTreeMap<String, Racks>;

/// Partitions by member id. Every member is in it.
pub type Assignment = BTreeMap<String, Vec<PartitionKey>>;

impl Assignor {
    pub const ALL: [Assignor; 4] =
        [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky];

    /// Its name in JoinGroup.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Sticky => "sticky",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// By the name, or by that of Kafka's class.
    pub fn from_name(name: &str) -> Option<Self> {
        let class = |assignor: &Assignor| match assignor {
            Assignor::Range => "RangeAssignor",
            Assignor::RoundRobin => "RoundRobinAssignor",
            Assignor::Sticky => "StickyAssignor",
            Assignor::CooperativeSticky => "CooperativeStickyAssignor",
        };
        let short = name.strip_prefix("org.apache.kafka.clients.consumer.");
        Self::ALL.into_iter().find(|assignor| assignor.name() == name || Some(class(assignor)) == short)
    }

    /// Whether members may keep what does not move while they rejoin.
    pub fn is_cooperative(self) -> bool {
        self == Assignor::CooperativeSticky
    }

    /// Shares the partitions of `topics` out. Topics that nobody subscribed to are left alone.
    pub fn assign(self, topics: &Topics, members: &[Member]) -> Assignment {
        let assignment = match self {
            Assignor::Range => range::assign(topics, members),
            Assignor::RoundRobin => round_robin::assign(topics, members),
            Assignor::Sticky => sticky::assign(topics, members),
            Assignor::CooperativeSticky => sticky::assign_cooperatively(topics, members),
        };
        debug_assert_eq!(assignment.len(), members.len(), "every member is in the assignment");
        assignment
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Members in the order in which partitions are given: static ones first, by instance, then the others by id. Members
/// that restart under another id keep their place so.
fn in_order(members: &[Member]) -> Vec<&Member> {
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by(|a, b| match (&a.instance_id, &b.instance_id) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.id.cmp(&b.id),
    });
    sorted
}

fn nothing(members: &[Member]) -> Assignment {
    members.iter().map(|member| (member.id.clone(), Vec::new())).collect()
}

#[cfg(test)]
#[path = "assignor_test.rs"]
mod tests;

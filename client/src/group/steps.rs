//! What a consumer still has to do before it may go on: the order of a rebalance, one step at a time.
//!
//! A caller hears of partitions that it is about to lose while it still has them. The poll after that is its consent, and
//! only then the next step is taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::consumer::Event;
use crate::consumer::PartitionKey;

#[derive(Debug)]
pub(super) enum Step {
    /// Commits what was consumed, if that is automatic.
    Commit,
    /// Tells the caller.
    Announce(Event),
    /// Gives partitions up.
    Drop(BTreeSet<PartitionKey>),
    /// Joins the group.
    Join,
    /// Goes through all of this again.
    Rejoin,
}

/// What is known of the position of a partition that is owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is being read.
    Reading,
    /// The group's committed offset is to be looked up.
    Unknown,
    /// The position was outside of the log.
    OutOfRange,
    /// Its topic was not there when it was last looked at.
    Missing { position: i64 },
}

pub(super) type Owned = BTreeMap<PartitionKey, Place>;

/// Before a join. An eager protocol gives everything up, a cooperative one what is not subscribed to any more.
pub(super) fn before_join(owned: &Owned, is_eager: bool, is_wanted: impl Fn(&str) -> bool) -> VecDeque<Step> {
    let given_up: BTreeSet<PartitionKey> =
        owned.keys().filter(|(topic, _)| is_eager || !is_wanted(topic)).cloned().collect();
    let mut steps = VecDeque::from([Step::Commit]);
    give_up(given_up, &mut steps);
    steps.push_back(Step::Join);
    steps
}

/// After a join that brought `assigned`. What another member is to have is given up, and then the group rebalances once
/// more, so that it gets it.
pub(super) fn after_join(owned: &Owned, assigned: &BTreeSet<PartitionKey>) -> VecDeque<Step> {
    let revoked: BTreeSet<PartitionKey> =
        owned.keys().filter(|key| !assigned.contains(key)).cloned().collect();
    let added = assigned.iter().filter(|key| !owned.contains_key(key)).cloned().collect();
    let mut steps = VecDeque::new();
    let rebalances_again = !revoked.is_empty();
    if rebalances_again {
        steps.push_back(Step::Commit);
        give_up(revoked, &mut steps);
    }
    steps.push_back(Step::Announce(Event::Assigned(added)));
    if rebalances_again {
        steps.push_back(Step::Rejoin);
    }
    steps
}

fn give_up(partitions: BTreeSet<PartitionKey>, steps: &mut VecDeque<Step>) {
    if !partitions.is_empty() {
        steps.push_back(Step::Announce(Event::Revoked(partitions.iter().cloned().collect())));
        steps.push_back(Step::Drop(partitions));
    }
}

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

/// What the caller has to hear is lost when all of `owned` is, and these steps are not taken any more. It needs no second
/// farewell to what it heard is revoked, and none to what it has not heard of.
pub(super) fn to_be_lost(owned: BTreeSet<PartitionKey>, steps: VecDeque<Step>) -> BTreeSet<PartitionKey> {
    let (mut lost, mut given_up) = (owned, BTreeSet::new());
    let (mut unheard_of, mut unheard_farewells) = (BTreeSet::new(), BTreeSet::new());
    for step in steps {
        match step {
            Step::Announce(Event::Assigned(partitions)) => unheard_of.extend(partitions),
            Step::Announce(Event::Revoked(partitions)) => unheard_farewells.extend(partitions),
            Step::Announce(Event::Lost(partitions)) => lost.extend(partitions),
            Step::Drop(partitions) => given_up.extend(partitions),
            Step::Announce(Event::Records(_)) | Step::Commit | Step::Join | Step::Rejoin => {}
        }
    }
    let is_to_hear = |key: &PartitionKey| {
        let has_heard = given_up.contains(key) && !unheard_farewells.contains(key);
        !has_heard && !unheard_of.contains(key)
    };
    lost.retain(is_to_hear);
    lost
}

fn give_up(partitions: BTreeSet<PartitionKey>, steps: &mut VecDeque<Step>) {
    if !partitions.is_empty() {
        steps.push_back(Step::Announce(Event::Revoked(partitions.iter().cloned().collect())));
        steps.push_back(Step::Drop(partitions));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(partitions: &[i32]) -> BTreeSet<PartitionKey> {
        partitions.iter().map(|partition| ("t".to_owned(), *partition)).collect()
    }

    #[test]
    fn the_caller_hears_once_that_what_it_has_is_lost() {
        let owned: Owned = keys(&[0, 1]).into_iter().map(|key| (key, Place::Reading)).collect();
        let mut steps = after_join(&owned, &keys(&[1, 2]));
        // All three are owned from here on; each step that is taken changes what the caller knows.
        let all = keys(&[0, 1, 2]);
        let mut heard = Vec::new();
        while !steps.is_empty() {
            let ahead = steps.iter().map(|step| match step {
                Step::Commit => Step::Commit,
                Step::Announce(event) => Step::Announce(event.clone()),
                Step::Drop(partitions) => Step::Drop(partitions.clone()),
                Step::Join => Step::Join,
                Step::Rejoin => Step::Rejoin,
            });
            heard.push(to_be_lost(all.clone(), ahead.collect()));
            steps.pop_front();
        }
        // Before the commit, the announcement, the giving up, the assignment; and before the next round, when 0 is not
        // owned any more.
        let expected = [&[0, 1][..], &[0, 1], &[1], &[0, 1], &[0, 1, 2]];
        assert_eq!(heard, expected.map(keys));
    }
}

//! Which partitions concern which broker, so that no decision looks at all of them.
//!
//! Derived from the partitions and kept by whoever applies a record: two equal images have equal indexes. Sorted and
//! shared between images like everything else in them. Only lists are kept that a decision walks: the replicas of a
//! broker when it goes, those without a leader when it comes, those that others lead although they are its own to lead
//! when leaders are balanced, and reassignments under way. A partition of three replicas costs about 90 bytes here.

use std::sync::Arc;

use milena_protocol::types::Uuid;

use super::cow_map::CowMap;
use super::image::{Image, Partition, Topic};

/// A partition: its topic's id and its number.
pub type PartitionId = (Uuid, i32);

type Set = CowMap<PartitionId, ()>;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PartitionIndex {
    brokers: CowMap<i32, Arc<OfBroker>>,
    reassigning: Set,
}

/// What concerns one broker, whether it is registered or not.
#[derive(Debug, Clone, Default, PartialEq)]
struct OfBroker {
    replicas: Set,
    /// Those of its replicas that have no leader.
    leaderless: Set,
    /// Partitions that name it first and that it does not lead.
    unled: Set,
    leaderships: usize,
}

impl PartitionIndex {
    /// A partition changed; it did not exist before, or does not any more, where there is none.
    pub(super) fn update(&mut self, id: PartitionId, before: Option<&Partition>, after: Option<&Partition>) {
        let lists: [(Brokers, Kept); 3] = [
            (|p| &p.replicas, |of| &mut of.replicas),
            (|p| if p.leader.is_none() { &p.replicas } else { &[] }, |of| &mut of.leaderless),
            (|p| if p.has_preferred_leader() { &[] } else { p.preferred() }, |of| &mut of.unled),
        ];
        for (brokers, set) in lists {
            let (old, new) = (before.map_or(&[][..], brokers), after.map_or(&[][..], brokers));
            for gone in old.iter().filter(|id| !new.contains(id)) {
                self.change(*gone, |of| {
                    set(of).remove(&id);
                });
            }
            for come in new.iter().filter(|id| !old.contains(id)) {
                self.change(*come, |of| {
                    set(of).insert(id, ());
                });
            }
        }
        let (old, new) = (before.and_then(|p| p.leader), after.and_then(|p| p.leader));
        if old != new {
            old.into_iter().for_each(|leader| self.change(leader, |of| of.leaderships -= 1));
            new.into_iter().for_each(|leader| self.change(leader, |of| of.leaderships += 1));
        }
        let is = |p: Option<&Partition>| p.is_some_and(Partition::is_reassigning);
        if is(after) && !is(before) {
            self.reassigning.insert(id, ());
        } else if is(before) && !is(after) {
            self.reassigning.remove(&id);
        }
    }

    fn change(&mut self, broker_id: i32, act: impl FnOnce(&mut OfBroker)) {
        if self.brokers.get(&broker_id).is_none() {
            self.brokers.insert(broker_id, Arc::default());
        }
        let of = Arc::make_mut(self.brokers.get_mut(&broker_id).expect("inserted above"));
        act(of);
        if of.replicas.is_empty() && of.leaderships == 0 && of.unled.is_empty() {
            self.brokers.remove(&broker_id);
        }
    }

    fn of(&self, broker_id: i32, set: fn(&OfBroker) -> &Set) -> impl Iterator<Item = PartitionId> {
        let of = self.brokers.get(&broker_id).map(|of| set(of));
        of.into_iter().flat_map(Set::iter).map(|(id, ())| visited(*id))
    }
}

/// Brokers in whose list a partition stands, and the list.
type Brokers = fn(&Partition) -> &[i32];
type Kept = fn(&mut OfBroker) -> &mut Set;

/// A partition with its topic and its number.
pub type Found<'a> = (&'a Topic, i32, &'a Partition);

impl Image {
    /// Partitions that have a replica on the broker.
    pub fn partitions_of(&self, broker_id: i32) -> impl Iterator<Item = Found<'_>> {
        self.index.of(broker_id, |of| &of.replicas).filter_map(|id| self.find(id))
    }

    /// Partitions without a leader that have a replica on the broker.
    pub fn leaderless_of(&self, broker_id: i32) -> impl Iterator<Item = Found<'_>> {
        self.index.of(broker_id, |of| &of.leaderless).filter_map(|id| self.find(id))
    }

    /// Partitions that the broker ought to lead, being their first replica, and does not.
    pub fn unled_of(&self, broker_id: i32) -> impl Iterator<Item = Found<'_>> {
        self.index.of(broker_id, |of| &of.unled).filter_map(|id| self.find(id))
    }

    /// Every partition that its first replica does not lead.
    pub fn imbalanced(&self) -> impl Iterator<Item = Found<'_>> {
        self.index.brokers.iter().flat_map(|(broker_id, _)| self.unled_of(*broker_id))
    }

    /// Every partition whose replicas are being reassigned.
    pub fn reassigning(&self) -> impl Iterator<Item = Found<'_>> {
        self.index.reassigning.iter().filter_map(|(id, ())| self.find(visited(*id)))
    }

    /// How many partitions the broker leads.
    pub fn leaderships(&self, broker_id: i32) -> usize {
        self.index.brokers.get(&broker_id).map_or(0, |of| of.leaderships)
    }

    fn find(&self, (topic_id, partition_id): PartitionId) -> Option<Found<'_>> {
        let topic = self.topic(topic_id)?;
        Some((topic, partition_id, topic.partition(partition_id)?))
    }
}

/// Counts, in tests, what a decision looks at.
pub(super) fn visited<T>(one: T) -> T {
    #[cfg(test)]
    visits::COUNT.with(|count| count.set(count.get() + 1));
    one
}

#[cfg(test)]
pub(super) mod visits {
    use std::cell::Cell;

    thread_local! {
        pub(super) static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    /// How many topics and partitions are gone through meanwhile.
    pub(in crate::metadata) fn during(act: impl FnOnce()) -> usize {
        let before = COUNT.get();
        act();
        COUNT.get() - before
    }
}

#[cfg(test)]
#[path = "partition_index_test.rs"]
mod tests;

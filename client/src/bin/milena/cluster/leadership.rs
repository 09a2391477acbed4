//! Which replica shall be the preferred leader of which partition, so that a broker leads nothing, or its share again.
//!
//! The order of a partition's replicas says who leads it when all are in sync. Changing only the order moves no records.

use std::collections::{BTreeMap, BTreeSet};

use milena_client::cluster::{Partition, Topic};

/// The new order of a partition's replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub topic: String,
    pub partition: i32,
    pub leader: Option<i32>,
    pub replicas: Vec<i32>,
    /// Whether the new first is in sync, so that it can lead at once.
    pub is_in_sync: bool,
}

/// Partitions by the number of them that a broker is preferred for.
struct Preferred(BTreeMap<i32, usize>);

impl Preferred {
    fn of<'a>(topics: impl Iterator<Item = &'a Topic>) -> Self {
        let mut counts = BTreeMap::new();
        for first in
            topics.flat_map(|topic| &topic.partitions).filter_map(|partition| partition.replicas.first())
        {
            *counts.entry(*first).or_default() += 1;
        }
        Self(counts)
    }

    fn count(&self, broker: i32) -> usize {
        self.0.get(&broker).copied().unwrap_or(0)
    }

    fn moves(&mut self, from: i32, to: i32) {
        if let Some(count) = self.0.get_mut(&from) {
            *count = count.saturating_sub(1);
        }
        *self.0.entry(to).or_default() += 1;
    }
}

/// What makes `broker` the last choice of every partition that it leads or would lead, in favour of those that have the
/// least, but not of those that are drained themselves where others can; and the partitions that it leads where no other replica is in sync.
pub fn without<'a>(
    topics: impl Iterator<Item = &'a Topic> + Clone,
    broker: i32,
) -> (Vec<Change>, Vec<(String, i32)>) {
    let mut preferred = Preferred::of(topics.clone());
    let drained: BTreeSet<i32> = each(topics.clone())
        .flat_map(|(_, partition)| partition.replicas.iter().copied())
        .filter(|id| preferred.count(*id) == 0)
        .collect();
    let (mut changes, mut stuck) = (Vec::new(), Vec::new());
    for (topic, partition) in each(topics).filter(|(_, partition)| partition.replicas.contains(&broker)) {
        let leads = partition.leader == Some(broker);
        let first = partition.replicas[0];
        if first != broker && (!leads || partition.isr.contains(&first)) {
            // An election of the preferred replica is enough, or nothing at all.
            continue;
        }
        let others = partition.replicas.iter().copied().filter(|id| *id != broker);
        let in_sync = others.clone().filter(|id| partition.isr.contains(id));
        // Who leads already may go on.
        let leader = partition.leader.filter(|leader| *leader != broker);
        match leader.or_else(|| in_sync.min_by_key(|id| (drained.contains(id), preferred.count(*id)))) {
            Some(next) => {
                preferred.moves(first, next);
                let rest = others.filter(|id| *id != next);
                let replicas = [next].into_iter().chain(rest).chain([broker]).collect();
                changes.push(change(topic, partition, replicas));
            }
            None if leads => stuck.push((topic.name.clone(), partition.index)),
            // Nobody leads it: there is nothing to move away.
            None => {}
        }
    }
    (changes, stuck)
}

/// What makes `broker` the preferred leader of its share of the partitions that it has: always one of the broker that is
/// preferred for the most, as long as that one has more of them afterwards too.
pub fn shared_with<'a>(topics: impl Iterator<Item = &'a Topic> + Clone, broker: i32) -> Vec<Change> {
    let mut preferred = Preferred::of(topics.clone());
    // What may be taken from each, the first in their order last.
    let mut from: BTreeMap<i32, Vec<(&Topic, &Partition)>> = BTreeMap::new();
    for (topic, partition) in each(topics).filter(|(_, partition)| partition.replicas.contains(&broker)) {
        from.entry(partition.replicas[0]).or_default().push((topic, partition));
    }
    from.remove(&broker);
    from.values_mut().for_each(|partitions| partitions.reverse());
    let mut changes = Vec::new();
    while let Some((most, partitions)) = from.iter_mut().max_by_key(|(id, _)| preferred.count(**id))
        && preferred.count(*most) > preferred.count(broker) + 1
    {
        let Some((topic, partition)) = partitions.pop() else {
            // It has more, but none that the broker has a replica of.
            let most = *most;
            from.remove(&most);
            continue;
        };
        preferred.moves(*most, broker);
        let others = partition.replicas.iter().copied().filter(|id| *id != broker);
        let replicas = [broker].into_iter().chain(others).collect();
        changes.push(change(topic, partition, replicas));
    }
    changes.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    changes
}

fn each<'a>(topics: impl Iterator<Item = &'a Topic>) -> impl Iterator<Item = (&'a Topic, &'a Partition)> {
    topics.flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
}

fn change(topic: &Topic, partition: &Partition, replicas: Vec<i32>) -> Change {
    Change {
        topic: topic.name.clone(),
        partition: partition.index,
        leader: partition.leader,
        is_in_sync: partition.isr.contains(&replicas[0]),
        replicas,
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::health::tests::{partition, topic};
    use super::*;

    fn orders(changes: &[Change]) -> Vec<(i32, Vec<i32>)> {
        changes.iter().map(|change| (change.partition, change.replicas.clone())).collect()
    }

    #[test]
    fn a_drained_broker_is_the_last_choice_and_others_share_what_it_led() {
        let all = [1, 2, 3];
        let partitions = (0..4).map(|index| partition(index, Some(2), &[2, 1, 3], &all)).collect();
        let (changes, stuck) = without([topic("t", partitions)].iter(), 2);
        assert_eq!(stuck, []);
        assert_eq!(
            orders(&changes),
            [(0, vec![1, 3, 2]), (1, vec![3, 1, 2]), (2, vec![1, 3, 2]), (3, vec![3, 1, 2])]
        );
        assert!(changes.iter().all(|change| change.is_in_sync));
    }

    #[test]
    fn partitions_that_an_election_moves_keep_their_order() {
        let partitions = vec![
            partition(0, Some(2), &[1, 2], &[1, 2]), // the preferred one can lead
            partition(1, Some(1), &[1, 2], &[1, 2]), // and does
            partition(2, Some(2), &[1, 2, 3], &[2, 3]), // cannot
            partition(3, Some(3), &[2, 1, 3], &[1, 2, 3]), // another leads
        ];
        let (changes, stuck) = without([topic("t", partitions)].iter(), 2);
        assert_eq!((orders(&changes), stuck), (vec![(2, vec![3, 1, 2]), (3, vec![3, 1, 2])], vec![]));
    }

    #[test]
    fn who_is_drained_already_stays_so() {
        let all = [1, 2, 3];
        let order = |index: i32| if index % 2 == 0 { [2, 3, 1] } else { [3, 2, 1] };
        let partitions =
            (0..4).map(|index| partition(index, Some(order(index)[0]), &order(index), &all)).collect();
        let (changes, _) = without([topic("t", partitions)].iter(), 2);
        assert_eq!(orders(&changes), [(0, vec![3, 1, 2]), (2, vec![3, 1, 2])]);
    }

    #[test]
    fn the_only_replica_in_sync_is_stuck() {
        let partitions = vec![partition(0, Some(2), &[2], &[2]), partition(1, Some(2), &[2, 1], &[2])];
        let (changes, stuck) = without([topic("t", partitions)].iter(), 2);
        assert_eq!((changes, stuck), (vec![], vec![("t".to_owned(), 0), ("t".to_owned(), 1)]));
    }

    #[test]
    fn a_broker_gets_its_share_again_and_no_more() {
        let all = [1, 2, 3];
        let order = |index: i32| if index % 2 == 0 { [1, 3, 2] } else { [3, 1, 2] };
        let partitions =
            (0..9).map(|index| partition(index, Some(order(index)[0]), &order(index), &all)).collect();
        let drained = topic("t", partitions);
        let changes = shared_with([&drained].into_iter(), 2);
        assert_eq!(changes.len(), 3);
        assert!(changes.iter().all(|change| change.replicas[0] == 2 && change.replicas.len() == 3));
        // Applied, it is balanced: nothing is left to do.
        let mut balanced = drained;
        for change in changes {
            balanced.partitions[change.partition as usize].replicas = change.replicas;
        }
        assert_eq!(shared_with([&balanced].into_iter(), 2), []);
    }

    #[test]
    fn who_has_the_most_gives_first() {
        // 3 is preferred for four and comes first, 1 for five.
        let order = |index: i32| if index < 4 { [3, 1, 2] } else { [1, 3, 2] };
        let partitions =
            (0..9).map(|index| partition(index, Some(order(index)[0]), &order(index), &[1, 2, 3])).collect();
        let changes = shared_with([topic("t", partitions)].iter(), 2);
        let taken: Vec<i32> = changes.iter().map(|change| change.replicas[1]).collect();
        assert_eq!(taken, [3, 1, 1]);
    }

    #[test]
    fn draining_and_undraining_is_stable() {
        let partitions =
            vec![partition(0, Some(1), &[1, 2], &[1, 2]), partition(1, Some(2), &[2, 1], &[1, 2])];
        assert_eq!(shared_with([topic("t", partitions)].iter(), 2), []);
    }
}

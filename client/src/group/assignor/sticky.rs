//! Sticky: as balanced as subscriptions allow, and within that as few moves as possible (KIP-54, KIP-429).
//!
//! What members own is kept up to their share; what nobody may keep goes to those with least. Where subscriptions are
//! equal the shares are known beforehand, and one pass is enough. Where they differ, single partitions then move from
//! members with more to members with at least two less, until there is no such move. Racks are not looked at.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Assignment, Member, Topics};
use crate::consumer::PartitionKey;

/// Partitions by index into the members.
type Held = Vec<Vec<PartitionKey>>;

pub(super) fn assign(topics: &Topics, members: &[Member]) -> Assignment {
    let ordered = by_id(members);
    let owned = owned(topics, &ordered);
    share(topics, &ordered, owned)
}

/// As [`assign`], but a partition that another member says it has is left out for now: that one gives it up when it
/// hears of its assignment, and the rebalance that follows gives it to its new owner.
pub(super) fn assign_cooperatively(topics: &Topics, members: &[Member]) -> Assignment {
    let ordered = by_id(members);
    let owned = owned(topics, &ordered);
    let kept: Vec<HashSet<PartitionKey>> = owned.iter().map(|kept| kept.iter().cloned().collect()).collect();
    let claimed: HashSet<&PartitionKey> = members.iter().flat_map(|member| &member.owned).collect();
    let mut assignment = share(topics, &ordered, owned);
    for (member, kept) in ordered.iter().zip(kept) {
        let partitions = assignment.get_mut(&member.id).expect("every member is in it");
        partitions.retain(|partition| kept.contains(partition) || !claimed.contains(partition));
    }
    assignment
}

/// Ties are broken by id.
fn by_id(members: &[Member]) -> Vec<&Member> {
    let mut ordered: Vec<&Member> = members.iter().collect();
    ordered.sort_by(|a, b| a.id.cmp(&b.id));
    ordered
}

fn share(topics: &Topics, members: &[&Member], owned: Held) -> Assignment {
    if members.is_empty() {
        return Assignment::new();
    }
    let equal = members.windows(2).all(|pair| pair[0].topics == pair[1].topics);
    let held =
        if equal { share_equally(topics, members, owned) } else { share_unequally(topics, members, owned) };
    let sorted = members.iter().zip(held).map(|(member, mut partitions)| {
        partitions.sort();
        (member.id.clone(), partitions)
    });
    sorted.collect()
}

/// What each member may keep: it exists, the member still reads it, and nobody else has a newer claim. Two claims of one
/// generation are both void, because one of them must be wrong.
fn owned(topics: &Topics, members: &[&Member]) -> Held {
    // Generation and member of the best claim; none while it is disputed.
    let mut best: BTreeMap<&PartitionKey, (i32, Option<usize>)> = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        let generation = member.generation.unwrap_or(-1);
        for partition in &member.owned {
            let (topic, index) = partition;
            let exists = topics.get(topic).is_some_and(|racks| (0..racks.len() as i32).contains(index));
            if !exists || !member.topics.contains(topic) {
                continue;
            }
            let claim = best.entry(partition).or_insert((generation, Some(at)));
            match claim.0.cmp(&generation) {
                std::cmp::Ordering::Less => *claim = (generation, Some(at)),
                std::cmp::Ordering::Equal if claim.1 != Some(at) => claim.1 = None,
                _ => {}
            }
        }
    }
    let mut owned = vec![Vec::new(); members.len()];
    for (partition, (_, member)) in best {
        if let Some(member) = member {
            owned[member].push(partition.clone());
        }
    }
    owned
}

/// Everybody gets the same number, or one more: `more` members do.
fn share_equally(topics: &Topics, members: &[&Member], owned: Held) -> Held {
    let all = partitions(topics, |topic| members.iter().any(|member| member.topics.contains(topic)));
    let least = all.len() / members.len();
    let mut more = all.len() % members.len();
    let mut held: Held = Vec::with_capacity(members.len());
    for mut kept in owned {
        // By number and then topic, so that co-partitioned topics stay together.
        kept.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
        let above = kept.len() > least && more > 0;
        more -= usize::from(above);
        kept.truncate(least + usize::from(above));
        held.push(kept);
    }
    let taken: HashSet<PartitionKey> = held.iter().flatten().cloned().collect();
    let mut free = all.into_iter().filter(|partition| !taken.contains(partition));
    // One each to all that have less than their share, again and again; the last ones go to those that have it.
    loop {
        let poor: Vec<usize> = (0..held.len()).filter(|member| held[*member].len() < least).collect();
        if poor.is_empty() {
            break;
        }
        for member in poor {
            held[member].extend(free.next());
        }
    }
    let rich: Vec<usize> = (0..held.len()).filter(|member| held[*member].len() == least).collect();
    for (member, partition) in rich.into_iter().zip(free) {
        held[member].push(partition);
    }
    held
}

fn share_unequally(topics: &Topics, members: &[&Member], mut held: Held) -> Held {
    let readers: BTreeMap<&str, Vec<usize>> = topics
        .keys()
        .map(|topic| {
            let reads = |member: &usize| members[*member].topics.contains(topic);
            (topic.as_str(), (0..members.len()).filter(reads).collect())
        })
        .collect();
    let taken: HashSet<PartitionKey> = held.iter().flatten().cloned().collect();
    let mut free = partitions(topics, |topic| !readers[topic].is_empty());
    free.retain(|partition| !taken.contains(partition));
    // Those with the fewest readers first: they have the least choice.
    free.sort_by_key(|(topic, index)| (readers[topic.as_str()].len(), topic.clone(), *index));
    for partition in free {
        let least = readers[partition.0.as_str()].iter().min_by_key(|member| held[**member].len());
        held[*least.expect("somebody reads it")].push(partition);
    }
    settle(&mut held, &readers);
    held
}

/// Members with most first.
fn by_load(held: &Held) -> Vec<usize> {
    let mut order: Vec<usize> = (0..held.len()).collect();
    order.sort_by_key(|member| std::cmp::Reverse(held[*member].len()));
    order
}

/// A move may make room for another. Each lowers the sum of squares of the loads, so there is an end.
fn settle(held: &mut Held, readers: &BTreeMap<&str, Vec<usize>>) {
    loop {
        let moves = by_load(held).into_iter().find_map(|from| {
            let (at, to) = best_move(held, from, readers)?;
            Some((from, at, to))
        });
        let Some((from, at, to)) = moves else { return };
        let partition = held[from].remove(at);
        held[to].push(partition);
    }
}

/// A partition of a member (by place), and the reader of it with least, if that has at least two less.
fn best_move(held: &Held, from: usize, readers: &BTreeMap<&str, Vec<usize>>) -> Option<(usize, usize)> {
    let load = held[from].len();
    let mut seen = BTreeSet::new();
    let candidates = held[from].iter().enumerate().rev();
    // All partitions of a topic have the same readers, so one of each is enough.
    let first_of_topic = candidates.filter(|(_, (topic, _))| seen.insert(topic.as_str()));
    let best = first_of_topic.filter_map(|(at, (topic, _))| {
        let to = readers.get(topic.as_str())?.iter().copied().min_by_key(|member| held[*member].len())?;
        (held[to].len() + 2 <= load).then_some((held[to].len(), at, to))
    });
    best.min().map(|(_, at, to)| (at, to))
}

/// In order of topic and number.
fn partitions(topics: &Topics, mut wanted: impl FnMut(&str) -> bool) -> Vec<PartitionKey> {
    let wanted = topics.iter().filter(|(topic, _)| wanted(topic));
    wanted.flat_map(|(topic, racks)| (0..racks.len() as i32).map(|index| (topic.clone(), index))).collect()
}

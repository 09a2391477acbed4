//! Range: each topic on its own, its partitions in order, its members in order, a run of partitions to each.
//!
//! Where members say their rack and replicas are not everywhere, partitions go first to members in a rack of theirs
//! (KIP-881), within the same bounds; topics with equal members and equally many partitions stay aligned.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignment, Member, Racks, Topics, in_order, nothing};

/// One topic while it is shared out.
struct Sharing<'a> {
    topic: &'a str,
    racks: &'a Racks,
    /// In order.
    members: Vec<&'a Member>,
    taken: Vec<usize>,
    /// Partitions that nobody has yet, in order.
    left: BTreeSet<usize>,
    per_member: usize,
    /// Members that may still have one more than the others.
    extra: usize,
    minds_racks: bool,
}

pub(super) fn assign(topics: &Topics, members: &[Member]) -> Assignment {
    let ordered = in_order(members);
    let mut sharings: Vec<Sharing<'_>> = topics
        .iter()
        .filter(|(_, racks)| !racks.is_empty())
        .map(|(topic, racks)| Sharing::new(topic, racks, &ordered))
        .filter(|sharing| !sharing.members.is_empty())
        .collect();
    let mut assignment = nothing(members);
    if sharings.iter().any(|sharing| sharing.minds_racks) {
        match_racks(&mut sharings, &mut assignment);
    }
    for sharing in &mut sharings {
        sharing.share(&mut assignment, |_, _| true);
    }
    assignment.values_mut().for_each(|partitions| partitions.sort());
    assignment
}

/// Topics with the same members and equally many partitions are matched together.
fn match_racks(sharings: &mut [Sharing<'_>], assignment: &mut Assignment) {
    let mut alike: BTreeMap<(Vec<String>, usize), Vec<usize>> = BTreeMap::new();
    for (at, sharing) in sharings.iter().enumerate() {
        let ids = sharing.members.iter().map(|member| member.id.clone()).collect();
        // Partitions count only where somebody says a rack: Kafka keeps no racks of the others.
        let partitions = if sharing.has_racks() { sharing.racks.len() } else { 0 };
        alike.entry((ids, partitions)).or_default().push(at);
    }
    for ((_, partitions), alike) in alike {
        match alike[..] {
            [only] if sharings[only].minds_racks => {
                let racks = sharings[only].racks;
                sharings[only].share(assignment, |member, partition| suits(member, &racks[partition]));
            }
            [_] => {}
            _ => match_together(sharings, &alike, partitions, assignment),
        }
    }
}

/// Gives each partition index, in all of these topics at once, to the first member that suits all of them.
fn match_together(
    sharings: &mut [Sharing<'_>],
    alike: &[usize],
    partitions: usize,
    assignment: &mut Assignment,
) {
    let mut waiting: Vec<usize> = (0..sharings[alike[0]].members.len()).collect();
    for partition in 0..partitions {
        let fits = |member: &usize| {
            alike.iter().all(|at| {
                let sharing = &sharings[*at];
                suits(sharing.members[*member], &sharing.racks[partition]) && sharing.room(*member) > 0
            })
        };
        let Some(member) = waiting.iter().copied().find(fits) else { continue };
        for at in alike {
            sharings[*at].give(member, &[partition], assignment);
        }
        if alike.iter().all(|at| sharings[*at].room(member) == 0) {
            waiting.retain(|other| *other != member);
        }
    }
}

/// A member without a rack suits every partition.
fn suits(member: &Member, racks: &BTreeSet<String>) -> bool {
    member.rack.as_ref().is_none_or(|rack| racks.contains(rack))
}

impl<'a> Sharing<'a> {
    fn new(topic: &'a str, racks: &'a Racks, ordered: &[&'a Member]) -> Self {
        let members: Vec<&Member> =
            ordered.iter().copied().filter(|member| member.topics.contains(topic)).collect();
        let count = members.len().max(1);
        let mut sharing = Self {
            topic,
            racks,
            taken: vec![0; members.len()],
            left: (0..racks.len()).collect(),
            per_member: racks.len() / count,
            extra: racks.len() % count,
            minds_racks: false,
            members,
        };
        sharing.minds_racks = sharing.racks_matter();
        sharing
    }

    fn has_racks(&self) -> bool {
        self.members.iter().any(|member| member.rack.is_some())
    }

    /// Whether some member is in a rack of the topic, and some partition is not in all of them.
    fn racks_matter(&self) -> bool {
        let all: BTreeSet<&String> = self.racks.iter().flatten().collect();
        let is_known = |member: &&Member| member.rack.as_ref().is_some_and(|rack| all.contains(rack));
        self.members.iter().any(is_known) && self.racks.iter().any(|racks| racks.len() < all.len())
    }

    /// How many more a member may have.
    fn room(&self, member: usize) -> usize {
        (self.per_member + usize::from(self.extra > 0)).saturating_sub(self.taken[member])
    }

    fn share(&mut self, assignment: &mut Assignment, may: impl Fn(&Member, usize) -> bool) {
        for member in 0..self.members.len() {
            let free = self.left.iter().copied().filter(|partition| may(self.members[member], *partition));
            let run: Vec<usize> = free.take(self.room(member)).collect();
            self.give(member, &run, assignment);
        }
    }

    fn give(&mut self, member: usize, partitions: &[usize], assignment: &mut Assignment) {
        if partitions.is_empty() {
            return;
        }
        self.taken[member] += partitions.len();
        if self.taken[member] > self.per_member {
            self.extra -= 1;
        }
        let all = assignment.get_mut(&self.members[member].id).expect("every member is in it");
        for partition in partitions {
            self.left.remove(partition);
            all.push((self.topic.to_owned(), *partition as i32));
        }
    }
}

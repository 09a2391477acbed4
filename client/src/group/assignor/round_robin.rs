//! Round robin: all partitions in order of topic and number, each to the next member that reads its topic.

use super::{Assignment, Member, Topics, in_order, nothing};

pub(super) fn assign(topics: &Topics, members: &[Member]) -> Assignment {
    let ordered = in_order(members);
    let mut assignment = nothing(members);
    let mut next = 0;
    for (topic, racks) in topics {
        if !ordered.iter().any(|member| member.topics.contains(topic)) {
            continue;
        }
        for partition in 0..racks.len() {
            // The one that was passed over is not asked again before its turn comes.
            while !ordered[next].topics.contains(topic) {
                next = (next + 1) % ordered.len();
            }
            let partitions = assignment.get_mut(&ordered[next].id).expect("every member is in it");
            partitions.push((topic.clone(), partition as i32));
            next = (next + 1) % ordered.len();
        }
    }
    assignment
}

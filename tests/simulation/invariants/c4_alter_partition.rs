//! C4: an AlterPartition that changed something came from the leader, of the state it changed, and named members that
//! were alive under the epochs it named. One that named others is refused, and the state stated again under a new epoch.

use milena_state::metadata::{Command, Partition};

use crate::controller::{Change, Controller, TOPIC_ID};
use crate::oracle::{Checked, violated};

pub fn check(change: &Change, controller: &Controller) -> Checked {
    let Command::AlterPartition(command) = &change.command else { return Ok(()) };
    for proposal in &command.partitions {
        let before = change.before.partition(TOPIC_ID, proposal.partition_id);
        let (Some(before), Some(after)) = (before, controller.partition(proposal.partition_id)) else {
            continue;
        };
        if before == after {
            continue;
        }
        let sender = change.before.broker(command.broker_id);
        let alive = |(id, epoch): &(i32, i64)| {
            let broker = change.before.broker(*id);
            broker.is_some_and(|b| {
                !b.fenced && !b.in_controlled_shutdown && [-1, b.broker_epoch].contains(epoch)
            })
        };
        let all_alive = proposal.new_isr.iter().all(alive);
        let stated = Partition { partition_epoch: before.partition_epoch + 1, ..Partition::clone(before) };
        let fits = sender.is_some_and(|broker| broker.broker_epoch == command.broker_epoch)
            && before.leader == Some(command.broker_id)
            && proposal.leader_epoch == before.leader_epoch
            && proposal.partition_epoch == before.partition_epoch
            && if all_alive { is_proposed(after, &proposal.new_isr) } else { **after == stated };
        if !fits {
            return violated("C4", format!("{proposal:?} made {after:?} of {before:?}"));
        }
    }
    Ok(())
}

/// The proposal may complete a reassignment, and then replicas go that it names.
fn is_proposed(after: &Partition, proposed: &[(i32, i64)]) -> bool {
    let stay = proposed.iter().map(|(id, _)| id).filter(|id| after.replicas.contains(id));
    after.isr.iter().eq(stay)
}

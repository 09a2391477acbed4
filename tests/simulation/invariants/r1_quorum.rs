//! R1: while the leader may commit, its maximal ISR holds everybody whom the controller may elect.

use milena_state::metadata::Partition;
use milena_state::partition::isr::effective_min_isr;

use crate::oracle::{Checked, View, violated};
use crate::parameters::Parameters;

pub fn check(index: i32, partition: &Partition, view: &View<'_>, parameters: &Parameters) -> Checked {
    let Some(id) = partition.leader else { return Ok(()) };
    let process = view.brokers.get(&id).and_then(|broker| broker.process.as_ref());
    let leader = process.and_then(|process| process.replicas.get(&index)?.leader());
    let Some(leader) = leader.filter(|leader| leader.leader_epoch() == partition.leader_epoch) else {
        return Ok(());
    };
    if leader.isr().len() < effective_min_isr(parameters.min_isr, partition.replicas.len()) {
        return Ok(());
    }
    let maximal: Vec<i32> = leader.maximal_isr().collect();
    let electable = partition.isr.iter().chain(&partition.eligible_leader_replicas);
    let missing: Vec<i32> = electable.copied().filter(|id| !maximal.contains(id)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    violated(
        "R1",
        format!("partition {index}: leader {id} counts on {maximal:?}, without {missing:?} of {partition:?}"),
    )
}

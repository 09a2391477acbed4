//! R2: every running member of the ISR and every running eligible leader holds all that is committed.

use milena_state::metadata::Partition;

use crate::oracle::{Checked, Truth, View, violated};

pub fn check(index: i32, truth: &Truth, partition: &Partition, view: &mut View<'_>) -> Checked {
    for id in partition.isr.iter().chain(&partition.eligible_leader_replicas) {
        let registered = view.controller.image.broker(*id).map(|broker| broker.broker_epoch);
        let Some(process) = view.brokers.get_mut(id).and_then(|broker| broker.process.as_mut()) else {
            continue;
        };
        // A new process of this id has not registered yet: the one that is meant here is dead.
        if process.epoch.is_none() || process.epoch != registered {
            continue;
        }
        let Some(replica) = process.replicas.get_mut(&index) else { continue };
        truth.agree(replica);
        if replica.agreed < truth.committed.len() {
            let (has, of) = (replica.agreed, truth.committed.len());
            let end = replica.log_end_offset();
            let what = format!(
                "partition {index}: broker {id} has {has} of {of} committed records and ends at {end}, but may lead: {partition:?}"
            );
            return violated("R2", what);
        }
    }
    Ok(())
}

//! R3: the leader of the present leader epoch holds all that is committed.

use milena_state::metadata::Partition;

use crate::oracle::{Checked, Truth, View, violated};

pub fn check(index: i32, truth: &Truth, partition: &Partition, view: &mut View<'_>) -> Checked {
    let Some(id) = partition.leader else { return Ok(()) };
    let Some(process) = view.brokers.get_mut(&id).and_then(|broker| broker.process.as_mut()) else {
        return Ok(());
    };
    let Some(replica) = process.replicas.get_mut(&index) else { return Ok(()) };
    if replica.leader().is_none_or(|leader| leader.leader_epoch() != partition.leader_epoch) {
        return Ok(());
    }
    truth.agree(replica);
    if replica.agreed < truth.committed.len() {
        let (has, of) = (replica.agreed, truth.committed.len());
        return violated("R3", format!("partition {index}: leader {id} has {has} of {of} committed records"));
    }
    Ok(())
}

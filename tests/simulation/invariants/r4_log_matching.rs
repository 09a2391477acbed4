//! R4: at one offset there is one committed record, whichever leader committed it, and leader epochs never go back in it.

use crate::broker::replica::Replica;
use crate::oracle::{Checked, Truth, violated};

/// A leader says that everything below its high watermark is committed.
pub fn commit(truth: &mut Truth, replica: &Replica, leader_epoch: i32, high_watermark: i64) -> Checked {
    let upto = high_watermark as usize;
    if !truth.counts(leader_epoch) {
        return Ok(());
    }
    if replica.agreed < truth.committed.len().min(upto) {
        let at = replica.agreed;
        let what = format!(
            "partition {}: the leader of epoch {leader_epoch} commits {upto} records, and its record {at} is {:?} instead of {:?}",
            replica.partition, replica.shadow[at], truth.committed[at]
        );
        return violated("R4", what);
    }
    for cell in replica.shadow.get(truth.committed.len()..upto).unwrap_or_default() {
        if truth.committed.last().is_some_and(|last| last.leader_epoch > cell.leader_epoch) {
            return violated(
                "R4",
                format!("partition {}: {cell:?} is of an earlier epoch", replica.partition),
            );
        }
        truth.committed.push(*cell);
    }
    Ok(())
}

//! C5: blocks of producer ids never overlap.

use milena_state::metadata::Record;
use milena_state::metadata::producer_ids::BLOCK_SIZE;

use crate::controller::Change;
use crate::oracle::{Checked, Oracle, violated};

pub fn check(oracle: &mut Oracle, change: &Change) -> Checked {
    for record in &change.entry.records {
        let Record::ProducerIds(block) = record else { continue };
        let first = block.next_producer_id - i64::from(BLOCK_SIZE);
        if first < oracle.next_producer_id {
            let what = format!("the block from {first} overlaps ids below {}", oracle.next_producer_id);
            return violated("C5", what);
        }
        oracle.next_producer_id = block.next_producer_id;
    }
    Ok(())
}

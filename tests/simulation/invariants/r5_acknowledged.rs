//! R5: what was acknowledged with `acks=all` is committed, at the offset that was named, and committed records stay.

use crate::oracle::{Checked, Truth, violated};

pub fn check(truth: &Truth, partition: i32, base_offset: i64, values: &[u64]) -> Checked {
    // Records may be lost by unclean elections; then their leader may have been overruled before it answered.
    if truth.lost_some {
        return Ok(());
    }
    let from = base_offset as usize;
    let found = truth.committed.get(from..from + values.len());
    if found.is_some_and(|cells| cells.iter().map(|cell| cell.value).eq(values.iter().copied())) {
        return Ok(());
    }
    let what =
        format!("partition {partition}: {values:x?} were acknowledged at {base_offset}, found is {found:x?}");
    violated("R5", what)
}

//! R6: high watermarks tell the truth: what is below them is committed, and readers never see it change.

use crate::broker::Cell;
use crate::broker::replica::Replica;
use crate::oracle::{Checked, Truth, violated};

pub fn check(truth: &Truth, broker_id: i32, replica: &Replica) -> Checked {
    let (high_watermark, end) = (replica.high_watermark, replica.log_end_offset());
    if high_watermark > end || replica.log.last_stable_offset() > end {
        return violated("R6", format!("broker {broker_id}: high watermark {high_watermark} is above {end}"));
    }
    if !truth.counts(replica.leader_epoch()) || truth.lost_some {
        return Ok(());
    }
    if (replica.agreed as i64) < high_watermark {
        let what = format!(
            "partition {}: broker {broker_id} has high watermark {high_watermark}, and {} committed records of {}",
            replica.partition,
            replica.agreed,
            truth.committed.len()
        );
        return violated("R6", what);
    }
    Ok(())
}

/// A consumer was given records.
pub fn check_read(truth: &Truth, broker_id: i32, leader_epoch: i32, offset: i64, cells: &[Cell]) -> Checked {
    if !truth.counts(leader_epoch) || truth.lost_some {
        return Ok(());
    }
    let from = offset as usize;
    let committed = truth.committed.get(from..from + cells.len());
    if committed == Some(cells) {
        return Ok(());
    }
    let what =
        format!("broker {broker_id} gave {cells:x?} at {offset} to a consumer, committed is {committed:x?}");
    violated("R6", what)
}

/// What is said to be the end never goes back from one leader to the next (KIP-207).
pub fn check_latest(truth: &mut Truth, consumer: u32, leader_epoch: i32, latest: i64) -> Checked {
    if truth.lost_some {
        return Ok(());
    }
    match truth.told_latest.get(&consumer).copied() {
        Some((epoch, told)) if leader_epoch > epoch && latest < told => {
            let what = format!("the end was {told} in epoch {epoch}, and {latest} in epoch {leader_epoch}");
            violated("R6", what)
        }
        Some((epoch, told)) if leader_epoch < epoch || (leader_epoch == epoch && latest < told) => Ok(()),
        Some(_) | None => {
            truth.told_latest.insert(consumer, (leader_epoch, latest));
            Ok(())
        }
    }
}

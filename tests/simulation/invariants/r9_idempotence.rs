//! R9: what an idempotent producer sent is committed once each and in order, across all changes of leaders.

use crate::oracle::{Checked, Oracle, Truth, violated};

pub fn check(oracle: &mut Oracle) -> Checked {
    let idempotent = &oracle.idempotent;
    for (partition, truth) in &mut oracle.truths {
        while let Some(cell) = truth.committed.get(truth.counted) {
            let (producer, number) = ((cell.value >> 32) as u32, cell.value as u32);
            truth.counted += 1;
            if !idempotent.contains(&producer) || truth.lost_some {
                continue;
            }
            let expected = truth.producers.insert(producer, number + 1).unwrap_or(0);
            if number != expected {
                return found(truth, *partition, producer, number, expected);
            }
        }
    }
    Ok(())
}

fn found(truth: &Truth, partition: i32, producer: u32, number: u32, expected: u32) -> Checked {
    let offset = truth.counted - 1;
    let what = format!(
        "partition {partition}: record {number} of producer {producer} is committed at {offset} where {expected} belongs"
    );
    violated("R9", what)
}

//! C2: the epochs of a partition only rise, and one broker leads in each leader epoch.

use crate::controller::{Change, Controller, TOPIC_ID};
use crate::oracle::{Checked, Truth, violated};

pub fn check(change: &Change, controller: &Controller) -> Checked {
    let Some(topic) = change.before.topic(TOPIC_ID) else { return Ok(()) };
    for (index, before) in topic.partitions.iter().enumerate() {
        let Some(after) = controller.partition(index as i32) else { continue };
        let rises = after.partition_epoch > before.partition_epoch;
        let fits = after == before
            || (rises
                && after.leader_epoch >= before.leader_epoch
                && (after.leader == before.leader || after.leader_epoch > before.leader_epoch));
        if !fits {
            return violated("C2", format!("partition {index}: {after:?} follows {before:?}"));
        }
    }
    Ok(())
}

/// A broker takes up a leadership.
pub fn check_leader(truth: &mut Truth, partition: i32, leader_epoch: i32, broker_id: i32) -> Checked {
    let leader = *truth.leaders.entry(leader_epoch).or_insert(broker_id);
    if leader != broker_id {
        let what = format!("partition {partition}: {leader} and {broker_id} lead in epoch {leader_epoch}");
        return violated("C2", what);
    }
    Ok(())
}

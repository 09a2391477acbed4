//! Which replica serves: a consumer near to a follower (KIP-392), and which offset all replicas begin at.

use super::Leader;

impl Leader {
    /// The follower that a consumer in `rack` should read from instead of us: of those in its rack that are in sync
    /// and have the offset, the one that has most, then the one that was caught up last. None when the leader is in
    /// that rack itself, or nobody is. That is Kafka's `RackAwareReplicaSelector`.
    pub fn preferred_replica<'a>(
        &self,
        rack: &str,
        fetch_offset: i64,
        rack_of: impl Fn(i32) -> Option<&'a str>,
    ) -> Option<i32> {
        if rack.is_empty() || rack_of(self.broker_id) == Some(rack) {
            return None;
        }
        let fits = self.followers.iter().filter(|follower| {
            let has_offset = follower.log_start_offset <= fetch_offset
                && follower.log_end_offset.is_some_and(|end| end >= fetch_offset);
            has_offset && self.isr.contains(follower.broker_id) && rack_of(follower.broker_id) == Some(rack)
        });
        fits.max_by_key(|follower| (follower.log_end_offset, follower.last_caught_up_ms, follower.broker_id))
            .map(|follower| follower.broker_id)
    }

    /// The lowest log start offset of ours, which is given, and of the followers that are alive (DeleteRecords); none
    /// while one of them has not said its own.
    pub fn low_watermark(&self, log_start_offset: i64) -> Option<i64> {
        let alive = self.followers.iter().filter(|follower| follower.eligible_epoch.is_some());
        let lowest = alive.map(|follower| follower.log_start_offset).fold(log_start_offset, i64::min);
        (lowest >= 0).then_some(lowest)
    }
}

//! What an append waits for before it may be acknowledged (`acks` of Produce).

/// `acks=all`.
pub const ALL: i16 = -1;

/// What must come to pass first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    Nothing,
    /// The leader's own disk has it.
    Synced,
    /// Every in-sync replica has it.
    HighWatermark,
}

/// With `acks=0` nobody waits for an answer. A durable topic promises that whatever is acknowledged was synced, so
/// there `acks=1` waits for the leader's disk.
pub fn awaited(acks: i16, is_durable: bool) -> Awaited {
    match acks {
        ALL => Awaited::HighWatermark,
        1 if is_durable => Awaited::Synced,
        _ => Awaited::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_durable_topic_makes_acks_of_the_leader_wait() {
        let of = |acks| [awaited(acks, false), awaited(acks, true)];
        assert_eq!(of(0), [Awaited::Nothing; 2]);
        assert_eq!(of(1), [Awaited::Nothing, Awaited::Synced]);
        assert_eq!(of(ALL), [Awaited::HighWatermark; 2]);
    }
}

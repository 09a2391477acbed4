//! The settings that the machine acts on. The runtime fills them from the broker's properties.

/// A new member must join within this time, whatever its session timeout: it may be waiting for a
/// rebalance, during which it sends no heartbeats. Kafka has no property for it.
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;

/// Ids per group that are handed out and not used yet. Kafka has no limit here: each lasts as long as the
/// session timeout that its client asked for, up to half an hour.
pub const PENDING_JOINS_MAX: usize = 100_000;

/// The longest string that the protocol has.
pub const MEMBER_ID_BYTES_MAX: usize = i16::MAX as usize;

/// The shortest round of waiting for static members that are all absent. Their rebalance timeout may be 0, which would
/// keep the coordinator busy until their sessions end.
pub const ABSENT_ROUND_MS_MIN: i32 = 1_000;

/// Tombstones that one round of expiry decides; the runtime asks again for the rest.
pub const EXPIRY_RECORDS_MAX: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `group.min.session.timeout.ms`
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub members_max: usize,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_size_max: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention_ms: i64,
}

impl Default for Config {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            members_max: i32::MAX as usize,
            offset_metadata_size_max: 4096,
            offsets_retention_ms: 10_080 * 60_000,
        }
    }
}

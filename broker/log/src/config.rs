//! The settings of one log: the topic properties this crate acts on, typed.

use crate::compaction;

/// Settings of one log; shared by all partitions of a topic and replaced as a whole when they change.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `segment.jitter.ms`: each segment rolls up to this much earlier, so that partitions created together
    /// do not roll together.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: an index that would grow beyond it rolls the segment.
    pub segment_index_bytes: u32,
    /// `preallocate`: a segment reserves its full size with its first bytes.
    pub preallocate: bool,
    /// `retention.ms`; `None` keeps records for ever.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; `None` is no bound.
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy` contains `delete`. Without it only the log start offset removes segments.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: i64,
    pub compaction: compaction::Settings,
}

impl Default for Config {
    /// Kafka's defaults.
    fn default() -> Self {
        Config {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            preallocate: false,
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            delete: true,
            compact: false,
            file_delete_delay_ms: 60_000,
            producer_id_expiration_ms: 24 * 3_600_000,
            compaction: compaction::Settings::default(),
        }
    }
}

impl Config {
    /// Age at which a segment is sealed. A compacted log's records can only be cleaned when they left the active one.
    pub(crate) fn roll_ms(&self) -> i64 {
        let max_lag_ms = self.compaction.max_lag_ms;
        if self.compact && max_lag_ms > 0 { self.segment_ms.min(max_lag_ms) } else { self.segment_ms }
    }
}

//! How old records are: what lag in seconds is made of.
//!
//! No request gives the timestamp of an offset, so the batch that holds it is fetched: one for each place, the
//! smallest answer that a broker gives. Bounded in number and in time, because it is a courtesy of a list.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use crate::admin::Admin;
use crate::config::ConsumerConfig;
use crate::consumer::Fetched;
use crate::error::Result;

/// Where a record is: topic, partition and offset.
pub type RecordPlace = (String, i32, i64);

/// Places that one call looks at; the rest goes without.
const PLACES_MAX: usize = 1000;

/// Batches of one place: the first may be the marker of a transaction, which no consumer sees.
const BATCHES_PER_PLACE_MAX: usize = 4;

/// Fetches that are on their way at once.
const FETCHES_MAX: usize = 16;

/// When what has not come is given up.
const TIME_MAX: Duration = Duration::from_secs(5);

impl Admin {
    /// Timestamps of the records at some places or of the first behind them, in milliseconds since 1970, for as many
    /// as can be known soon: not beyond the end, not without a leader, not of more than the first 1000.
    pub async fn timestamps_at(&self, places: &BTreeSet<RecordPlace>) -> BTreeMap<RecordPlace, i64> {
        let fetches = places.iter().take(PLACES_MAX).cloned().map(|place| {
            let admin = self.clone();
            async move {
                let (topic, partition, offset) = &place;
                let timestamp = admin.timestamp_at(topic, *partition, *offset).await.ok().flatten();
                timestamp.map(|timestamp| (place, timestamp))
            }
        });
        let mut found = BTreeMap::new();
        let mut fetches = stream::iter(fetches).buffer_unordered(FETCHES_MAX);
        let gathering = async {
            while let Some(fetched) = fetches.next().await {
                found.extend(fetched);
            }
        };
        // What came in time is kept.
        let _ = tokio::time::timeout(TIME_MAX, gathering).await;
        found
    }

    async fn timestamp_at(&self, topic: &str, partition: i32, offset: i64) -> Result<Option<i64>> {
        // A broker answers with one whole batch however little is asked for.
        let config = ConsumerConfig {
            fetch_max_wait: Duration::ZERO,
            fetch_max_bytes: 1,
            max_partition_fetch_bytes: 1,
            ..ConsumerConfig::default()
        };
        let mut next = offset;
        for _ in 0..BATCHES_PER_PLACE_MAX {
            let fetched = Fetched::once(&self.cluster, &config, topic, partition, next).await?;
            let mut timestamp = None;
            fetched.for_each(false, &mut Vec::new(), |record| {
                timestamp = Some(record.timestamp);
                false
            })?;
            next = fetched.next_offset()?;
            if timestamp.is_some() || fetched.is_empty() {
                return Ok(timestamp.filter(|timestamp| *timestamp >= 0));
            }
        }
        Ok(None)
    }
}

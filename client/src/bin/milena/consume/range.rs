//! From places to offsets: what is to be read of each partition.

use std::collections::BTreeMap;

use milena_client::admin::{Admin, OffsetSpec};

use super::position::Position;
use crate::error::{Error, Result};

/// Offsets to read of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub partition: i32,
    pub start: i64,
    /// Not included; none goes on for ever.
    pub stop: Option<i64>,
}

impl Range {
    pub fn is_empty(&self) -> bool {
        self.stop.is_some_and(|stop| self.start >= stop)
    }
}

/// Where partitions begin and end.
#[derive(Debug)]
pub struct Bounds {
    topic: String,
    read_committed: bool,
    /// First and next offset by partition.
    offsets: BTreeMap<i32, (i64, i64)>,
}

impl Bounds {
    pub async fn look_up(
        admin: &Admin,
        topic: &str,
        partitions: &[i32],
        read_committed: bool,
    ) -> Result<Self> {
        let start = admin.list_offsets(topic, partitions, OffsetSpec::Earliest, read_committed).await?;
        let end = admin.list_offsets(topic, partitions, OffsetSpec::Latest, read_committed).await?;
        let start: BTreeMap<_, _> =
            start.iter().filter_map(|listed| Some((listed.partition, listed.offset?))).collect();
        let both = end.iter().filter_map(|listed| {
            let end = listed.offset?;
            Some((listed.partition, (start.get(&listed.partition).copied().unwrap_or(end), end)))
        });
        Ok(Self { topic: topic.to_owned(), read_committed, offsets: both.collect() })
    }

    fn partitions(&self) -> Vec<i32> {
        self.offsets.keys().copied().collect()
    }
}

/// What lies between `from` and `to` in each partition.
///
/// Errors: usage, when an offset to wait from lies beyond the end of a partition.
pub async fn resolve(
    bounds: &Bounds,
    admin: &Admin,
    from: Position,
    to: Option<Position>,
) -> Result<Vec<Range>> {
    let from_time = by_time(bounds, admin, Some(from)).await?;
    let to_time = by_time(bounds, admin, to).await?;
    let ranges = bounds.offsets.iter().map(|(partition, (start, end))| {
        let place = |position: Position, by_time: &BTreeMap<i32, i64>| match position {
            Position::Beginning => *start,
            Position::End => *end,
            Position::Offset(offset) => offset,
            Position::Last(count) => (*end).saturating_sub(count),
            // Nothing is that young: only what comes.
            Position::Time(_) => by_time.get(partition).copied().unwrap_or(*end),
        };
        let first = place(from, &from_time).max(*start);
        // What is not there yet is not waited for, unless the range has no end.
        let stop = to.map(|to| place(to, &to_time).min(*end));
        if stop.is_none() && first > *end {
            let topic = &bounds.topic;
            return Err(Error::Usage(format!(
                "{topic}-{partition} ends at offset {end}, so it cannot be read from {first}"
            )));
        }
        Ok(Range { partition: *partition, start: first, stop })
    });
    ranges.collect()
}

/// Offsets of the first record at or after a time; partitions without one are left out.
async fn by_time(bounds: &Bounds, admin: &Admin, position: Option<Position>) -> Result<BTreeMap<i32, i64>> {
    let Some(Position::Time(timestamp)) = position else { return Ok(BTreeMap::new()) };
    // Negative timestamps are questions of another kind to ListOffsets.
    let spec = OffsetSpec::At(timestamp.max(0));
    let listed = admin.list_offsets(&bounds.topic, &bounds.partitions(), spec, bounds.read_committed).await?;
    Ok(listed.iter().filter_map(|listed| Some((listed.partition, listed.offset?))).collect())
}

#[cfg(test)]
mod tests {
    use milena_client::{ClientConfig, Cluster};

    use super::*;

    /// Ranges of a partition that holds offsets 10 to 19. No place here needs the cluster.
    fn check(from: Position, to: Option<Position>, expected: Result<(i64, Option<i64>), ()>) {
        let bounds = Bounds { topic: "t".to_owned(), read_committed: false, offsets: [(0, (10, 20))].into() };
        let admin = Admin::new(Cluster::new(ClientConfig::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let resolved = runtime.block_on(resolve(&bounds, &admin, from, to));
        let found = resolved.map(|ranges| (ranges[0].start, ranges[0].stop)).map_err(drop);
        assert_eq!(found, expected, "{from:?} to {to:?}");
    }

    #[test]
    fn ranges_stay_within_what_is_there() {
        use Position::{Beginning, End, Last, Offset};
        check(Beginning, Some(End), Ok((10, Some(20))));
        check(Offset(3), Some(Offset(15)), Ok((10, Some(15))));
        check(Offset(12), Some(Offset(99)), Ok((12, Some(20))));
        check(Last(3), Some(End), Ok((17, Some(20))));
        check(Last(99), Some(End), Ok((10, Some(20))));
        check(End, None, Ok((20, None)));
        check(Beginning, None, Ok((10, None)));
    }

    #[test]
    fn an_offset_beyond_the_end_is_empty_or_an_error() {
        check(Position::Offset(25), Some(Position::End), Ok((25, Some(20))));
        check(Position::Offset(25), None, Err(()));
    }
}

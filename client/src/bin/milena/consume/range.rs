//! From places to offsets and times: what is to be read of each partition.
//!
//! Offsets bound what is fetched, times are a filter on top. Producers choose timestamps, so records that match may lie
//! behind others that do not: the first young enough record begins the scan, and only the partition's end ends it.

use std::collections::BTreeMap;

use milena_client::admin::{Admin, OffsetSpec};

use super::position::Position;
use crate::error::{Error, Result};
use crate::time;

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

/// Which timestamps are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    from: Option<i64>,
    /// Not included.
    to: Option<i64>,
}

impl Times {
    pub fn new(from: Position, to: Option<Position>) -> Self {
        let time = |position| match position {
            Position::Time(timestamp) => Some(timestamp),
            _ => None,
        };
        Self { from: time(from), to: to.and_then(time) }
    }

    pub fn contain(&self, timestamp: i64) -> bool {
        self.from.is_none_or(|from| timestamp >= from) && self.to.is_none_or(|to| timestamp < to)
    }
}

/// Errors: usage, for two places between which no partition can have anything.
pub fn check(from: Position, to: Option<Position>) -> Result<()> {
    use Position::{Beginning, End, Last, Offset, Time};
    let (is_empty, places) = match (from, to) {
        (End, Some(End)) => {
            let message = "there is nothing from the end to the end; --follow waits for new records";
            return Err(Error::Usage(message.to_owned()));
        }
        (_, Some(Beginning)) => (true, "the beginning of the topic".to_owned()),
        (Offset(from), Some(Offset(to))) => (from >= to, format!("offset {to}, and --from is {from}")),
        (Last(from), Some(Last(to))) => (from <= to, format!("{to} before the end, and --from is {from}")),
        (Time(from), Some(Time(to))) => {
            (from >= to, format!("{}, and --from is {}", time::format(to), time::format(from)))
        }
        _ => (false, String::new()),
    };
    if is_empty { Err(Error::Usage(format!("nothing lies before --to, which is {places}"))) } else { Ok(()) }
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

/// The offsets in which to look for what lies between `from` and `to` in each partition; see [`Times`] for the rest.
///
/// Errors: usage, when `from` is an offset beyond the end of every partition, or, to wait there, of any: the offset
/// next to be written is the last from which there may be something to read.
pub async fn resolve(
    bounds: &Bounds,
    admin: &Admin,
    from: Position,
    to: Option<Position>,
) -> Result<Vec<Range>> {
    let from_time = by_time(bounds, admin, from).await?;
    reaches(bounds, from, to.is_none())?;
    let ranges = bounds.offsets.iter().map(|(partition, (start, end))| {
        let first = match from {
            Position::Beginning => *start,
            Position::End => *end,
            Position::Offset(offset) => offset,
            Position::Last(count) => (*end).saturating_sub(count),
            // Nothing is that young: only what comes.
            Position::Time(_) => from_time.get(partition).copied().unwrap_or(*end),
        };
        // What is not there yet is not waited for, unless the range has no end.
        let stop = to.map(|to| match to {
            Position::Beginning => *start,
            Position::Offset(offset) => offset.min(*end),
            Position::Last(count) => (*end).saturating_sub(count),
            Position::End | Position::Time(_) => *end,
        });
        Range { partition: *partition, start: first.max(*start), stop }
    });
    Ok(ranges.collect())
}

fn reaches(bounds: &Bounds, from: Position, in_all: bool) -> Result<()> {
    let Position::Offset(from) = from else { return Ok(()) };
    let beyond = bounds.offsets.iter().filter(|(_, (_, end))| from > *end);
    let beyond: Vec<String> = beyond
        .map(|(partition, (_, end))| format!("{}-{partition} ends at offset {end}", bounds.topic))
        .collect();
    if beyond.is_empty() || !in_all && beyond.len() < bounds.offsets.len() {
        return Ok(());
    }
    Err(Error::Usage(format!("{}, so it cannot be read from {from}", beyond.join(", "))))
}

/// Offsets of the first record at or after a time; partitions without one are left out.
async fn by_time(bounds: &Bounds, admin: &Admin, position: Position) -> Result<BTreeMap<i32, i64>> {
    let Position::Time(timestamp) = position else { return Ok(BTreeMap::new()) };
    // Negative timestamps are questions of another kind to ListOffsets.
    let spec = OffsetSpec::At(timestamp.max(0));
    let listed = admin.list_offsets(&bounds.topic, &bounds.partitions(), spec, bounds.read_committed).await?;
    Ok(listed.iter().filter_map(|listed| Some((listed.partition, listed.offset?))).collect())
}

#[cfg(test)]
mod tests {
    use milena_client::{ClientConfig, Cluster};

    use super::Position::{Beginning, End, Last, Offset, Time};
    use super::*;

    /// Ranges of partitions that hold these offsets. No place here needs the cluster.
    fn resolved(offsets: &[(i64, i64)], from: Position, to: Option<Position>) -> Result<Vec<Range>> {
        let bounds = Bounds {
            topic: "t".to_owned(),
            read_committed: false,
            offsets: (0..).zip(offsets.iter().copied()).collect(),
        };
        let admin = Admin::new(Cluster::new(ClientConfig::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(resolve(&bounds, &admin, from, to))
    }

    #[test]
    fn ranges_stay_within_what_is_there() {
        let holds_10_to_19 = |from, to, expected: (i64, Option<i64>)| {
            let ranges = resolved(&[(10, 20)], from, to).expect("a range");
            assert_eq!((ranges[0].start, ranges[0].stop), expected, "{from:?} to {to:?}");
        };
        holds_10_to_19(Beginning, Some(End), (10, Some(20)));
        holds_10_to_19(Offset(3), Some(Offset(15)), (10, Some(15)));
        holds_10_to_19(Offset(12), Some(Offset(99)), (12, Some(20)));
        holds_10_to_19(Last(3), Some(End), (17, Some(20)));
        holds_10_to_19(Last(99), Some(Last(2)), (10, Some(18)));
        holds_10_to_19(End, None, (20, None));
        holds_10_to_19(Beginning, None, (10, None));
        holds_10_to_19(Beginning, Some(Time(5)), (10, Some(20)));
    }

    #[test]
    fn an_offset_beyond_every_end_is_an_error_and_the_next_one_is_not() {
        let is_fine = |offset, to| resolved(&[(0, 7), (0, 20)], Offset(offset), to).is_ok();
        assert!(is_fine(7, None) && !is_fine(8, None), "to wait there, every partition must reach it");
        assert!(is_fine(8, Some(End)) && is_fine(20, Some(End)) && !is_fine(21, Some(End)));
        let error = resolved(&[(0, 7)], Offset(99), Some(End)).expect_err("beyond the end").to_string();
        assert_eq!(error, "t-0 ends at offset 7, so it cannot be read from 99");
    }

    #[test]
    fn ranges_that_no_partition_can_fill_are_errors() {
        for (from, to) in [
            (End, End),
            (Beginning, Beginning),
            (Offset(5), Offset(2)),
            (Offset(5), Offset(5)),
            (Last(3), Last(5)),
            (Time(9), Time(8)),
        ] {
            assert!(check(from, Some(to)).is_err(), "{from:?} to {to:?}");
        }
        for (from, to) in
            [(Offset(2), Offset(5)), (Last(5), Last(3)), (Time(8), Time(9)), (Offset(2), Last(1))]
        {
            assert!(check(from, Some(to)).is_ok(), "{from:?} to {to:?}");
        }
        assert!(check(End, None).is_ok());
    }

    #[test]
    fn times_choose_whatever_the_order() {
        let chosen = |from, to| {
            let times = Times::new(from, to);
            [24, 21, 22].into_iter().filter(|timestamp| times.contain(*timestamp)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(Time(21), Some(Time(23))), [21, 22]);
        assert_eq!(chosen(Time(22), None), [24, 22]);
        assert_eq!(chosen(Beginning, Some(Time(22))), [21]);
        assert_eq!(chosen(Offset(0), Some(End)), [24, 21, 22]);
    }
}

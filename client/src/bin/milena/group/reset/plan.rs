//! From a strategy and what is known of partitions to offsets: no asking, no committing.

use std::collections::{BTreeMap, BTreeSet};

use milena_client::admin::ByPartition;
use milena_client::consumer::PartitionKey;

/// Where a group is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    Earliest,
    Latest,
    Current,
    Offset(i64),
    Shift(i64),
    /// Milliseconds since 1970.
    Time(i64),
    /// By group.
    Plan(BTreeMap<String, ByPartition<i64>>),
}

/// What is known of the partitions.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub committed: ByPartition<i64>,
    pub start: ByPartition<i64>,
    pub end: ByPartition<i64>,
    /// First records of a time; a partition that has none that young is not here.
    pub at_time: ByPartition<i64>,
}

/// What is to be committed, and what whoever asked for it should know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    pub offsets: ByPartition<i64>,
    pub warnings: Vec<String>,
}

/// Errors: why a group cannot be reset so, in the words of Kafka's tool.
pub fn plan(
    strategy: &Strategy,
    group: &str,
    partitions: &BTreeSet<PartitionKey>,
    facts: &Facts,
) -> Result<Planned, String> {
    let mut planned = Planned::default();
    for key in partitions {
        let (start, end) = bounds(facts, key)?;
        let committed = facts.committed.get(key).copied();
        let offset = match strategy {
            Strategy::Earliest => start,
            Strategy::Latest => end,
            Strategy::Current => committed.unwrap_or(end),
            Strategy::Offset(offset) => planned.within(key, *offset, start, end),
            Strategy::Shift(count) => {
                let committed = committed.ok_or_else(|| no_commit(key))?;
                planned.within(key, committed.saturating_add(*count), start, end)
            }
            Strategy::Time(_) => match facts.at_time.get(key) {
                Some(offset) => *offset,
                None => planned.too_young(key, end),
            },
            Strategy::Plan(plan) => {
                let offset = plan.get(group).and_then(|offsets| offsets.get(key));
                let offset = offset.ok_or_else(|| format!("no offset of {} for group {group}", name(key)))?;
                planned.within(key, *offset, start, end)
            }
        };
        planned.offsets.insert(key.clone(), offset);
    }
    Ok(planned)
}

fn bounds(facts: &Facts, key: &PartitionKey) -> Result<(i64, i64), String> {
    let both = facts.start.get(key).copied().zip(facts.end.get(key).copied());
    both.ok_or_else(|| format!("{} does not say where it begins and ends", name(key)))
}

fn no_commit(key: &PartitionKey) -> String {
    format!("cannot shift offset for partition {} since there is no current committed offset", name(key))
}

fn name((topic, partition): &PartitionKey) -> String {
    format!("{topic}-{partition}")
}

impl Planned {
    /// The offset, or the end of the partition that it lies beyond.
    fn within(&mut self, key: &PartitionKey, offset: i64, start: i64, end: i64) -> i64 {
        let (beyond, nearest) = match offset {
            _ if offset > end => ("higher than latest", end),
            _ if offset < start => ("lower than earliest", start),
            _ => return offset,
        };
        self.warnings.push(format!(
            "new offset ({offset}) is {beyond} offset for topic partition {}; value will be set to {nearest}",
            name(key)
        ));
        nearest
    }

    fn too_young(&mut self, (topic, partition): &PartitionKey, end: i64) -> i64 {
        self.warnings.push(format!(
            "partition {partition} of topic {topic} has no record from that time on; falling back to the latest offset"
        ));
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 10;
    const END: i64 = 100;

    fn key() -> PartitionKey {
        ("t".to_owned(), 0)
    }

    /// A partition from 10 to 100.
    fn facts(committed: Option<i64>, at_time: Option<i64>) -> Facts {
        let one = |offset: i64| ByPartition::from([(key(), offset)]);
        Facts {
            committed: committed.map(one).unwrap_or_default(),
            start: one(START),
            end: one(END),
            at_time: at_time.map(one).unwrap_or_default(),
        }
    }

    fn reset(strategy: &Strategy, facts: &Facts) -> Result<(i64, usize), String> {
        let planned = plan(strategy, "g", &BTreeSet::from([key()]), facts)?;
        Ok((planned.offsets[&key()], planned.warnings.len()))
    }

    #[test]
    fn each_strategy_has_its_offset_and_ends_hold_it() {
        let from_file =
            |offset| Strategy::Plan(BTreeMap::from([("g".to_owned(), ByPartition::from([(key(), offset)]))]));
        // Strategy, committed, first of the time, new offset, warnings.
        let cases = [
            (Strategy::Earliest, Some(50), None, START, 0),
            (Strategy::Latest, Some(50), None, END, 0),
            (Strategy::Current, Some(50), None, 50, 0),
            // Kafka's tool leaves what is committed alone, also outside of the partition.
            (Strategy::Current, Some(5), None, 5, 0),
            (Strategy::Current, None, None, END, 0),
            (Strategy::Offset(END), None, None, END, 0),
            (Strategy::Offset(END + 1), None, None, END, 1),
            (Strategy::Offset(START), None, None, START, 0),
            (Strategy::Offset(START - 1), None, None, START, 1),
            (Strategy::Offset(-5), None, None, START, 1),
            (Strategy::Shift(7), Some(50), None, 57, 0),
            (Strategy::Shift(-7), Some(50), None, 43, 0),
            (Strategy::Shift(51), Some(50), None, END, 1),
            (Strategy::Shift(-41), Some(50), None, START, 1),
            (Strategy::Shift(i64::MAX), Some(50), None, END, 1),
            (Strategy::Shift(i64::MIN), Some(50), None, START, 1),
            (Strategy::Time(0), None, Some(33), 33, 0),
            (Strategy::Time(0), Some(50), None, END, 1),
            (from_file(77), None, None, 77, 0),
            (from_file(101), None, None, END, 1),
            (from_file(-1), None, None, START, 1),
        ];
        for (strategy, committed, at_time, expected, warnings) in cases {
            let facts = facts(committed, at_time);
            assert_eq!(reset(&strategy, &facts), Ok((expected, warnings)), "{strategy:?} {facts:?}");
        }
    }

    #[test]
    fn what_is_not_committed_cannot_be_shifted() {
        let error = reset(&Strategy::Shift(1), &facts(None, None)).expect_err("nothing is committed");
        assert_eq!(error, "cannot shift offset for partition t-0 since there is no current committed offset");
    }

    #[test]
    fn warnings_say_what_was_asked_and_what_is_done() {
        let planned = plan(&Strategy::Offset(500), "g", &BTreeSet::from([key()]), &facts(None, None));
        let expected =
            "new offset (500) is higher than latest offset for topic partition t-0; value will be set to 100";
        assert_eq!(planned.expect("it can be reset").warnings, [expected]);
    }
}

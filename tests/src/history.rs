//! Judges what clients saw of a cluster that failures were put into.
//!
//! Producers write numbered records; what they were told is held against what a consumer reads afterwards. Each record
//! names its producer and its number in its value, so that a record can be found again wherever it lies. Nothing here talks
//! to a cluster: a history is data, and the tests below show that each kind of fault is found in it.
//!
//! What must hold:
//! - a record that was acknowledged is there, at the offset that the producer was told;
//! - each offset holds one record, whoever reads it and however often, and none is skipped;
//! - a producer's records lie in a partition in the order of their numbers, and each once, if it is idempotent;
//! - nothing is there that nobody sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A record by its producer and its number, which count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub producer: u32,
    pub number: u64,
}

impl Record {
    /// The value by which it is known again.
    pub fn value(self) -> String {
        format!("{}:{}", self.producer, self.number)
    }

    /// Of a value that [`value`](Self::value) made, with anything behind a blank.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (producer, number) = text.split(' ').next()?.split_once(':')?;
        Some(Self { producer: producer.parse().ok()?, number: number.parse().ok()? })
    }
}

/// A record at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    pub partition: i32,
    pub offset: i64,
    pub record: Record,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// How many records each producer has sent, acknowledged or not.
    pub sent: BTreeMap<u32, u64>,
    /// What producers were told of.
    pub acked: Vec<Placed>,
    /// What consumers read, each in its own order: one list per reader of a partition.
    pub reads: Vec<Vec<Placed>>,
    /// Whether the producers are idempotent: none of their records may be there twice.
    pub idempotent: bool,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An acknowledged record that no reader found at its offset, where it found another or none.
    Lost { acked: Placed, found: Option<Record> },
    /// Two readers, or one twice, found different records at one offset.
    Changed { first: Placed, second: Placed },
    /// Two records were acknowledged at the same place.
    AckedTwice { first: Placed, second: Placed },
    /// A reader got an offset again, or an earlier one.
    Backwards { partition: i32, after: i64, offset: i64 },
    /// A reader missed offsets between two that it got.
    Gap { partition: i32, from: i64, to: i64 },
    /// A record of an idempotent producer lies at two places.
    Duplicate { first: Placed, second: Placed },
    /// A producer's record lies behind a later one of it.
    OutOfOrder { before: Placed, after: Placed },
    /// A record that its producer has not sent.
    Invented(Placed),
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} at {}@{}", self.record.producer, self.record.number, self.partition, self.offset)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Lost { acked, found: None } => write!(f, "{acked} was acknowledged and is not there"),
            Fault::Lost { acked, found: Some(found) } => {
                write!(f, "{acked} was acknowledged, but {}:{} is there", found.producer, found.number)
            }
            Fault::Changed { first, second } => write!(f, "{first} was read, and then {second}"),
            Fault::AckedTwice { first, second } => write!(f, "{first} and {second} were both acknowledged"),
            Fault::Backwards { partition, after, offset } => {
                write!(f, "a reader of {partition} got offset {offset} after {after}")
            }
            Fault::Gap { partition, from, to } => {
                write!(f, "a reader of {partition} got no offset from {from} to before {to}")
            }
            Fault::Duplicate { first, second } => write!(f, "{first} is there again: {second}"),
            Fault::OutOfOrder { before, after } => write!(f, "{after} lies behind {before}"),
            Fault::Invented(placed) => write!(f, "nobody sent {placed}"),
        }
    }
}

/// Faults that a failed test shows; thousands of one kind say no more than the first.
const SHOWN_MAX: usize = 20;

impl History {
    /// Panics when something is wrong, with the first faults and `context`.
    pub fn assert_sound(&self, context: &str) {
        let faults = self.faults();
        if faults.is_empty() {
            return;
        }
        let shown: Vec<String> = faults.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
        panic!("{context}: {} faults in the history, the first:\n{}", faults.len(), shown.join("\n"));
    }

    /// All that is wrong.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let log = self.log(&mut faults);
        self.check_readers(&mut faults);
        self.check_acked(&log, &mut faults);
        self.check_order(&log, &mut faults);
        self.check_invented(&log, &mut faults);
        faults
    }

    /// What lies where, as all readers together saw it.
    fn log(&self, faults: &mut Vec<Fault>) -> BTreeMap<(i32, i64), Record> {
        let mut log: BTreeMap<(i32, i64), Record> = BTreeMap::new();
        for read in self.reads.iter().flatten() {
            let there = *log.entry((read.partition, read.offset)).or_insert(read.record);
            if there != read.record {
                faults.push(Fault::Changed { first: Placed { record: there, ..*read }, second: *read });
            }
        }
        log
    }

    /// Offsets of one reader go up by one. No log here is compacted, and none has control batches.
    fn check_readers(&self, faults: &mut Vec<Fault>) {
        for reads in &self.reads {
            let mut last: BTreeMap<i32, i64> = BTreeMap::new();
            for Placed { partition, offset, .. } in reads.iter().copied() {
                match last.insert(partition, offset) {
                    Some(after) if offset <= after => {
                        faults.push(Fault::Backwards { partition, after, offset });
                    }
                    Some(after) if offset > after + 1 => {
                        faults.push(Fault::Gap { partition, from: after + 1, to: offset });
                    }
                    _ => {}
                }
            }
        }
    }

    fn check_acked(&self, log: &BTreeMap<(i32, i64), Record>, faults: &mut Vec<Fault>) {
        let mut places: BTreeMap<(i32, i64), Record> = BTreeMap::new();
        for acked in &self.acked {
            let place = (acked.partition, acked.offset);
            if let Some(record) = places.insert(place, acked.record)
                && record != acked.record
            {
                faults.push(Fault::AckedTwice { first: Placed { record, ..*acked }, second: *acked });
            }
            let found = log.get(&place).copied();
            if found != Some(acked.record) {
                faults.push(Fault::Lost { acked: *acked, found });
            }
        }
    }

    /// Walks each partition in the order of its offsets. A producer that is not idempotent may send again what is there
    /// already, so only what it numbers for the first time must go up.
    fn check_order(&self, log: &BTreeMap<(i32, i64), Record>, faults: &mut Vec<Fault>) {
        let mut first_at: BTreeMap<Record, Placed> = BTreeMap::new();
        let mut newest: BTreeMap<(i32, u32), Placed> = BTreeMap::new();
        for ((partition, offset), record) in log {
            let placed = Placed { partition: *partition, offset: *offset, record: *record };
            if let Some(first) = first_at.get(record) {
                if self.idempotent {
                    faults.push(Fault::Duplicate { first: *first, second: placed });
                }
                continue;
            }
            first_at.insert(*record, placed);
            let newest = newest.entry((*partition, record.producer)).or_insert(placed);
            if newest.record.number > record.number {
                faults.push(Fault::OutOfOrder { before: *newest, after: placed });
            } else {
                *newest = placed;
            }
        }
    }

    fn check_invented(&self, log: &BTreeMap<(i32, i64), Record>, faults: &mut Vec<Fault>) {
        for ((partition, offset), record) in log {
            let sent = self.sent.get(&record.producer).copied().unwrap_or(0);
            if record.number >= sent {
                faults.push(Fault::Invented(Placed {
                    partition: *partition,
                    offset: *offset,
                    record: *record,
                }));
            }
        }
    }

    /// Numbers of a producer that were acknowledged.
    pub fn acked_by(&self, producer: u32) -> BTreeSet<u64> {
        let own = self.acked.iter().filter(|acked| acked.record.producer == producer);
        own.map(|acked| acked.record.number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32, offset: i64, producer: u32, number: u64) -> Placed {
        Placed { partition, offset, record: Record { producer, number } }
    }

    /// Two producers and two partitions; what was acknowledged is what is there, but for one unacknowledged record.
    fn sound() -> History {
        let log = [at(0, 0, 1, 0), at(0, 1, 2, 0), at(0, 2, 1, 2), at(1, 0, 1, 1), at(1, 1, 2, 1)];
        History {
            sent: [(1, 3), (2, 2)].into(),
            acked: vec![log[0], log[1], log[2], log[3]],
            reads: vec![log[..3].to_vec(), log[3..].to_vec(), log.to_vec()],
            idempotent: true,
        }
    }

    /// What is found after a change of the sound history.
    fn faults(change: impl FnOnce(&mut History)) -> Vec<Fault> {
        let mut history = sound();
        change(&mut history);
        history.faults()
    }

    #[test]
    fn a_sound_history_has_no_fault() {
        assert_eq!(sound().faults(), []);
        sound().assert_sound("it is sound");
        assert_eq!(sound().acked_by(1), [0, 1, 2].into());
    }

    #[test]
    fn an_acknowledged_record_that_is_gone_is_lost() {
        let acked = at(0, 2, 1, 2);
        // Truncated at the end, where no gap shows.
        let found = faults(|history| {
            history.reads.iter_mut().for_each(|reads| reads.retain(|read| *read != acked));
        });
        assert_eq!(found, [Fault::Lost { acked, found: None }]);
    }

    #[test]
    fn an_acknowledged_record_that_another_took_the_place_of_is_lost() {
        let other = at(0, 2, 2, 1);
        let found = faults(|history| {
            history.reads = vec![vec![at(0, 0, 1, 0), at(0, 1, 2, 0), other], vec![at(1, 0, 1, 1)]];
        });
        assert_eq!(found, [Fault::Lost { acked: at(0, 2, 1, 2), found: Some(other.record) }]);
    }

    #[test]
    fn what_is_not_acknowledged_may_be_missing() {
        let found = faults(|history| {
            history.reads.iter_mut().for_each(|reads| reads.retain(|read| *read != at(1, 1, 2, 1)));
        });
        assert_eq!(found, []);
    }

    #[test]
    fn two_readers_that_disagree_are_noticed() {
        let second = at(1, 1, 1, 2);
        let found = faults(|history| {
            history.sent.insert(1, 9);
            history.reads.push(vec![second]);
        });
        assert_eq!(found, [Fault::Changed { first: at(1, 1, 2, 1), second }]);
    }

    #[test]
    fn one_place_cannot_be_acknowledged_for_two_records() {
        let second = at(0, 0, 2, 1);
        let found = faults(|history| history.acked.push(second));
        let lost = Fault::Lost { acked: second, found: Some(Record { producer: 1, number: 0 }) };
        assert_eq!(found, [Fault::AckedTwice { first: at(0, 0, 1, 0), second }, lost]);
    }

    #[test]
    fn a_reader_that_goes_back_or_skips_is_noticed() {
        let found = faults(|history| history.reads.push(vec![at(0, 1, 2, 0), at(0, 1, 2, 0)]));
        assert_eq!(found, [Fault::Backwards { partition: 0, after: 1, offset: 1 }]);
        let found = faults(|history| history.reads.push(vec![at(0, 0, 1, 0), at(0, 2, 1, 2)]));
        assert_eq!(found, [Fault::Gap { partition: 0, from: 1, to: 2 }]);
        // From where it begins is its own affair, and each partition is counted alone.
        let found = faults(|history| history.reads.push(vec![at(0, 2, 1, 2), at(1, 0, 1, 1)]));
        assert_eq!(found, []);
    }

    #[test]
    fn a_record_at_two_places_is_a_duplicate_of_an_idempotent_producer() {
        let (first, second) = (at(0, 1, 2, 0), at(0, 3, 2, 0));
        assert_eq!(faults(|history| history.reads[0].push(second)), [Fault::Duplicate { first, second }]);
        let found = faults(|history| {
            history.idempotent = false;
            history.reads[0].push(second);
        });
        assert_eq!(found, []);
        // Also where the second lies in another partition.
        let other = at(1, 2, 2, 0);
        assert_eq!(
            faults(|history| history.reads[1].push(other)),
            [Fault::Duplicate { first, second: other }]
        );
    }

    #[test]
    fn a_producers_records_lie_in_their_order() {
        let (before, after) = (at(1, 2, 1, 4), at(1, 3, 1, 3));
        let found = faults(|history| {
            history.sent.insert(1, 5);
            history.reads[1].extend([before, after]);
        });
        assert_eq!(found, [Fault::OutOfOrder { before, after }]);
    }

    #[test]
    fn what_nobody_sent_is_noticed() {
        for placed in [at(1, 2, 2, 2), at(1, 2, 9, 0)] {
            assert_eq!(faults(|history| history.reads[1].push(placed)), [Fault::Invented(placed)]);
        }
    }

    #[test]
    #[should_panic(expected = "after round 7: 1 faults")]
    fn a_failed_test_says_where_and_what() {
        let mut history = sound();
        history.reads[1].push(at(1, 2, 9, 0));
        history.assert_sound("after round 7");
    }

    #[test]
    fn values_are_read_back() {
        let record = Record { producer: 7, number: 1 << 40 };
        assert_eq!(Record::parse(record.value().as_bytes()), Some(record));
        assert_eq!(Record::parse(format!("{} padding", record.value()).as_bytes()), Some(record));
        for wrong in ["", "7", "7:", "a:1", "1:-1"] {
            assert_eq!(Record::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

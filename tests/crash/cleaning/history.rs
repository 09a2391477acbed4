//! Everything that was ever written to a partition, and what may be read of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::record::Record;

/// The records of a partition with one writer, from offset 0 on: index and offset are the same.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    /// Before it was sent, so that no pass can have met it earlier.
    sent: Instant,
}

/// Which tombstones must be there.
#[derive(Debug, Clone, Copy)]
pub enum Tombstones {
    All,
    /// None below this offset; above it one may be there or not.
    GoneBelow(i64),
}

type Last<'a> = BTreeMap<&'a [u8], &'a Record>;

fn last_of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Last<'a> {
    let keyed = records.into_iter().filter_map(|record| Some((record.key.as_deref()?, record)));
    keyed.collect()
}

impl History {
    pub fn end_offset(&self) -> i64 {
        self.entries.len() as i64
    }

    /// Notes records that are about to be sent.
    pub fn push(&mut self, records: impl IntoIterator<Item = Record>) {
        let sent = Instant::now();
        self.entries.extend(records.into_iter().map(|record| Entry { record, sent }));
    }

    fn below(&self, offset: i64) -> impl Iterator<Item = &Record> {
        self.entries[..usize::try_from(offset).unwrap_or(0)].iter().map(|entry| &entry.record)
    }

    /// No record is new, changed or moved.
    fn check_known(&self, found: &[Record]) -> Result<(), String> {
        for record in found {
            let written = usize::try_from(record.offset).ok().and_then(|index| self.entries.get(index));
            if written.is_none_or(|written| written.record != *record) {
                return Err(format!("read {record:?}, written was {written:?}"));
            }
        }
        match found.windows(2).find(|pair| pair[0].offset >= pair[1].offset) {
            Some(pair) => Err(format!("offset {} is followed by {}", pair[0].offset, pair[1].offset)),
            None => Ok(()),
        }
    }

    /// What holds for a reader that came from the beginning to the end while the log was cleaned: it knows the last
    /// value of every key. Tombstones it sees for `retention` after they came, and, if it was quick, each whose key it
    /// saw a value of.
    pub fn check_reader(
        &self,
        found: &[Record],
        end_offset: i64,
        began: Instant,
        retention: Duration,
    ) -> Result<(), String> {
        self.check_known(found)?;
        let (now, seen) = (Instant::now(), last_of(found));
        for (key, last) in last_of(self.below(end_offset)) {
            let seen = seen.get(key);
            if seen.is_some_and(|seen| seen.offset == last.offset) {
                continue;
            }
            let is_quick = now - began < retention / 2;
            let is_young = now < self.entries[last.offset as usize].sent + retention;
            let may_miss = last.value.is_none() && !is_young && (seen.is_none() || !is_quick);
            if !may_miss {
                let took = now - began;
                return Err(format!(
                    "a reader up to {end_offset} that took {took:?} ends with {seen:?} where {last:?} is the last"
                ));
            }
        }
        Ok(())
    }

    /// What holds of a log that is compacted below `cleaned_upto`, and nothing else is there.
    pub fn check_cleaned(
        &self,
        found: &[Record],
        cleaned_upto: i64,
        tombstones: Tombstones,
    ) -> Result<(), String> {
        self.check_known(found)?;
        let last = last_of(self.below(cleaned_upto));
        let there: BTreeSet<i64> = found.iter().map(|record| record.offset).collect();
        for (index, entry) in self.entries.iter().enumerate() {
            let (offset, record) = (index as i64, &entry.record);
            let is_last = record
                .key
                .as_deref()
                .is_some_and(|key| last.get(key).is_some_and(|last| last.offset == offset));
            let (may, must) = match tombstones {
                _ if offset >= cleaned_upto => (true, true),
                _ if !is_last => (false, false),
                _ if record.value.is_some() => (true, true),
                Tombstones::All => (true, true),
                Tombstones::GoneBelow(gone) => (offset >= gone, false),
            };
            let is_there = there.contains(&offset);
            if (is_there && !may) || (!is_there && must) {
                let word = if is_there { "there" } else { "gone" };
                return Err(format!("compacted below {cleaned_upto}, {record:?} is {word}"));
            }
        }
        Ok(())
    }
}

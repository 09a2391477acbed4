//! Reads partitions back and compares them with what was acknowledged.

use std::io;
use std::time::Duration;

use milena_tests::wait;

use crate::client::Client;
use crate::producer::{Acked, Journal, value};

const READ_LIMIT: Duration = Duration::from_secs(20);

/// Follows one partition: what was checked once is not read again until [`Checker::from_the_start`].
#[derive(Debug, Default)]
pub struct Checker {
    next_offset: i64,
    acked_index: usize,
}

impl Checker {
    /// Everything acknowledged before the call is there, once, at its offset. Errors say what is not.
    pub fn check(&mut self, port: u16, journal: &Journal) -> Result<(), String> {
        let acked: Vec<Acked> = journal.acked()[self.acked_index..].to_vec();
        let Some(last) = acked.last() else { return Ok(()) };
        let upto_offset = last.base_offset + last.count as i64;
        let records = read(port, journal, self.next_offset, upto_offset)?;
        let name = format!("{}-{}", journal.topic, journal.partition);
        let first_offset = self.next_offset;
        let find =
            |offset: i64| usize::try_from(offset - first_offset).ok().and_then(|index| records.get(index));
        for (index, (offset, _)) in records.iter().enumerate() {
            if *offset != first_offset + index as i64 {
                return Err(format!("{name}: offset {offset} follows {}", first_offset + index as i64 - 1));
            }
        }
        for batch in &acked {
            for index in 0..batch.count {
                let offset = batch.base_offset + index as i64;
                let expected = value(journal, batch.first_number + index);
                match find(offset) {
                    Some((_, found)) if *found == expected => {}
                    found => {
                        let found = found.map(|(_, value)| String::from_utf8_lossy(value));
                        return Err(format!("{name}: acknowledged offset {offset} holds {found:?}"));
                    }
                }
            }
        }
        if journal.idempotent {
            // The only writer sends each number once, so number and offset are the same.
            for (offset, found) in &records {
                if *found != value(journal, *offset as u64) {
                    let found = String::from_utf8_lossy(found);
                    return Err(format!(
                        "{name}: offset {offset} holds {found}: lost, repeated or reordered"
                    ));
                }
            }
        }
        // Not behind what was read: an answer still to come may name records that are there already.
        self.next_offset = upto_offset;
        self.acked_index += acked.len();
        Ok(())
    }

    pub fn from_the_start() -> Self {
        Checker::default()
    }
}

/// Records from `from_offset` until at least `upto_offset`, over as many connections as it takes.
fn read(
    port: u16,
    journal: &Journal,
    from_offset: i64,
    upto_offset: i64,
) -> Result<Vec<(i64, Vec<u8>)>, String> {
    let mut records: Vec<(i64, Vec<u8>)> = Vec::new();
    let mut next_offset = from_offset;
    let mut last_trouble = String::new();
    let done = wait::poll(READ_LIMIT, || {
        match read_some(port, journal, &mut next_offset, upto_offset, &mut records) {
            Ok(()) if next_offset >= upto_offset => Some(()),
            Ok(()) => {
                last_trouble = format!("the partition ends at {next_offset}");
                None
            }
            Err(error) => {
                last_trouble = error.to_string();
                None
            }
        }
    });
    match done {
        Some(()) => Ok(records),
        None => Err(format!(
            "{}-{}: acknowledged up to {upto_offset}, read up to {next_offset}: {last_trouble}",
            journal.topic, journal.partition
        )),
    }
}

fn read_some(
    port: u16,
    journal: &Journal,
    next_offset: &mut i64,
    upto_offset: i64,
    records: &mut Vec<(i64, Vec<u8>)>,
) -> io::Result<()> {
    let mut client = Client::connect(port)?;
    while *next_offset < upto_offset {
        let found = client.fetch(&journal.topic, journal.partition, *next_offset)?;
        let Some((last, _)) = found.last() else { return Ok(()) };
        *next_offset = last + 1;
        records.extend(found);
    }
    Ok(())
}

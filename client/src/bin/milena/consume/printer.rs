//! Records on their way to standard output, and how far a partition was shown.

use std::io::IsTerminal;

use milena_client::consumer::Fetched;

use super::format::Formatter;
use super::range::Times;
use crate::error::Result;
use crate::output;
use crate::progress::Counter;

/// Output is written when it has gathered this much, and after each answer of the cluster.
const OUTPUT_BYTES: usize = 256 * 1024;

/// Shows records until there were enough.
pub struct Printer {
    check_crc: bool,
    formatter: Formatter,
    times: Times,
    /// Records that may still be shown.
    left: u64,
    /// Formatted, not yet written.
    out: Vec<u8>,
    /// Room for unpacked batches.
    scratch: Vec<u8>,
    counter: Counter,
}

impl Printer {
    pub fn new(formatter: Formatter, times: Times, count: Option<u64>, check_crc: bool) -> Self {
        Self {
            check_crc,
            formatter,
            times,
            left: count.unwrap_or(u64::MAX),
            out: Vec::new(),
            scratch: Vec::new(),
            counter: Counter::new("read", std::io::stdout().is_terminal()),
        }
    }

    /// Whether as many records were shown as were asked for.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Formats the records of one partition below `stop`. The offset from which on nothing was looked at.
    pub fn show(&mut self, part: &Fetched, stop: i64) -> Result<i64> {
        let Self { times, left, out, formatter, scratch, .. } = self;
        let (mut records, mut failed, mut ended_at) = (0, None, None);
        part.for_each(self.check_crc, scratch, |record| {
            if *left == 0 || record.offset >= stop {
                ended_at = Some(record.offset.min(stop));
                return false;
            }
            if !times.contain(record.timestamp) {
                return true;
            }
            formatter.write(out, &part.topic, part.partition, &record);
            if out.len() >= OUTPUT_BYTES {
                failed = output::write(out).err();
                out.clear();
            }
            *left -= 1;
            records += 1;
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.counter.add(records, part.size_bytes() as u64);
        match ended_at {
            Some(offset) => Ok(offset),
            None => Ok(part.next_offset()?),
        }
    }

    /// Writes what was formatted.
    pub fn flush(&mut self) -> Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = output::write(&self.out);
        self.out.clear();
        written
    }
}

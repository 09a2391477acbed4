//! What both Rust clients share: the command line of `../README.md` and its record format.

use std::io::Write;

pub const FIRST_TIMESTAMP: i64 = 1_700_000_000_000;
pub const STEP: i64 = 1000;

pub type Failure = Box<dyn std::error::Error>;

/// One line of the input, or one record that was read.
pub struct Record {
    pub partition: i32,
    pub timestamp: i64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub n: Vec<u8>,
}

/// The lines of the input.
pub fn records(path: &str, partitions: i32) -> Result<Vec<Record>, Failure> {
    let record = |(i, line): (usize, &str)| {
        let (key, value) = line.split_once('\t').ok_or("a line has no tab")?;
        let (partition, timestamp) = (i as i32 % partitions, FIRST_TIMESTAMP + STEP * i as i64);
        Ok(Record { partition, timestamp, key: key.into(), value: value.into(), n: i.to_string().into() })
    };
    std::fs::read_to_string(path)?.split_terminator('\n').enumerate().map(record).collect()
}

/// Prints one record.
pub fn show(
    out: &mut impl Write,
    offset: i64,
    timestamp: i64,
    fields: [Option<&[u8]>; 3],
) -> std::io::Result<()> {
    write!(out, "{offset}\t{timestamp}")?;
    for field in fields {
        out.write_all(b"\t")?;
        out.write_all(field.unwrap_or_default())?;
    }
    out.write_all(b"\n")
}

/// The words of the command line: command, bootstrap, topic, and the rest.
pub fn words() -> Result<(String, String, String, Vec<String>), Failure> {
    let mut words = std::env::args().skip(1);
    let mut next = || words.next().ok_or("too few words; see tests/compat/README.md");
    let (command, bootstrap, topic) = (next()?, next()?, next()?);
    Ok((command, bootstrap, topic, words.collect()))
}

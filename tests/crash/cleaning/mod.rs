//! What log compaction promises, on the program as users run it: the last record of each key stays, and stays where it
//! was, whoever reads meanwhile and whenever the process dies. `broker/log/tests` prove the same of one log on a disk in
//! memory, with power losses; here are the real disk, the cleaners' tasks, clients beside them, and kill -9.

mod histories;
mod history;
mod record;
mod steps;
mod tracer;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use milena_tests::wait;

use crate::client::Client;
use record::{Record, decode};

/// A reader that is given nothing for so long has met a fault.
const READ_LIMIT: Duration = Duration::from_secs(20);
const CLEAN_LIMIT: Duration = Duration::from_secs(60);
const FETCH_BYTES: i32 = 64 << 10;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// Reads partition 0 from its beginning until there is no more; with the offset at which that was.
fn read_all(client: &mut Client, topic: &str) -> Result<(Vec<Record>, i64), String> {
    let (mut found, mut offset) = (Vec::new(), client.list_offset(topic, EARLIEST).map_err(as_text)?);
    let deadline = Instant::now() + READ_LIMIT;
    loop {
        let bytes = client.fetch_bytes(topic, 0, offset, FETCH_BYTES).map_err(as_text)?;
        let (records, next_offset) = decode(&bytes, offset)?;
        if next_offset == offset {
            let end_offset = client.list_offset(topic, LATEST).map_err(as_text)?;
            if end_offset == offset {
                return Ok((found, offset));
            }
            if Instant::now() > deadline {
                return Err(format!("nothing is read from {offset} on, and the log ends at {end_offset}"));
            }
        }
        found.extend(records);
        offset = next_offset;
    }
}

fn as_text(error: io::Error) -> String {
    error.to_string()
}

/// Up to where the log is compacted, as the broker has noted it on the disk.
fn cleaned_upto(data: &Path, topic: &str) -> Option<i64> {
    let text = fs::read_to_string(data.join("cleaner-offset-checkpoint")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{topic} 0 ")))?;
    line.parse().ok()
}

/// Waits until the log is compacted up to `offset`.
fn await_cleaned(data: &Path, topic: &str, offset: i64) {
    wait::eventually(&format!("{topic} is compacted up to {offset}"), CLEAN_LIMIT, || {
        cleaned_upto(data, topic).is_some_and(|upto| upto >= offset)
    });
}

/// Files of the partition's folder, ascending.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths
}

/// Base offsets of the segments.
fn bases(folder: &Path) -> Vec<i64> {
    let logs =
        files(folder).into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    let stems = logs.filter_map(|path| path.file_stem()?.to_str()?.parse().ok());
    stems.collect()
}

/// What a pass that was interrupted must not leave behind.
fn strays(folder: &Path) -> Vec<PathBuf> {
    let is_stray = |path: &PathBuf| {
        [".cleaned", ".swap", ".deleted", ".tmp"]
            .iter()
            .any(|ending| path.to_string_lossy().ends_with(ending))
    };
    files(folder).into_iter().filter(is_stray).collect()
}

//! Supplies memory pages before a burst.
//!
//! Where the host takes free memory back, the first write to a page that is not backed costs a fault in
//! the host, ten times what the broker does with it. Writing and deleting a file of the burst's size just
//! before leaves as many backed pages free.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use milena_tests::{procfs, wait};

use crate::Failure;

/// An odd size, so that the pieces are not those in which a broker writes.
const PIECE: usize = 100_003;

/// What a burst takes besides the values that it writes: record and batch headers, indexes, sockets, and the
/// messages that wait in the client's queue, which are as many bytes again at the most.
const FOR_EACH_BYTE: u64 = 2;
const BESIDES: u64 = 32 << 20;

/// The kernel hands free pages to the host two seconds after something was freed, and may have to look once more.
/// Only when nothing of that is under way do pages stay backed for the two seconds of a burst.
const TAKEN_BACK: Duration = Duration::from_secs(5);

/// How long a contender may take to remove the files of a deleted topic.
const REMOVAL_MAX: Duration = Duration::from_secs(60);
/// Folders between the root of a run and the partitions of its contenders.
const DEPTH_MAX: usize = 4;

/// Waits until no partition of `topic` is left below `root`: the pages of removed files would be the supply of
/// whoever comes next.
pub fn await_removal(root: &Path, topic: &str) -> Result<(), Failure> {
    let prefix = format!("{topic}-");
    wait::poll(REMOVAL_MAX, || (!holds(root, &prefix, DEPTH_MAX)).then_some(()))
        .ok_or_else(|| format!("files of {topic} were not removed in {REMOVAL_MAX:?}").into())
}

fn holds(folder: &Path, prefix: &str, depth: usize) -> bool {
    // What is removed meanwhile holds nothing.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).any(|entry| {
        entry.file_name().to_string_lossy().starts_with(prefix)
            || depth > 1 && holds(&entry.path(), prefix, depth - 1)
    })
}

/// Makes free memory backed for a burst that writes `bytes` of values, when this machine needs it.
pub fn supply(directory: &Path, bytes: u64) -> io::Result<()> {
    if !procfs::free_pages_are_taken_back() {
        return Ok(());
    }
    let bytes = bytes * FOR_EACH_BYTE + BESIDES;
    let path = directory.join("page-supply");
    let piece = vec![1; PIECE];
    let mut file = File::create(&path)?;
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE as u64);
        file.write_all(&piece[..now as usize])?;
        left -= now;
    }
    drop(file);
    thread::sleep(TAKEN_BACK);
    fs::remove_file(path)
}

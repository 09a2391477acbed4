//! Supplies memory pages before a burst.
//!
//! Where the host takes free memory back, the first write to a page that is not backed costs a fault in
//! the host, ten times what the broker does with it. Writing and deleting a file of the burst's size just
//! before leaves as many backed pages free.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use milena_tests::procfs;

/// An odd size, so that the pieces are not those in which a broker writes.
const PIECE: usize = 100_003;

/// What a burst takes besides the values that it writes: record and batch headers, indexes, sockets, and the
/// messages that wait in the client's queue, which are as many bytes again at the most.
const FOR_EACH_BYTE: u64 = 2;
const BESIDES: u64 = 32 << 20;

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
    fs::remove_file(path)
}

//! Small text files that say how far something is known, in Kafka's format version 0:
//!
//! ```text
//! 0
//! <number of entries>
//! <entry per line>
//! ```
//!
//! One file per log directory maps partitions to offsets (`recovery-point-offset-checkpoint`,
//! `log-start-offset-checkpoint`); one per partition holds its leader epochs. They are replaced as a whole
//! and synced before the rename, so a reader finds the old or the new file, also after a power loss.
//! A missing or empty file means "nothing known"; what that costs is the caller's business.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{self, Files};

const VERSION: &str = "0";

/// Bound on a checkpoint's size: a million partitions with the longest topic names need less.
const FILE_SIZE_MAX: u64 = 512 << 20;

/// Offset by topic and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// What is wrong with a checkpoint's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("version {found:?} is not {VERSION}")]
    UnknownVersion { found: String },
    #[error("line {number} is malformed: {line:?}")]
    Malformed { number: usize, line: String },
    #[error("{expected} entries are announced, {found} are there")]
    Count { expected: usize, found: usize },
}

/// Why a checkpoint file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged", path = path.display())]
    Damaged { path: PathBuf, source: ParseError },
}

/// The text of a checkpoint with these entries.
pub fn to_text(entries: impl IntoIterator<Item = String>) -> String {
    let mut count = 0;
    let mut lines = String::new();
    for entry in entries {
        count += 1;
        lines.push_str(&entry);
        lines.push('\n');
    }
    format!("{VERSION}\n{count}\n{lines}")
}

/// Reads a checkpoint's text; `parse_entry` says `None` for a line that is not an entry.
pub fn parse<T>(text: &str, mut parse_entry: impl FnMut(&str) -> Option<T>) -> Result<Vec<T>, ParseError> {
    let malformed = |number: usize, line: &str| ParseError::Malformed { number, line: shorten(line) };
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version != VERSION {
        return Err(ParseError::UnknownVersion { found: shorten(version) });
    }
    // Kafka takes a file that ends here for an empty one, and it can leave such a file after a crash.
    let Some(count) = lines.next() else { return Ok(Vec::new()) };
    let expected: usize = count.parse().map_err(|_| malformed(2, count))?;
    let mut entries = Vec::new();
    for (index, line) in lines.enumerate() {
        entries.push(parse_entry(line).ok_or_else(|| malformed(index + 3, line))?);
    }
    if entries.len() != expected {
        return Err(ParseError::Count { expected, found: entries.len() });
    }
    Ok(entries)
}

/// Reads offsets by partition; none when the file does not exist.
pub fn read_offsets(files: &dyn Files, path: &Path) -> Result<Offsets, Error> {
    let entries = read(files, path, |text| parse(text, parse_offset))?;
    Ok(entries.unwrap_or_default().into_iter().collect())
}

/// Replaces the file by these offsets, durably.
pub fn write_offsets<'a>(
    files: &dyn Files,
    path: &Path,
    offsets: impl IntoIterator<Item = (&'a str, i32, i64)>,
) -> io::Result<()> {
    let mut count = 0;
    let mut lines = String::new();
    for (topic, partition, offset) in offsets {
        count += 1;
        writeln!(lines, "{topic} {partition} {offset}").expect("writing to a string cannot fail");
    }
    files::replace_file(files, path, format!("{VERSION}\n{count}\n{lines}").as_bytes())
}

/// Reads and parses a small text file; `None` when it does not exist.
pub fn read<T>(
    files: &dyn Files,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, ParseError>,
) -> Result<Option<T>, Error> {
    let bytes = match files::read_file(files, path, FILE_SIZE_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    let damaged = |source| Error::Damaged { path: path.to_owned(), source };
    let text = std::str::from_utf8(&bytes).map_err(|error| damaged(not_text(error.valid_up_to(), &bytes)))?;
    parse(text).map(Some).map_err(damaged)
}

fn not_text(valid_up_to: usize, bytes: &[u8]) -> ParseError {
    let number = bytes[..valid_up_to].iter().filter(|byte| **byte == b'\n').count() + 1;
    let line = bytes.split(|byte| *byte == b'\n').nth(number - 1).unwrap_or_default();
    ParseError::Malformed { number, line: shorten(&String::from_utf8_lossy(line)) }
}

fn parse_offset(line: &str) -> Option<((String, i32), i64)> {
    let mut fields = line.split_ascii_whitespace();
    let topic = fields.next()?.to_owned();
    let partition = fields.next()?.parse().ok()?;
    let offset = fields.next()?.parse().ok()?;
    let complete = fields.next().is_none() && partition >= 0 && offset >= 0;
    complete.then_some(((topic, partition), offset))
}

/// Damaged lines go into error messages, so their length needs a bound.
fn shorten(line: &str) -> String {
    line.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_files::{Fault, Loss, MemoryFiles, Operation};

    const PATH: &str = "/d/recovery-point-offset-checkpoint";

    fn files() -> MemoryFiles {
        let files = MemoryFiles::new();
        files.create_dir(Path::new("/d")).expect("memory");
        files.sync_dir(Path::new("/")).expect("memory");
        files
    }

    #[test]
    fn offsets_round_trip_in_kafkas_text() {
        let files = files();
        let path = Path::new(PATH);
        assert_eq!(read_offsets(&files, path).expect("missing is empty"), Offsets::new());
        write_offsets(&files, path, [("a", 0, 5), ("b.c", 12, i64::MAX)]).expect("memory");
        assert_eq!(files.contents(path), b"0\n2\na 0 5\nb.c 12 9223372036854775807\n");
        let expected = Offsets::from([(("a".into(), 0), 5), (("b.c".into(), 12), i64::MAX)]);
        assert_eq!(read_offsets(&files, path).expect("just written"), expected);
    }

    #[test]
    fn damaged_text_is_named() {
        let check = |text: &str, expected: ParseError| {
            assert_eq!(parse(text, parse_offset), Err(expected), "{text:?}");
        };
        let malformed = |number, line: &str| ParseError::Malformed { number, line: line.into() };
        check("7\n0\n", ParseError::UnknownVersion { found: "7".into() });
        check("0\nmany\n", malformed(2, "many"));
        check("0\n1\n", ParseError::Count { expected: 1, found: 0 });
        check("0\n1\na 0 1\nb 0 2\n", ParseError::Count { expected: 1, found: 2 });
        check("0\n1\na 0\n", malformed(3, "a 0"));
        check("0\n1\na 0 -3\n", malformed(3, "a 0 -3"));
        check("0\n1\na 0 3 4\n", malformed(3, "a 0 3 4"));
        check("0\n99999999999999999999\n", malformed(2, "99999999999999999999"));
    }

    #[test]
    fn bytes_that_are_not_text_are_damage_with_the_line() {
        let files = files();
        files.put(Path::new(PATH), b"0\n1\n\xff\xfe 0 1\n");
        match read_offsets(&files, Path::new(PATH)) {
            Err(Error::Damaged { source: ParseError::Malformed { number: 3, .. }, .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn power_loss_at_any_step_leaves_the_old_or_the_new_file() {
        let path = Path::new(PATH);
        for step in 0.. {
            let files = files();
            write_offsets(&files, path, [("t", 0, 1)]).expect("memory");
            files.inject(Fault::power_loss(Operation::Any, step));
            let acknowledged = write_offsets(&files, path, [("t", 0, 2)]).is_ok();
            for loss in [Loss::Unsynced, Loss::Nothing].into_iter().chain((0..20).map(Loss::Random)) {
                let after = files.crash(loss);
                let offsets = read_offsets(&after, path).expect("never damaged");
                let offset = offsets[&("t".into(), 0)];
                assert!(offset == 2 || (offset == 1 && !acknowledged), "step {step} {loss:?}: {offset}");
            }
            if acknowledged {
                assert_eq!(step, 5, "create, write, sync, rename, sync directory");
                return;
            }
        }
    }
}

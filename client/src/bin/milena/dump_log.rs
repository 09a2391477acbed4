//! `milena dump-log FILE…`: what is in the files of a log directory, Kafka's or Milena's.
//!
//! Works without a broker. Each file is read once from front to back and shown as it is read, one line per entry.
//! Checksums, sizes and order are checked on the way; what is damaged is shown as such and makes the exit code 1.

mod checkpoint;
mod index;
mod kind;
mod lines;
mod metadata;
mod producers;
mod segment;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::{Error, Result};
use kind::Kind;
use lines::Lines;

const READ_BYTES: usize = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files: .log, .index, .timeindex, .txnindex, .snapshot, .checkpoint, checkpoints, partition.metadata, meta.properties
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also the records of each batch, with keys and values
    #[arg(short, long)]
    records: bool,
}

/// Damage that was shown in one file.
type Damages = usize;

pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let mut damaged = Vec::new();
    for path in &arguments.files {
        if dump(context, path, arguments.records)? > 0 {
            damaged.push(path.display().to_string());
        }
    }
    if damaged.is_empty() {
        return Ok(());
    }
    Err(Error::Failed { message: format!("damaged: {}", damaged.join(", ")), hint: None })
}

fn dump(context: &Context, path: &Path, with_records: bool) -> Result<Damages> {
    let read_error = |error| Error::file(path, error);
    // Before its name is judged: a folder has no kind, and what is not there needs none.
    let metadata = std::fs::metadata(path).map_err(read_error)?;
    if metadata.is_dir() {
        return Err(Error::Usage(format!("{} is a directory; name the files in it", path.display())));
    }
    let kind = Kind::of(path).ok_or_else(|| {
        Error::Usage(format!(
            "{}: a name that no file of a log directory has; see `milena dump-log --help`",
            path.display()
        ))
    })?;
    let file = File::open(path).map_err(read_error)?;
    let size = metadata.len();
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let mut lines = Lines::new(path, context.is_json());
    lines.file(kind.name(), size)?;
    let base_offset = kind::base_offset(path);
    let outcome = match kind {
        Kind::Segment(values) => {
            segment::Dump { lines: &mut lines, values, with_records }.run(&mut reader, size)
        }
        Kind::OffsetIndex => index::offsets(&mut reader, base_offset, &mut lines),
        Kind::TimeIndex => index::times(&mut reader, base_offset, &mut lines),
        Kind::TransactionIndex => index::transactions(&mut reader, &mut lines),
        Kind::Producers => producers::dump(&mut reader, &mut lines),
        Kind::Checkpoint => checkpoint::dump(&mut reader, &mut lines),
        Kind::Properties => checkpoint::properties(&mut reader, &mut lines),
    };
    lines.flush()?;
    match outcome {
        Ok(()) => Ok(lines.damages()),
        Err(lines::Stop::Read(error)) => Err(Error::file(path, error)),
        Err(lines::Stop::Write(error)) => Err(error),
    }
}

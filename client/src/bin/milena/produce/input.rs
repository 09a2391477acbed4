//! The input: files and standard input, read by a thread in chunks that end where an entry ends.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use memchr::memmem;
use tokio::sync::mpsc;

use crate::error::{Error, Result};

/// Bytes that are read at once, and so about the size of a chunk.
const READ_BYTES: usize = 256 * 1024;

/// Chunks that wait to be sent.
const CHUNKS_MAX: usize = 4;

/// Something to read, and what it is called.
pub struct Source {
    name: String,
    reader: Box<dyn Read + Send>,
}

/// Opens all files before the first is read, so that a wrong name is found early.
pub fn open(files: &[PathBuf]) -> Result<Vec<Source>> {
    if files.is_empty() {
        return Ok(vec![standard_input()]);
    }
    let opened = files.iter().map(|path| {
        if path.as_os_str() == "-" {
            return Ok(standard_input());
        }
        let file = File::open(path).map_err(|error| Error::file(path, error))?;
        Ok(Source { name: path.display().to_string(), reader: Box::new(file) })
    });
    opened.collect()
}

fn standard_input() -> Source {
    Source { name: "standard input".to_owned(), reader: Box::new(io::stdin()) }
}

/// Whether someone types the entries.
pub fn is_typed(files: &[PathBuf], stdin_is_terminal: bool) -> bool {
    stdin_is_terminal && (files.is_empty() || files.iter().any(|path| path.as_os_str() == "-"))
}

/// Reads the sources one after the other. The channel ends with the input, or after an error.
pub fn read(
    sources: Vec<Source>,
    delimiter: Vec<u8>,
    entry_size_max: usize,
) -> mpsc::Receiver<Result<Vec<u8>>> {
    let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
    // A thread of its own rather than of the runtime's pool: nobody waits for it when the command ends.
    std::thread::spawn(move || {
        for source in sources {
            let mut send = |chunk| chunks.blocking_send(Ok(chunk)).is_ok();
            if let Err(error) = read_source(source, &delimiter, entry_size_max, &mut send) {
                // A receiver that is gone needs no error.
                let _ = chunks.blocking_send(Err(error));
                return;
            }
        }
    });
    receiver
}

/// Gives whole entries to `send` until the end, or until it returns false.
fn read_source(
    mut source: Source,
    delimiter: &[u8],
    entry_size_max: usize,
    send: &mut impl FnMut(Vec<u8>) -> bool,
) -> Result<()> {
    let finder = memmem::FinderRev::new(delimiter);
    let mut filled: Vec<u8> = Vec::with_capacity(READ_BYTES);
    loop {
        let before = filled.len();
        filled.resize(before + READ_BYTES, 0);
        let read = match source.reader.read(&mut filled[before..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(Error::File { path: source.name, source: error }),
            Ok(0) => {
                filled.truncate(before);
                if !filled.is_empty() {
                    send(filled);
                }
                return Ok(());
            }
            Ok(read) => read,
        };
        filled.truncate(before + read);
        // A delimiter may lie across the two reads.
        let from = before.saturating_sub(delimiter.len() - 1);
        if let Some(at) = finder.rfind(&filled[from..]) {
            let mut rest = Vec::with_capacity(READ_BYTES * 2);
            let end = from + at + delimiter.len();
            rest.extend_from_slice(&filled[end..]);
            filled.truncate(end);
            if !send(std::mem::replace(&mut filled, rest)) {
                return Ok(());
            }
        } else if filled.len() > entry_size_max {
            return Err(Error::Failed {
                message: format!("{}: no delimiter within {} bytes", source.name, filled.len()),
                hint: Some("-D names the delimiter; records may be larger with -X max.request.size=…"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces.
    struct Pieces(Vec<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            self.0.remove(0).as_slice().read(buffer)
        }
    }

    fn source(reader: impl Read + Send + 'static) -> Source {
        Source { name: "input".to_owned(), reader: Box::new(reader) }
    }

    fn chunks(pieces: &[&str], delimiter: &str) -> Vec<String> {
        let pieces = Pieces(pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect());
        let mut chunks = Vec::new();
        let mut send = |chunk: Vec<u8>| {
            chunks.push(String::from_utf8(chunk).expect("text"));
            true
        };
        read_source(source(pieces), delimiter.as_bytes(), 1000, &mut send).expect("readable");
        chunks
    }

    #[test]
    fn chunks_end_where_entries_end() {
        assert_eq!(chunks(&["a\nb", "c\nd\n", "e"], "\n"), ["a\n", "bc\nd\n", "e"]);
        assert_eq!(chunks(&["a\n"], "\n"), ["a\n"]);
        assert_eq!(chunks(&[], "\n"), Vec::<String>::new());
    }

    #[test]
    fn a_delimiter_across_two_reads_is_found() {
        assert_eq!(chunks(&["a<", "->b", "<-", ">"], "<->"), ["a<->", "b<->"]);
    }

    #[test]
    fn an_endless_entry_is_an_error() {
        let mut send = |_| true;
        let error = read_source(source(io::repeat(b'x')), b"\n", 1000, &mut send).expect_err("no end");
        assert!(error.to_string().starts_with("input: no delimiter within ") && error.hint().is_some());
    }

    #[test]
    fn entries_are_typed_where_standard_input_is_read_from_a_terminal() {
        assert!(is_typed(&[], true) && is_typed(&["-".into()], true));
        assert!(!is_typed(&["file".into()], true) && !is_typed(&[], false));
    }
}

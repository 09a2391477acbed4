//! One line per entry: `kind name=value …` for people, an object for programs.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::output;

/// Lines gather to this before they are written.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Why a dump ends before the file does.
#[derive(Debug)]
pub enum Stop {
    Read(io::Error),
    Write(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Read(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Write(error)
    }
}

/// The lines of one file.
pub struct Lines {
    path: String,
    is_json: bool,
    out: Vec<u8>,
    damages: usize,
}

impl Lines {
    pub fn new(path: &Path, is_json: bool) -> Self {
        Self { path: path.display().to_string(), is_json, out: Vec::new(), damages: 0 }
    }

    /// The first line of a file.
    pub fn file(&mut self, what: &str, size: u64) -> Result<(), Error> {
        if self.is_json {
            return self.entry("file", &[("type", json!(what)), ("size", json!(size))]);
        }
        self.push(&format!("{}: {what}, {size} bytes", self.path))
    }

    /// An entry with its fields. Text leaves out those that are null.
    pub fn entry(&mut self, kind: &str, fields: &[(&str, Value)]) -> Result<(), Error> {
        if self.is_json {
            let head = [("file", json!(self.path)), ("kind", json!(kind))];
            let all = head.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), value.clone()));
            return self.push(&Value::Object(all.collect::<Map<_, _>>()).to_string());
        }
        let mut line = format!("  {kind}");
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            line.push(' ');
            line.push_str(name);
            line.push('=');
            match value {
                Value::String(text) => line.push_str(&output::visible(text)),
                other => line.push_str(&other.to_string()),
            }
        }
        self.push(&line)
    }

    /// Something that should not be so.
    pub fn damage(&mut self, position: u64, reason: &str) -> Result<(), Error> {
        self.damages += 1;
        self.entry("damage", &[("position", json!(position)), ("reason", json!(reason))])
    }

    pub fn damages(&self) -> usize {
        self.damages
    }

    pub fn flush(&mut self) -> Result<(), Error> {
        let written = output::write(&self.out);
        self.out.clear();
        written
    }

    fn push(&mut self, line: &str) -> Result<(), Error> {
        self.out.extend_from_slice(line.as_bytes());
        self.out.push(b'\n');
        if self.out.len() >= OUTPUT_BYTES { self.flush() } else { Ok(()) }
    }

    /// What was said and not yet written.
    #[cfg(test)]
    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).expect("lines are text")
    }
}

/// Bytes as text on one line.
pub fn bytes(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| Value::String(bytes.escape_ascii().to_string()))
}

/// A number that −1 stands for none of.
pub fn unless_none(number: impl Into<i64>) -> Value {
    let number = number.into();
    if number < 0 { Value::Null } else { json!(number) }
}

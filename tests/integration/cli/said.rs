//! The command line, and what it says.

use std::process::{Command, Output, Stdio};

use milena_tests::process;
use serde_json::Value;

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Said {
    /// The output of a command that must have worked.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// The error of a command that must have failed so.
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.err
    }
}

/// The command line with these words, and nothing on its standard input.
pub fn milena(words: &[&str]) -> Command {
    let mut command = Command::new(process::command_line());
    command.args(words).env_remove("MILENA_BOOTSTRAP").stdin(Stdio::null());
    command
}

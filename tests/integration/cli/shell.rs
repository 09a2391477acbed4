//! What the tests of the command line type, and what it says.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use milena_tests::process::{self, Broker};
use serde_json::Value;

/// A broker and the command line that talks to it.
pub struct Shell {
    pub broker: Broker,
}

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

impl Shell {
    pub fn start() -> Self {
        Self { broker: Broker::start() }
    }

    /// A command that fails with this code and says why.
    pub fn fails(&self, line: &str, code: i32, expected: &str) {
        let said = self.run(line);
        assert!(said.err.contains(expected), "{line}: {said:?}");
        said.failed(code);
    }

    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = milena(line);
        command.env("MILENA_BOOTSTRAP", self.broker.bootstrap());
        command
    }

    /// Runs a command given as words between blanks.
    pub fn run(&self, line: &str) -> Said {
        let words: Vec<&str> = line.split(' ').collect();
        self.command(&words).output().expect("milena runs").into()
    }

    /// Runs a command with this standard input.
    pub fn feed(&self, line: &str, input: &[u8]) -> Said {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = self.command(&words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("milena runs");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        // From another thread: the command may answer before it has read everything.
        let feeding = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("milena ends");
        // A command that failed early did not read all of it.
        let _ = feeding.join().expect("writing does not panic");
        output.into()
    }
}

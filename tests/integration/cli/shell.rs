//! A broker, and what the tests of the command line type.

use std::io::Write;
use std::process::{Command, Stdio};

use milena_tests::process::Broker;

pub use crate::said::{Said, milena};

/// A broker and the command line that talks to it.
pub struct Shell {
    pub broker: Broker,
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

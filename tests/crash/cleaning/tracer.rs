//! A broker that stops after each of certain system calls, so that it can be killed between any two of them.
//!
//! strace stops the whole process with a signal at each call on the named files. It counts calls by thread and could not
//! be told to kill at the n-th of all; so the test counts the stops, and kills.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use milena_tests::process::Config;
use milena_tests::syscalls::signal;
use milena_tests::wait;

const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A call comes to its stop much sooner.
const QUIET: Duration = Duration::from_millis(150);

/// What changes files or names, or makes changes durable.
const CALLS: &str =
    "openat,pwrite64,pwritev,pwritev2,ftruncate,fallocate,rename,renameat2,unlink,unlinkat,fsync,fdatasync";

pub struct Traced {
    child: Child,
    trace: PathBuf,
    stops: usize,
}

impl Traced {
    /// Starts a broker that stops at calls on `files`, which need not be there yet; what it did goes to `trace`.
    pub fn start(config: Config, files: &[PathBuf], trace: &Path) -> Self {
        let _ = fs::remove_file(trace);
        let (calls, inject) = (format!("trace={CALLS}"), format!("inject={CALLS}:signal=STOP"));
        // The tracer is a grandchild, so that the broker is our own child.
        let trace_name = trace.to_string_lossy().into_owned();
        let mut words = vec!["strace", "-D", "-f", "-o", &trace_name, "-e", &calls, "-e", &inject];
        let names: Vec<String> = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
        names.iter().for_each(|name| words.extend(["-P", name]));
        let child = config.under(&words).spawn().expect("strace starts");
        Traced { child, trace: trace.to_owned(), stops: 0 }
    }

    /// Waits until it has stopped once more; the call at which it did. `None` when `is_over` comes first.
    pub fn stopped(&mut self, is_over: impl Fn() -> bool) -> Option<String> {
        let mut over_since: Option<Instant> = None;
        let stopped = wait::poll(STOP_LIMIT, || {
            assert!(matches!(self.child.try_wait(), Ok(None)), "the broker ended by itself");
            let calls = self.calls();
            if calls.len() > self.stops && self.is_stopped() {
                return Some(Some(calls[self.stops].clone()));
            }
            // The call that made it so may not have come to its stop.
            let since = over_since.get_or_insert_with(Instant::now);
            if !is_over() {
                over_since = None;
                return None;
            }
            (since.elapsed() > QUIET).then_some(None)
        });
        let call = stopped
            .unwrap_or_else(|| panic!("stopped {} times and then neither stops nor ends", self.stops))?;
        self.stops += 1;
        Some(call)
    }

    pub fn go_on(&self) {
        signal(self.child.id(), libc::SIGCONT).expect("a running broker");
    }

    pub fn kill(mut self) {
        self.child.kill().expect("a running broker");
        self.child.wait().expect("our own child");
    }

    /// The calls at which it was stopped so far, one for each signal.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.trace).unwrap_or_default();
        let (mut calls, mut last) = (Vec::new(), "");
        for line in text.lines() {
            let line = line.split_once(' ').map_or("", |(_, line)| line.trim_start());
            if line.starts_with("--- SIGSTOP") {
                calls.push(last.to_owned());
            } else if !line.starts_with("---") {
                last = line;
            }
        }
        calls
    }

    /// Whether every thread is stopped.
    fn is_stopped(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.child.id())) else { return false };
        let mut stats = threads.flatten().map(|thread| fs::read_to_string(thread.path().join("stat")));
        stats.all(|stat| {
            let stat = stat.unwrap_or_default();
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            matches!(state, Some('t' | 'T'))
        })
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

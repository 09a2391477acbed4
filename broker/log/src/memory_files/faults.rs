//! Faults to come: which operation fails, and how.

use std::io;
use std::path::Path;

/// A kind of operation. Reading ones count only for faults that name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening, listing, asking for size: nothing changes.
    Open,
    Read,
    /// A read that must not wait. Everything is in memory here: EAGAIN makes it cold.
    ReadHot,
    Create,
    Write,
    /// `sync_data`
    Sync,
    SyncDir,
    Rename,
    Remove,
    Truncate,
    /// In a fault: any operation that may change the disk or make a change durable.
    Any,
}

impl Operation {
    fn changes_disk(self) -> bool {
        !matches!(self, Operation::Open | Operation::Read | Operation::ReadHot)
    }

    fn is_met_by(self, actual: Operation) -> bool {
        self == actual || (self == Operation::Any && actual.changes_disk())
    }
}

/// What happens to the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It fails with this errno and does nothing.
    Errno(i32),
    /// A write stops after so many bytes.
    ShortWrite(usize),
    /// The code that asked for it panics.
    Panic,
    /// The power fails in the middle: the operation may have reached the disk, and all later ones fail.
    PowerLoss,
}

/// One fault.
#[derive(Debug, Clone)]
pub struct Fault {
    pub operation: Operation,
    /// Only operations on paths that end so are counted; empty means all.
    pub path_ends_with: String,
    /// How many matching operations pass first.
    pub after: u64,
    /// Whether every matching operation from then on is hit, or one.
    pub lasting: bool,
    pub effect: Effect,
}

impl Fault {
    pub fn errno(operation: Operation, after: u64, errno: i32) -> Self {
        Fault {
            operation,
            path_ends_with: String::new(),
            after,
            lasting: false,
            effect: Effect::Errno(errno),
        }
    }

    pub fn power_loss(operation: Operation, after: u64) -> Self {
        Fault { effect: Effect::PowerLoss, ..Fault::errno(operation, after, 0) }
    }

    pub fn panic(operation: Operation, after: u64) -> Self {
        Fault { effect: Effect::Panic, ..Fault::errno(operation, after, 0) }
    }

    pub fn short_write(after: u64, bytes: usize) -> Self {
        Fault { effect: Effect::ShortWrite(bytes), ..Fault::errno(Operation::Write, after, 0) }
    }

    pub fn on_paths(self, path_ends_with: &str) -> Self {
        Fault { path_ends_with: path_ends_with.to_owned(), ..self }
    }

    pub fn lasting(self) -> Self {
        Fault { lasting: true, ..self }
    }

    fn matches(&self, operation: Operation, path: &Path) -> bool {
        self.operation.is_met_by(operation) && path.to_string_lossy().ends_with(&self.path_ends_with)
    }
}

/// What an operation may do.
#[derive(Debug)]
pub(super) enum Verdict {
    Proceed,
    Short(usize),
    Fail(io::Error),
    PowerLost(io::Error),
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    armed: Vec<Fault>,
    power_is_off: bool,
    operations_count: u64,
}

impl Faults {
    pub(super) fn arm(&mut self, fault: Fault) {
        self.armed.push(fault);
    }

    pub(super) fn armed_count(&self) -> usize {
        self.armed.len()
    }

    pub(super) fn operations_count(&self) -> u64 {
        self.operations_count
    }

    /// The verdict for an operation that only succeeds or fails.
    pub(super) fn check(&mut self, operation: Operation, path: &Path) -> io::Result<()> {
        match self.verdict(operation, path) {
            Verdict::Proceed | Verdict::Short(_) => Ok(()),
            Verdict::Fail(error) | Verdict::PowerLost(error) => Err(error),
        }
    }

    pub(super) fn verdict(&mut self, operation: Operation, path: &Path) -> Verdict {
        if self.power_is_off {
            return Verdict::Fail(power_is_off());
        }
        self.operations_count += u64::from(operation.changes_disk());
        let Some(effect) = self.due(operation, path) else { return Verdict::Proceed };
        match effect {
            Effect::Errno(errno) => Verdict::Fail(io::Error::from_raw_os_error(errno)),
            Effect::ShortWrite(bytes) => Verdict::Short(bytes),
            Effect::Panic => panic!("injected at {operation:?} of {}", path.display()),
            Effect::PowerLoss => {
                self.power_is_off = true;
                Verdict::PowerLost(power_is_off())
            }
        }
    }

    fn due(&mut self, operation: Operation, path: &Path) -> Option<Effect> {
        let mut due = None;
        self.armed.retain_mut(|fault| {
            if !fault.matches(operation, path) {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            due = due.or(Some(fault.effect));
            fault.lasting
        });
        due
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

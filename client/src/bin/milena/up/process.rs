//! A process that an earlier command started, known again by when it began.
//!
//! A number alone says little: the kernel gives it to another process one day, and that must not be killed.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// Pauses between looks whether a process has ended: short at first, and then cheap.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Which process it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: u32,
    /// When it began, in the kernel's ticks since the machine started; and which start of the machine that was.
    started_ticks: u64,
    boot_id: String,
}

/// A process that runs, held so that its number cannot become another's.
#[derive(Debug)]
pub struct Handle {
    pidfd: OwnedFd,
}

impl Identity {
    /// Of a process that runs, or has just ended and is not waited for yet.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, started_ticks) = parsed(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Self { pid, started_ticks, boot_id: boot_id()? })
    }

    pub fn is_running(&self) -> bool {
        let same_start = boot_id().is_ok_and(|boot_id| boot_id == self.boot_id);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        same_start
            && parsed(&stat).is_some_and(|(state, ticks)| !has_ended(state) && ticks == self.started_ticks)
    }

    /// The process, while it runs.
    pub fn handle(&self) -> Option<Handle> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Asked only now: from here on the number cannot be given to another.
        self.is_running().then_some(Handle { pidfd })
    }
}

impl Handle {
    /// Asks it to end in order.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends it at once, and waits for that.
    pub async fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)?;
        self.ended().await
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> io::Result<()> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut pause = PAUSE_MIN;
        // Its descriptor can be read from when it has ended.
        while rustix::event::poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&at_once))? == 0 {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            // It has ended by itself meanwhile, which is as well.
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => sent.map_err(Into::into),
        }
    }
}

/// Nobody waits for a node whose `milena up` is over: where no init does either, it stays in the list of processes.
fn has_ended(state: char) -> bool {
    matches!(state, 'Z' | 'X')
}

/// State and start time, fields 3 and 22; the name in field 2 may hold blanks and brackets, so count from its end.
fn parsed(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep is everywhere")
    }

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "7 (a) S) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parsed(stat), Some(('R', 4711)));
        assert_eq!(parsed("nonsense"), None);
    }

    #[test]
    fn another_process_with_the_same_number_is_not_it() {
        let mut child = sleeper();
        let identity = Identity::of(child.id()).expect("it runs");
        assert!(identity.is_running());
        let earlier = Identity { started_ticks: identity.started_ticks - 1, ..identity.clone() };
        let other_boot = Identity { boot_id: "another".to_owned(), ..identity.clone() };
        assert!(!earlier.is_running() && earlier.handle().is_none());
        assert!(!other_boot.is_running() && other_boot.handle().is_none());
        child.kill().expect("it runs");
        // Not waited for: it has ended and is still in the list.
        let ended = (0..1000).any(|_| {
            std::thread::yield_now();
            !identity.is_running()
        });
        child.wait().expect("a child");
        assert!(ended && identity.handle().is_none());
    }

    #[tokio::test]
    async fn a_process_is_killed_and_its_end_is_noticed() {
        let mut child = sleeper();
        let handle = Identity::of(child.id()).expect("it runs").handle().expect("it runs");
        tokio::time::timeout(Duration::from_secs(30), handle.kill()).await.expect("it ends").expect("ours");
        assert!(!child.wait().expect("a child").success());
        // Once more does no harm.
        handle.terminate().expect("that is as well");
        tokio::time::timeout(Duration::from_secs(30), handle.ended()).await.expect("it has").expect("ours");
    }
}

//! The process as the kernel sees it, read from `/proc/self` when somebody scrapes.

use std::fs;

/// Ticks per second of the times in `/proc`: fixed by the kernel's interface, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Numbers that the kernel knows; `None` where it does not say.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Process {
    pub cpu_seconds: Option<f64>,
    pub resident_bytes: Option<f64>,
    pub threads: Option<f64>,
    pub open_fds: Option<f64>,
    pub max_fds: Option<f64>,
}

impl Process {
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            cpu_seconds: fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat)),
            resident_bytes: line(&status, "VmRSS:").map(|kib| kib * 1024.0),
            threads: line(&status, "Threads:"),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64),
            max_fds: line(&limits, "Max open files"),
        }
    }
}

/// The first number on the line that begins with `name`.
fn line(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// User and system time; the name of the program stands before them and may hold anything but `)` at its end.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_an_odd_program_name() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let process = Process::read();
        assert!(process.resident_bytes > Some(100_000.0), "{process:?}");
        assert!(process.open_fds >= Some(3.0) && process.threads >= Some(1.0), "{process:?}");
        assert!(process.max_fds.is_some() && process.cpu_seconds.is_some(), "{process:?}");
    }
}

//! What the kernel says of processes: CPU time and memory, read from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// CPU time (user and system, all threads) that a process has used so far.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    ticks_of(&stat).map(ticks).ok_or_else(|| invalid(&format!("/proc/{pid}/stat")))
}

/// Fields 14 and 15 of `stat`; the name in field 2 may hold spaces and brackets, so count from its end.
fn ticks_of(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// CPU time that the whole machine was busy with since it started, everything but idle and waiting.
pub fn machine_busy() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().ok_or_else(|| invalid("/proc/stat"))?;
    let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    if fields.len() < 8 {
        return Err(invalid("/proc/stat"));
    }
    // user nice system idle iowait irq softirq steal: stolen time is foreign load too.
    Ok(ticks(fields[0] + fields[1] + fields[2] + fields[5] + fields[6] + fields[7]))
}

/// Resident memory of a process in bytes: now, and the most it ever had.
pub fn resident(pid: u32) -> io::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    match (field("VmRSS:"), field("VmHWM:")) {
        (Some(now), Some(most)) => Ok((now, most)),
        _ => Err(invalid(&format!("/proc/{pid}/status"))),
    }
}

/// The inode of the socket that has the connection between two ports of 127.0.0.1, seen from `local`'s end.
pub fn socket_of(local: u16, remote: u16) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| inode_between(line, local, remote))
}

/// Of a line of `/proc/net/tcp`: number, two addresses in hexadecimal, and as the tenth field the inode.
fn inode_between(line: &str, local: u16, remote: u16) -> Option<u64> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = |field: &str| u16::from_str_radix(field.rsplit_once(':')?.1, 16).ok();
    let is_it = port(fields.get(1)?)? == local && port(fields.get(2)?)? == remote;
    if is_it { fields.get(9)?.parse().ok() } else { None }
}

/// Whether a process holds a socket.
pub fn has_socket(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors
        .flatten()
        .any(|one| fs::read_link(one.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))
}

/// Whether the hypervisor takes free memory back, so that fresh pages cost page faults in the host.
pub fn free_pages_are_taken_back() -> bool {
    fs::metadata("/sys/module/page_reporting/parameters").is_ok()
}

fn ticks(count: u64) -> Duration {
    // USER_HZ is 100 on every Linux that Rust runs on; it is an ABI constant, not the kernel's own HZ.
    Duration::from_millis(count * 10)
}

fn invalid(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} is not of the known form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0";
        assert_eq!(ticks_of(stat), Some(42));
    }

    #[test]
    fn a_connection_is_found_by_both_its_ports() {
        let line = " 12: 0100007F:5A3C 0100007F:7B21 01 00000000:00000000 00:00000000 00000000  0 0 98765 1 0 20 4 30 10 -1";
        assert_eq!(inode_between(line, 0x5A3C, 0x7B21), Some(98765));
        assert_eq!(inode_between(line, 0x7B21, 0x5A3C), None);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let (now, most) = resident(std::process::id()).expect("own status");
        assert!(now > 0 && most >= now);
        assert!(machine_busy().expect("machine") >= cpu(std::process::id()).expect("own"));
    }
}

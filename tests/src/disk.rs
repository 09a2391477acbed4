//! Disks that fill up or fail, for whoever may mount and trace.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::syscalls::{self, signal};
use crate::wait;

const ATTACH_LIMIT: Duration = Duration::from_secs(20);

/// Whether this process may mount and trace. Without that `cargo test` says what it leaves out; CI, where it is
/// this step's only purpose, sets `MILENA_DISK_TESTS=required` and fails.
pub fn may(what: &str, tool: &str) -> bool {
    let is_root = syscalls::is_root();
    let has_tool = Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !is_root || !has_tool {
        let is_required = std::env::var_os("MILENA_DISK_TESTS").is_some_and(|value| value == "required");
        assert!(!is_required, "{what} needs root and {tool}");
        println!("left out: {what} needs root and {tool}");
    }
    is_root && has_tool
}

/// A tmpfs of a few megabytes on `path`, gone with this value.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(path: &Path, megabytes: u32) -> Self {
        fs::create_dir_all(path).expect("writable");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(path));
        SmallDisk(path.to_owned())
    }

    pub fn grow(&self, megabytes: u32) {
        run(Command::new("mount").args(["-o", &format!("remount,size={megabytes}m")]).arg(&self.0));
    }
}

/// Fills a disk to the last byte, until this is dropped.
pub struct Filler(PathBuf);

impl Filler {
    pub fn fill(folder: &Path) -> Self {
        let path = folder.join("filler");
        let mut file = File::create(&path).expect("writable");
        for piece in [1 << 20, 1 << 10, 1] {
            let zeros = vec![0; piece];
            while file.write_all(&zeros).is_ok() {}
        }
        Filler(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("an installed program");
    assert!(status.success(), "{command:?} ended with {status}");
}

/// strace on a running broker, making system calls on some files fail.
pub struct Injector(Child);

impl Injector {
    /// Lets the named system calls of a process fail with EIO: those on `files`, or all of them.
    pub fn attach(pid: u32, calls: &str, files: &[PathBuf]) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &pid.to_string()]);
        for file in files {
            command.arg("-P").arg(file);
        }
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error=EIO")]);
        let child = command.stderr(Stdio::null()).spawn().expect("strace starts");
        let attached = wait::poll(ATTACH_LIMIT, || is_traced(pid).then_some(()));
        assert!(attached.is_some(), "strace did not attach within {ATTACH_LIMIT:?}");
        Injector(child)
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        // SIGINT lets strace detach; a kill would do it, too, but could leave the broker stopped.
        let _ = signal(self.0.id(), libc::SIGINT);
        let _ = self.0.wait();
    }
}

fn is_traced(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let mut statuses = threads.flatten().map(|thread| fs::read_to_string(thread.path().join("status")));
    statuses.all(|status| status.is_ok_and(|status| !status.contains("TracerPid:\t0\n")))
}

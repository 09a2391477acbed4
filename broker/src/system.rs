//! System calls that std does not offer: the only unsafe code of this crate.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Sends up to `length` bytes of `file` from `position` to `socket`; 0 when the file ends there.
pub fn sendfile(socket: RawFd, file: RawFd, position: u64, length: usize) -> io::Result<usize> {
    let mut offset =
        libc::off_t::try_from(position).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    loop {
        // SAFETY: both descriptors are plain numbers that the callers keep open for the time of the call, and
        // `offset` lives on our stack. The kernel writes nothing else.
        let sent = unsafe { libc::sendfile(socket, file, &raw mut offset, length) };
        if let Ok(sent) = usize::try_from(sent) {
            return Ok(sent);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Lets the process open as many files and sockets as its hard limit allows, as a JVM does by itself.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the kernel to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is read and was filled by the kernel.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// The size of a disk and what is left of it for this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub total_bytes: u64,
    pub usable_bytes: u64,
}

/// The room on the disk that holds `path`.
pub fn space(path: &Path) -> io::Result<Space> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all of the structure is numbers, for which zeros are valid.
    let mut said: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with a zero and `said` is a valid place for the kernel to write to.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut said) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = |blocks: u64| blocks.saturating_mul(said.f_frsize);
    Ok(Space { total_bytes: bytes(said.f_blocks), usable_bytes: bytes(said.f_bavail) })
}

/// Has the kernel back this process with small pages only: a huge page for each touched corner of the allocator's
/// arenas doubles what an idle broker holds (ADR 19). An old kernel that refuses changes nothing else.
pub fn disable_huge_pages() -> io::Result<()> {
    // SAFETY: the call reads its arguments and changes a flag of this process; no memory of ours is involved.
    match unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

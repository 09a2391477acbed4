//! The system calls that std does not offer.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Reserves blocks for a file of `size` bytes without changing its length. A file system that cannot
/// do this costs a little speed, nothing else.
pub fn reserve(file: &File, size: u64) {
    // SAFETY: takes a descriptor that `file` keeps open, and integers.
    unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, size as libc::off_t) };
}

/// Sends up to `length` bytes of `file` from `position`; how many went out.
pub fn sendfile(socket: BorrowedFd, file: &File, position: u64, length: usize) -> io::Result<usize> {
    let mut position = position as libc::off_t;
    // SAFETY: both descriptors are open for the call; `position` is a local that the kernel updates.
    let sent = unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &mut position, length) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Sends bytes that are followed by more, so that the kernel does not push out a small segment.
pub fn send_more(socket: BorrowedFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_MORE | libc::MSG_NOSIGNAL;
    // SAFETY: the pointer and length are those of a live slice.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

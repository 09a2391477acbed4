//! Harness of the tests that need more than one crate.
//!
//! It runs the broker the way a user does, as a process: [`process::Broker`] starts the program on free
//! ports with its own directory, waits until it is ready, stops, kills and restarts it, and reads its
//! metrics. [`procfs`] reads what the kernel says of a process, [`ports`] finds free ports, [`wait`]
//! polls with a deadline. [`network`] cuts and slows the links between the nodes of a [`cluster`], and [`disk`] fills their disks. No crate of Milena is used here, so a broken crate can't break the harness.

pub mod cluster;
pub mod disk;
pub mod history;
pub mod http;
pub mod network;
pub mod ports;
pub mod process;
pub mod procfs;
pub mod syscalls;
pub mod wait;

//! What a burst of load cost: the broker's CPU, the wall clock, and the CPU of everybody else.

use std::io;
use std::time::{Duration, Instant};

use milena_tests::procfs;

/// A reading of the clocks of a broker, of this program and of the machine.
#[derive(Clone, Copy)]
pub struct Reading {
    at: Instant,
    broker: Duration,
    own: Duration,
    machine: Duration,
}

/// The difference of readings, summed over bursts.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub wall: Duration,
    pub broker: Duration,
    /// CPU of processes that are neither the broker nor this program.
    pub foreign: Duration,
}

impl Reading {
    pub fn take(pid: u32) -> io::Result<Self> {
        let (broker, own) = (procfs::cpu(pid)?, procfs::cpu(std::process::id())?);
        Ok(Self { at: Instant::now(), broker, own, machine: procfs::machine_busy()? })
    }
}

impl Cost {
    /// Adds what happened since a reading.
    pub fn add_since(&mut self, before: &Reading, pid: u32) -> io::Result<()> {
        let now = Reading::take(pid)?;
        let broker = now.broker.saturating_sub(before.broker);
        let own = now.own.saturating_sub(before.own);
        self.wall += now.at - before.at;
        self.broker += broker;
        self.foreign += now.machine.saturating_sub(before.machine).saturating_sub(broker + own);
        Ok(())
    }

    /// How many cores the others used.
    pub fn foreign_cores(&self) -> f64 {
        self.foreign.as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }
}

//! The scenarios P1 to P13 that a single broker has, and L6, one function each.

mod cold_start;
mod commits;
mod groups;
mod idle;
mod steady;
mod throughput;

use std::time::Duration;

use crate::Options;
use crate::load::Failure;
use crate::report::Case;

pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    pub run: fn(&str, &Options) -> Result<Vec<Case>, Failure>,
}

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "P1",
        what: "produce 1 KiB, 1 and 16 partitions, acks=1",
        run: throughput::produce_1_kib,
    },
    Scenario {
        name: "P2",
        what: "produce 100 B, 10 KiB, and 1 KiB with lz4",
        run: throughput::produce_sizes,
    },
    Scenario { name: "P3", what: "catch-up fetch of 1 KiB records", run: throughput::catch_up },
    Scenario { name: "P4", what: "latency at 1,000 and 10,000 records/s, acks=1", run: steady::latency },
    Scenario { name: "P6", what: "durable mode against page-cache mode", run: steady::durable },
    Scenario { name: "P7", what: "start to the first answered Metadata", run: cold_start::run },
    Scenario { name: "P8", what: "idle with 0 and 10,000 partitions", run: idle::partitions },
    Scenario {
        name: "P9",
        what: "1,000 and 10,000 connections, a request per second each",
        run: idle::connections,
    },
    Scenario { name: "P10", what: "1,000 groups of 10 members join at once, then commit", run: groups::run },
    Scenario {
        name: "L6",
        what: "10 million commits of 1,000 groups: what is left after cleaning, and how soon it is loaded",
        run: commits::run,
    },
    Scenario {
        name: "P13",
        what: "steady state: retention deletes as much as arrives",
        run: steady::retention,
    },
];

/// Length of a round: what the user asked for, or the scenario's own.
fn length(options: &Options, default_s: f64) -> Duration {
    options.seconds.unwrap_or(Duration::from_secs_f64(default_s))
}

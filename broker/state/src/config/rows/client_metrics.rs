//! Properties of client metrics subscriptions (KIP-714). Milena does not ask clients for their metrics, so what is kept
//! here waits for the day on which it does.
//!
//! Sorted by name. One property in two lines: the facts, then the sentence.

use crate::config::definition::Acts::NoEffect;
use crate::config::definition::Kind::{Int, List};
use crate::config::definition::Update::Resource;
use crate::config::definition::Valid::Any;
use crate::config::definition::{Definition, row};

#[rustfmt::skip]
pub const ROWS: &[Definition] = &[
    row("interval.ms", Int, Some("300000"), Any, Resource, NoEffect,
        "How often a client of this subscription pushes its metrics, from 100 ms to an hour."),
    row("match", List, Some(""), Any, Resource, NoEffect,
        "Clients that the subscription is for, as `property=pattern` pairs; empty means all."),
    row("metrics", List, Some(""), Any, Resource, NoEffect,
        "Prefixes of the metrics that are asked for; `*` asks for all, empty for none."),
];

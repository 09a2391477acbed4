//! Properties that only Milena has.
//!
//! Sorted by name. One property in two lines: the facts, then the sentence.

use crate::config::definition::Acts::Yes;
use crate::config::definition::Kind::{Boolean, String};
use crate::config::definition::Update::ReadOnly;
use crate::config::definition::Valid::{Any, NonEmpty, OneOf};
use crate::config::definition::{Definition, row};

#[rustfmt::skip]
pub const ROWS: &[Definition] = &[
    row("milena.cluster.id", String, None, Any, ReadOnly, Yes,
        "Cluster id given to an empty data directory; without it a random one is drawn at the first start."),
    row("milena.fence.on.disconnect", Boolean, Some("true"), Any, ReadOnly, Yes,
        "Whether the controller fences a broker a moment after its connection broke, without waiting for its session to run out."),
    row("milena.flush", String, Some("page-cache"), OneOf(&["page-cache", "durable"]), ReadOnly, Yes,
        "Default for topics: with `durable` a record counts as committed only when the in-sync replicas have synced it to disk, with `page-cache` when they hold it in memory."),
    row("milena.http.listener", String, Some("127.0.0.1:9464"), Any, ReadOnly, Yes,
        "`host:port` that serves metrics, health and the console over HTTP; empty switches it off."),
    row("milena.log.format", String, Some("text"), OneOf(&["text", "json"]), ReadOnly, Yes,
        "Shape of the log lines on standard error: `text` for people, `json` for machines."),
    row("milena.log.level", String, Some("info"), NonEmpty, ReadOnly, Yes,
        "Lowest level that is logged, or a filter such as `info,milena_broker=debug`."),
];

//! Properties that only Milena has.
//!
//! Sorted by name. One property in two lines: the facts, then the sentence.

use crate::config::definition::Acts::Yes;
use crate::config::definition::Kind::String;
use crate::config::definition::Update::ReadOnly;
use crate::config::definition::Valid::{Any, NonEmpty, OneOf};
use crate::config::definition::{Definition, row};

#[rustfmt::skip]
pub const ROWS: &[Definition] = &[
    row("milena.cluster.id", String, None, Any, ReadOnly, Yes,
        ""),
    row("milena.flush", String, Some("page-cache"), OneOf(&["page-cache", "durable"]), ReadOnly, Yes,
        ""),
    row("milena.http.listener", String, Some("127.0.0.1:9464"), Any, ReadOnly, Yes,
        ""),
    row("milena.log.format", String, Some("text"), OneOf(&["text", "json"]), ReadOnly, Yes,
        ""),
    row("milena.log.level", String, Some("info"), NonEmpty, ReadOnly, Yes,
        ""),
];

//! Properties of consumer, share and streams groups. None acts before groups are served.

use super::definition::{Definition, find};
use super::rows;

/// Rows of all group properties, sorted by name.
pub const TABLE: &[&[Definition]] = &[rows::group::ROWS];

/// The row of a group property.
pub fn definition(name: &str) -> Option<&'static Definition> {
    find(TABLE, name)
}

/// The broker property that gives a group property its default.
pub fn broker_synonym(name: &str) -> String {
    match name {
        "share.auto.offset.reset" | "share.isolation.level" | "share.renew.acknowledge.enable" => {
            name.to_owned()
        }
        _ => format!("group.{name}"),
    }
}

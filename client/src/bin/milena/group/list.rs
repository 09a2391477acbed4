//! `milena group list`.

use milena_client::admin::GroupListing;
use serde_json::json;

use crate::context::Context;
use crate::error::{Result, together};
use crate::{output, progress};

const STATES: [&str; 8] = [
    "Stable",
    "Empty",
    "PreparingRebalance",
    "CompletingRebalance",
    "Assigning",
    "Reconciling",
    "Dead",
    "NotReady",
];

const TYPES: [&str; 4] = ["Classic", "Consumer", "Share", "Streams"];

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Groups in these states only, such as stable,empty
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = |text: &str| one_of(text, &STATES))]
    state: Vec<String>,
    /// Groups of these types only: classic, consumer, share, streams
    #[arg(long = "type", value_name = "LIST", value_delimiter = ',', value_parser = |text: &str| one_of(text, &TYPES))]
    types: Vec<String>,
}

/// The word as brokers spell it. Old ones find nothing under a wrong word and do not say so.
fn one_of(text: &str, words: &[&str]) -> Result<String, String> {
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(text.trim()));
    found.map(|word| (*word).to_owned()).ok_or_else(|| format!("none of {}", words.join(", ")))
}

pub async fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let admin = context.connect().await?;
    let listing = admin.list_groups(&arguments.state, &arguments.types);
    let listed = progress::during("asking for the groups", listing).await?;
    // Nothing but failures is no list.
    if listed.failures.is_empty() || !listed.groups.is_empty() {
        show(context, &listed.groups)?;
    }
    together(listed.failures)
}

fn show(context: &Context, groups: &[GroupListing]) -> Result<()> {
    if context.is_json() {
        return output::json(&groups.iter().map(as_json).collect::<Vec<_>>());
    }
    output::table(&["GROUP", "TYPE", "PROTOCOL", "STATE"], &groups.iter().map(row).collect::<Vec<_>>())
}

fn as_json(group: &GroupListing) -> serde_json::Value {
    json!({
        "group": group.group_id,
        "type": known(&group.group_type),
        "protocol_type": group.protocol_type,
        "state": known(&group.state),
    })
}

fn row(group: &GroupListing) -> Vec<String> {
    vec![
        group.group_id.clone(),
        output::or_dash(known(&group.group_type)),
        output::or_dash(known(&group.protocol_type)),
        output::or_dash(known(&group.state)),
    ]
}

fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_spelled_as_brokers_do() {
        assert_eq!(one_of("preparingrebalance", &STATES), Ok("PreparingRebalance".to_owned()));
        assert_eq!(one_of(" CLASSIC", &TYPES), Ok("Classic".to_owned()));
        assert!(one_of("", &STATES).is_err() && one_of("idle", &STATES).is_err());
    }
}

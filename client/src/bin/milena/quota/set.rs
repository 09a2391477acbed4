//! `milena quota set`.

use milena_client::admin::QuotaChange;
use serde_json::json;

use super::entity;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::{output, progress, text};

const NOTES: &str = "\
Quotas: producer_byte_rate and consumer_byte_rate in bytes per second,
controller_mutation_rate in partitions per second, request_percentage,
and of addresses connection_creation_rate.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Arguments {
    #[command(flatten)]
    entity: entity::Options,
    /// A value to set; without one, NAME= removes it
    #[arg(value_name = "NAME=VALUE", value_parser = change, required_unless_present = "remove")]
    changes: Vec<(String, QuotaChange)>,
    /// A quota to remove; may be given again
    #[arg(long, value_name = "NAME")]
    remove: Vec<String>,
    /// Only ask whether the quotas could be set
    #[arg(long)]
    validate_only: bool,
}

fn change(text: &str) -> Result<(String, QuotaChange), String> {
    let (name, value) = text::pair(text)?;
    if name.is_empty() {
        return Err("a name is needed".to_owned());
    }
    if value.is_empty() {
        return Ok((name, QuotaChange::Remove));
    }
    // Brokers take what is no number or has no end, and bound nobody by it.
    let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
    let number = number.ok_or_else(|| format!("'{value}' is not a number"))?;
    Ok((name, QuotaChange::Set(number)))
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let entity = arguments.entity.entity();
    if entity.is_empty() {
        let message = "whose quota? --user, --client-id, --ip, or a default such as --user-default";
        return Err(Error::Usage(message.to_owned()));
    }
    let removed = arguments.remove.into_iter().map(|name| (name, QuotaChange::Remove));
    let changes: Vec<_> = arguments.changes.into_iter().chain(removed).collect();
    let name = entity::text(&entity);
    let admin = context.connect().await?;
    let altering = admin.alter_client_quotas(&entity, &changes, arguments.validate_only);
    progress::during(&format!("changing quotas of {name}"), altering).await?;
    let names = |is_removed: bool| {
        let of_kind =
            changes.iter().filter(move |(_, change)| (*change == QuotaChange::Remove) == is_removed);
        of_kind.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    let (set, removed) = (names(false), names(true));
    if context.is_json() {
        let outcome = if arguments.validate_only { "valid" } else { "changed" };
        return output::json(&json!({
            "entity": entity::as_json(&entity), "outcome": outcome, "set": set, "removed": removed,
        }));
    }
    let could = if arguments.validate_only { "could be " } else { "" };
    for (names, verb) in
        [(set, "set"), (removed, "removed")].into_iter().filter(|(names, _)| !names.is_empty())
    {
        output::line(&format!("{name}: {} {could}{verb}", names.join(", ")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbers_and_nothing_removes() {
        assert_eq!(change("a=1"), Ok(("a".to_owned(), QuotaChange::Set(1.0))));
        assert_eq!(change("a=1.5e6"), Ok(("a".to_owned(), QuotaChange::Set(1_500_000.0))));
        assert_eq!(change("a="), Ok(("a".to_owned(), QuotaChange::Remove)));
        for wrong in ["a", "=1", "a=much", "a=NaN", "a=inf"] {
            assert!(change(wrong).is_err(), "{wrong}");
        }
    }
}

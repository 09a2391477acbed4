//! `milena config set`.

use milena_client::admin::{ConfigChange, ConfigResource};
use serde_json::json;

use super::resource;
use crate::context::Context;
use crate::error::Result;
use crate::{output, progress};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// topic/NAME, broker/ID, brokers (for all), loggers/ID, group/NAME or client-metrics/NAME
    #[arg(value_parser = resource::parse)]
    resource: ConfigResource,
    /// NAME=VALUE; of a list, NAME+=ELEMENTS adds and NAME-=ELEMENTS takes away
    #[arg(required = true, value_name = "NAME=VALUE", value_parser = change)]
    changes: Vec<(String, ConfigChange)>,
    /// Only ask whether the values could be set
    #[arg(long)]
    validate_only: bool,
}

/// One change; no property's name ends with a sign.
fn change(text: &str) -> Result<(String, ConfigChange), String> {
    let (name, value) = crate::text::pair(text)?;
    let (name, change) = match (name.strip_suffix('+'), name.strip_suffix('-')) {
        (Some(list), _) => (list.to_owned(), ConfigChange::Append(value)),
        (_, Some(list)) => (list.to_owned(), ConfigChange::Subtract(value)),
        (None, None) => (name, ConfigChange::Set(value)),
    };
    if name.is_empty() { Err("a name is needed".to_owned()) } else { Ok((name, change)) }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let verb = if arguments.validate_only { "could be set" } else { "set" };
    alter(context, &arguments.resource, &arguments.changes, arguments.validate_only, verb).await
}

/// Carries changes out and says of which names.
pub(super) async fn alter(
    context: &Context,
    resource: &ConfigResource,
    changes: &[(String, ConfigChange)],
    validate_only: bool,
    verb: &str,
) -> Result<()> {
    let admin = context.connect().await?;
    let altering = admin.alter_configs(resource, changes, validate_only);
    progress::during(&format!("changing {resource}"), altering).await?;
    let names: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    if context.is_json() {
        return output::json(&json!({ "resource": resource.to_string(), "outcome": verb, "names": names }));
    }
    output::line(&format!("{resource}: {} {verb}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_and_shrink_by_signs() {
        let is = |text: &str, name: &str, expected: ConfigChange| {
            assert_eq!(change(text), Ok((name.to_owned(), expected)), "{text}");
        };
        is("a=b=c", "a", ConfigChange::Set("b=c".to_owned()));
        is("a=", "a", ConfigChange::Set(String::new()));
        is("a+=b,c", "a", ConfigChange::Append("b,c".to_owned()));
        is("a-=b", "a", ConfigChange::Subtract("b".to_owned()));
        assert!(change("a").is_err() && change("=b").is_err() && change("+=b").is_err());
    }
}

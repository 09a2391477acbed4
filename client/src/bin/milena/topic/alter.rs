//! `milena topic alter`.

use milena_client::admin::{ConfigChange, ConfigResource};
use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::{output, progress, text};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Names of the topics
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// A property to set, such as retention.ms=60000
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = text::pair, required_unless_present = "unset")]
    config: Vec<(String, String)>,
    /// A property to take back to its default
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,
    /// Only ask whether the topics could be altered
    #[arg(long)]
    validate_only: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let set = arguments.config.into_iter().map(|(name, value)| (name, ConfigChange::Set(value)));
    let unset = arguments.unset.into_iter().map(|name| (name, ConfigChange::Unset));
    let changes: Vec<_> = set.chain(unset).collect();
    let admin = context.connect().await?;
    let (mut altered, mut failures) = (Vec::new(), Vec::new());
    for name in arguments.names {
        let resource = ConfigResource::Topic(name.clone());
        let altering = admin.alter_configs(&resource, &changes, arguments.validate_only);
        match progress::during(&format!("altering {name}"), altering).await {
            Ok(()) => altered.push(name),
            Err(error) => failures.push(error),
        }
    }
    let (outcome, verb) =
        if arguments.validate_only { ("valid", "could be altered") } else { ("altered", "altered") };
    if context.is_json() && !altered.is_empty() {
        let topics = altered.iter().map(|name| json!({ "name": name, "outcome": outcome }));
        output::json(&topics.collect::<Vec<_>>())?;
    } else {
        altered.iter().try_for_each(|name| output::line(&format!("{name} {verb}")))?;
    }
    super::failed(&failures)
}

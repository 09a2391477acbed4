//! `milena config get`.

use milena_client::admin::ConfigResource;
use serde_json::json;

use super::resource;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::{output, progress};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// topic/NAME, broker/ID, brokers (for all), loggers/ID, group/NAME or client-metrics/NAME
    #[arg(value_parser = resource::parse)]
    resource: ConfigResource,
    /// The property
    #[arg(value_name = "NAME")]
    name: String,
}

pub async fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let Arguments { resource, name } = arguments;
    let admin = context.connect().await?;
    let entries =
        progress::during(&format!("asking for {resource}"), admin.describe_configs(resource)).await?;
    let entry =
        entries.into_iter().find(|entry| entry.name == *name).ok_or_else(|| missing(resource, name))?;
    if context.is_json() {
        return output::json(&json!({
            "name": entry.name,
            "value": entry.value,
            "source": resource::source(entry.source),
        }));
    }
    match entry.value {
        Some(value) => output::line(&value),
        None if entry.is_sensitive => output::line("(hidden)"),
        None => output::line(""),
    }
}

/// Of all brokers together only what is set is described; everything else has all its properties.
fn missing(resource: &ConfigResource, name: &str) -> Error {
    match resource {
        ConfigResource::AllBrokers => Error::Failed {
            message: format!("{name} is not set for {resource}"),
            hint: Some("`milena config get broker/ID NAME` shows what a broker has"),
        },
        _ => Error::Failed {
            message: format!("{resource} has no property {name}"),
            hint: Some("`milena config describe RESOURCE --all` shows them"),
        },
    }
}

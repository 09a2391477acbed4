//! `milena config describe`.

use milena_client::admin::{ConfigEntry, ConfigResource};
use serde_json::json;

use super::resource;
use crate::context::Context;
use crate::error::Result;
use crate::{output, progress};

/// Kafka's number for a property that nobody set.
const DEFAULT: i8 = 5;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// topic/NAME, broker/ID, brokers (for all), loggers/ID, group/NAME or client-metrics/NAME
    #[arg(value_parser = resource::parse)]
    resource: ConfigResource,
    /// Also properties that have their default
    #[arg(long)]
    all: bool,
}

pub async fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let resource = &arguments.resource;
    let admin = context.connect().await?;
    let entries =
        progress::during(&format!("asking for {resource}"), admin.describe_configs(resource)).await?;
    let shown: Vec<ConfigEntry> =
        entries.into_iter().filter(|entry| arguments.all || entry.source != DEFAULT).collect();
    if context.is_json() {
        return output::json(&shown.iter().map(as_json).collect::<Vec<_>>());
    }
    output::table(&["NAME", "VALUE", "FROM"], &shown.iter().map(row).collect::<Vec<_>>())
}

fn as_json(entry: &ConfigEntry) -> serde_json::Value {
    json!({
        "name": entry.name,
        "value": entry.value,
        "source": resource::source(entry.source),
        "read_only": entry.is_read_only,
        "sensitive": entry.is_sensitive,
    })
}

fn row(entry: &ConfigEntry) -> Vec<String> {
    let value =
        entry.value.clone().unwrap_or_else(|| if entry.is_sensitive { "(hidden)" } else { "-" }.to_owned());
    vec![entry.name.clone(), value, resource::source(entry.source).to_owned()]
}

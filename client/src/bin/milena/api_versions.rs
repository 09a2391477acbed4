//! `milena api-versions`: what a broker serves beside what we know.

use milena_client::connection::Versions;
use milena_protocol::ApiKey;
use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::{output, progress, text};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Ask this broker instead of the first that answers
    #[arg(long, value_name = "ID", value_parser = text::at_least::<i32, 0>, allow_negative_numbers = true)]
    broker: Option<i32>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let admin = context.connect().await?;
    let cluster = admin.cluster();
    let connection = match arguments.broker {
        None => cluster.any().await?,
        Some(broker) => {
            let asked = async {
                cluster.refresh(Some(&[]), false).await?;
                cluster.broker(broker).await
            };
            progress::during("asking for the broker", asked).await?
        }
    };
    if context.is_json() {
        return output::json(&as_json(connection.address(), connection.versions()));
    }
    print(connection.versions())
}

fn name(key: i16) -> String {
    ApiKey::from_i16(key).map_or_else(|| "unknown to this version".to_owned(), |api| api.name().to_owned())
}

/// First and last version that this command line knows.
fn ours(key: i16) -> Option<(i16, i16)> {
    ApiKey::from_i16(key)?.versions()
}

fn as_json(address: &str, versions: &Versions) -> serde_json::Value {
    let apis = versions.all().into_iter().map(|(key, first, last)| {
        let ours = ours(key).map(|(first, last)| json!({ "min": first, "max": last }));
        json!({ "key": key, "name": name(key), "min": first, "max": last, "known": ours })
    });
    let features = versions.features().iter();
    let features = features.map(|(name, min, max)| json!({ "name": name, "min": min, "max": max }));
    json!({ "broker": address, "apis": apis.collect::<Vec<_>>(), "features": features.collect::<Vec<_>>() })
}

fn print(versions: &Versions) -> Result<()> {
    let span = |(first, last): (i16, i16)| format!("{first}-{last}");
    let rows = versions.all().into_iter().map(|(key, first, last)| {
        vec![key.to_string(), name(key), span((first, last)), output::or_dash(ours(key).map(span))]
    });
    output::table(&["KEY", "REQUEST", "SERVED", "KNOWN HERE"], &rows.collect::<Vec<_>>())?;
    if versions.features().is_empty() {
        return Ok(());
    }
    let rows = versions.features().iter().map(|(name, min, max)| vec![name.clone(), format!("{min}-{max}")]);
    output::line("")?;
    output::table(&["FEATURE", "LEVELS"], &rows.collect::<Vec<_>>())
}

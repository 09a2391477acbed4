//! `milena quota get`.

use milena_client::admin::{Quota, QuotaFilter};
use serde_json::json;

use super::entity;
use crate::context::Context;
use crate::error::Result;
use crate::{output, progress};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    entity: entity::Options,
    /// Only quotas of just what is named, not of combinations with more
    #[arg(long)]
    strict: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let filter = QuotaFilter { entity: arguments.entity.entity(), is_strict: arguments.strict };
    let admin = context.connect().await?;
    let asking = admin.describe_client_quotas(&filter);
    let mut quotas = progress::during("asking for quotas", asking).await?;
    quotas.sort_by_cached_key(|quota| entity::text(&quota.entity));
    if context.is_json() {
        return output::json(&quotas.iter().map(as_json).collect::<Vec<_>>());
    }
    let rows = quotas.iter().flat_map(|quota| {
        let entity = entity::text(&quota.entity);
        quota.values.iter().map(move |(name, value)| vec![entity.clone(), name.clone(), value.to_string()])
    });
    output::table(&["ENTITY", "QUOTA", "VALUE"], &rows.collect::<Vec<_>>())
}

fn as_json(quota: &Quota) -> serde_json::Value {
    json!({ "entity": entity::as_json(&quota.entity), "quotas": quota.values })
}

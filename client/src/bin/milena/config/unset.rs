//! `milena config unset`.

use milena_client::admin::{ConfigChange, ConfigResource};

use super::{resource, set};
use crate::context::Context;
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// topic/NAME, broker/ID, brokers (for all), loggers/ID, group/NAME or client-metrics/NAME
    #[arg(value_parser = resource::parse)]
    resource: ConfigResource,
    /// The properties
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Only ask whether the values could be taken back
    #[arg(long)]
    validate_only: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let changes: Vec<_> = arguments.names.into_iter().map(|name| (name, ConfigChange::Unset)).collect();
    let verb = if arguments.validate_only { "could be unset" } else { "unset" };
    set::alter(context, &arguments.resource, &changes, arguments.validate_only, verb).await
}

//! `milena topic delete`.

use milena_client::Error as ClientError;
use milena_protocol::ErrorCode;
use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::{output, progress};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Names of the topics
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// A topic that is not there is fine
    #[arg(long)]
    if_exists: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let admin = context.connect().await?;
    let results = progress::during("deleting topics", admin.delete_topics(&arguments.names)).await?;
    let is_gone = |error: &ClientError| error.code() == Some(ErrorCode::UnknownTopicOrPartition);
    let (mut deleted, mut absent, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for (name, result) in results {
        match result {
            Ok(()) => deleted.push(name),
            Err(error) if arguments.if_exists && is_gone(&error) => absent.push(name),
            Err(error) => failures.push(error),
        }
    }
    let nothing_done = deleted.is_empty() && absent.is_empty();
    if context.is_json() && !nothing_done {
        output::json(&json!({ "deleted": deleted, "absent": absent }))?;
    } else {
        for name in &deleted {
            output::line(&format!("{name} deleted"))?;
        }
        for name in &absent {
            output::line(&format!("{name} is not there"))?;
        }
    }
    super::failed(&failures)
}

//! `milena topic delete`. Topics that the cluster made for itself hold offsets and transactions of everybody: they go only
//! when asked for as such.

use milena_client::Error as ClientError;
use milena_client::admin::Admin;
use milena_protocol::ErrorCode;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result, together};
use crate::{output, progress};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Names of the topics
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// A topic that is not there is fine
    #[arg(long)]
    if_exists: bool,
    /// Also topics that the cluster made for itself: with __consumer_offsets every group loses its offsets
    #[arg(long)]
    internal: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let admin = context.connect().await?;
    let refused = if arguments.internal { Vec::new() } else { internal(&admin, &arguments.names).await? };
    let (mut deleted, mut absent) = (Vec::new(), Vec::new());
    let mut failures: Vec<Error> = refused.iter().map(|name| refusal(name)).collect();
    let names: Vec<String> = arguments.names.into_iter().filter(|name| !refused.contains(name)).collect();
    let is_gone = |error: &ClientError| error.code() == Some(ErrorCode::UnknownTopicOrPartition);
    for (name, result) in delete(&admin, &names).await? {
        match result {
            Ok(()) => deleted.push(name),
            Err(error) if arguments.if_exists && is_gone(&error) => absent.push(name),
            Err(error) if is_gone(&error) => failures.push(Error::Failed {
                message: error.to_string(),
                hint: Some("`milena topic list` shows the topics; with --if-exists that is fine"),
            }),
            Err(error) => failures.push(error.into()),
        }
    }
    show(context, &deleted, &absent)?;
    together(failures)
}

/// Those of the topics that the cluster made for itself.
async fn internal(admin: &Admin, names: &[String]) -> Result<Vec<String>> {
    let asking = admin.cluster().refresh(Some(names), false);
    let known = progress::during("looking up topics", asking).await?;
    let is_internal = |name: &&String| known.topic(name).is_some_and(|topic| topic.is_internal);
    Ok(names.iter().filter(is_internal).cloned().collect())
}

fn refusal(name: &str) -> Error {
    Error::Failed {
        message: format!("{name} is a topic that the cluster made for itself: it was not deleted"),
        hint: Some(
            "--internal deletes it all the same; with __consumer_offsets every group loses its offsets",
        ),
    }
}

async fn delete(admin: &Admin, names: &[String]) -> Result<Vec<(String, Result<(), ClientError>)>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(progress::during("deleting topics", admin.delete_topics(names)).await?)
}

fn show(context: &Context, deleted: &[String], absent: &[String]) -> Result<()> {
    if deleted.is_empty() && absent.is_empty() {
        return Ok(());
    }
    if context.is_json() {
        return output::json(&json!({ "deleted": deleted, "absent": absent }));
    }
    deleted.iter().try_for_each(|name| output::line(&format!("{name} deleted")))?;
    absent.iter().try_for_each(|name| output::line(&format!("{name} is not there")))
}

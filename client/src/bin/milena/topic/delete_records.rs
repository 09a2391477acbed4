//! `milena topic delete-records`.

use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::{output, progress, text};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the topic
    name: String,
    /// The first offset that stays, or `end` to delete all records
    #[arg(long, value_name = "OFFSET", value_parser = before, allow_hyphen_values = true)]
    before: Before,
    /// Partitions, separated by commas [default: all]
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', value_parser = text::at_least::<i32, 0>, allow_negative_numbers = true)]
    partition: Vec<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Offset(i64),
    End,
}

fn before(text: &str) -> Result<Before, String> {
    match text {
        "end" => Ok(Before::End),
        _ => match text.parse() {
            Ok(offset) if offset >= 0 => Ok(Before::Offset(offset)),
            _ => Err("an offset or `end` is needed".to_owned()),
        },
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let Arguments { name, before, partition } = arguments;
    let admin = context.connect().await?;
    let partitions = match partition.is_empty() {
        true => {
            admin.describe_topic(&name).await?.partitions.iter().map(|partition| partition.index).collect()
        }
        false => partition,
    };
    let offset = match before {
        Before::Offset(offset) => Some(offset),
        Before::End => None,
    };
    let asked: Vec<_> = partitions.into_iter().map(|partition| (partition, offset)).collect();
    let deleting = admin.delete_records(&name, &asked);
    let results = progress::during(&format!("deleting records of {name}"), deleting).await?;
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for (partition, result) in results {
        match result {
            Ok(start) => done.push((partition, start)),
            Err(error) => failures.push(error),
        }
    }
    show(context, &name, &done)?;
    super::failed(&failures)
}

/// Where each partition begins now.
fn show(context: &Context, name: &str, done: &[(i32, i64)]) -> Result<()> {
    if done.is_empty() {
        return Ok(());
    }
    if context.is_json() {
        let partitions = done.iter().map(
            |(partition, start)| json!({ "topic": name, "partition": partition, "log_start_offset": start }),
        );
        return output::json(&partitions.collect::<Vec<_>>());
    }
    let rows = done.iter().map(|(partition, start)| vec![partition.to_string(), start.to_string()]);
    output::table(&["PARTITION", "START"], &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_or_the_end_says_what_stays() {
        assert_eq!(before("5"), Ok(Before::Offset(5)));
        assert_eq!(before("end"), Ok(Before::End));
        assert!(before("-1").is_err() && before("all").is_err());
    }
}

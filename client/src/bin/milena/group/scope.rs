//! Which partitions a command is about: `orders`, `orders:0,2`.

use std::collections::BTreeSet;

use milena_client::admin::Admin;
use milena_client::consumer::PartitionKey;
use milena_client::{Error as ClientError, cluster::Topic};

use crate::error::{Error, Result};

/// A topic, or some partitions of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicScope {
    topic: String,
    /// None of them means all.
    partitions: Vec<i32>,
}

/// No name of a topic has a colon.
pub fn parse(text: &str) -> Result<TopicScope, String> {
    let (topic, list) = match text.split_once(':') {
        Some((topic, list)) => (topic, Some(list)),
        None => (text, None),
    };
    let numbers = list.into_iter().flat_map(|list| list.split(','));
    let number = |text: &str| {
        let number = text.trim().parse::<i32>().ok().filter(|number| *number >= 0);
        number.ok_or_else(|| format!("'{text}' is not a partition; TOPIC or TOPIC:0,1,2 is needed"))
    };
    let partitions = numbers.map(number).collect::<Result<Vec<_>, _>>()?;
    if topic.is_empty() {
        Err("a topic is needed".to_owned())
    } else {
        Ok(TopicScope { topic: topic.to_owned(), partitions })
    }
}

/// The partitions of some topics.
///
/// Errors: a topic that does not exist, or has no such partition.
pub async fn partitions(admin: &Admin, scopes: &[TopicScope]) -> Result<BTreeSet<PartitionKey>> {
    let mut all = BTreeSet::new();
    for TopicScope { topic, partitions } in scopes {
        let known = admin.describe_topic(topic).await?;
        let indexes = match partitions.is_empty() {
            true => known.partitions.iter().map(|partition| partition.index).collect(),
            false => partitions.clone(),
        };
        for index in indexes {
            known.partition(index)?;
            all.insert((topic.clone(), index));
        }
    }
    Ok(all)
}

/// Checks that partitions are there and led, as whoever asks for their offsets must know.
///
/// Errors: all that are not, as Kafka's tool says it.
pub async fn check(admin: &Admin, partitions: &BTreeSet<PartitionKey>) -> Result<()> {
    let topics: BTreeSet<&String> = partitions.iter().map(|(topic, _)| topic).collect();
    let topics: Vec<String> = topics.into_iter().cloned().collect();
    let known = admin.cluster().refresh(Some(&topics), false).await?;
    let usable = |topic: &String| known.topic(topic).filter(|topic| topic.is_usable());
    let leader = |topic: &Topic, index: i32| topic.partition(index).map(|partition| partition.leader);
    let (mut absent, mut leaderless) = (Vec::new(), Vec::new());
    for (topic, index) in partitions {
        let name = format!("{topic}-{index}");
        match usable(topic).map(|topic| leader(topic, *index)) {
            Some(Ok(Some(_))) => {}
            Some(Ok(None)) => leaderless.push(name),
            Some(Err(ClientError::UnknownPartition { .. })) | None => absent.push(name),
            Some(Err(error)) => return Err(error.into()),
        }
    }
    let failed = |message: String| Err(Error::Failed { message, hint: None });
    if !absent.is_empty() {
        return failed(format!("the partitions \"{}\" do not exist", absent.join(",")));
    }
    if !leaderless.is_empty() {
        return failed(format!("the partitions \"{}\" have no leader", leaderless.join(",")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_have_partitions_behind_a_colon() {
        let is = |text: &str, topic: &str, partitions: &[i32]| {
            let expected = TopicScope { topic: topic.to_owned(), partitions: partitions.to_vec() };
            assert_eq!(parse(text), Ok(expected), "{text}");
        };
        is("t", "t", &[]);
        is("t:0", "t", &[0]);
        is("t:0,2, 1", "t", &[0, 2, 1]);
        for wrong in ["", ":0", "t:", "t:a", "t:-1", "t:0,", "t:0:1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

//! `/api/v1/topic?name=…`: one topic, its partitions a page at a time, its configuration and who reads it.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use milena_state::metadata::image::{Partition, Topic};
use serde::Serialize;

use super::answer::{Refused, json};
use super::configs::{self, Config};
use super::page::{Page, Query};
use super::topics::named;
use crate::admin::Admin;
use crate::broker::{Node, now_ms};

/// Groups that are named as readers of a topic; the others are found in the list of groups.
const READERS_MAX: usize = 100;

#[derive(Serialize)]
struct Described {
    now_ms: i64,
    name: String,
    topic_id: String,
    is_internal: bool,
    partitions: Page<PartitionOf>,
    configs: Vec<Config>,
    readers: Vec<Reader>,
}

/// One partition. What only its leader knows is null elsewhere.
#[derive(Serialize)]
struct PartitionOf {
    partition: usize,
    leader_id: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    #[serde(flatten)]
    log: Option<LogOf>,
}

#[derive(Serialize)]
struct LogOf {
    log_start_offset: i64,
    high_watermark: i64,
    log_end_offset: i64,
    size_bytes: u64,
    segments: usize,
}

#[derive(Serialize)]
struct Reader {
    group: String,
    lag_records: i64,
    lag_ms: Option<i64>,
}

pub async fn answer(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    json(Query::parse(query.as_deref()).and_then(|query| describe(&admin.node, &query)))
}

fn describe(node: &Node, query: &Query) -> Result<Described, Refused> {
    let image = node.metadata.image_arc();
    let topic = named(&image, query)?;
    let after = query.after.as_deref().and_then(|after| after.parse::<usize>().ok());
    let partitions = topic.partitions.iter().enumerate();
    let page = query.page(
        partitions,
        |(index, _)| after.is_none_or(|after| *index > after),
        |(index, _)| index.to_string(),
    );
    Ok(Described {
        now_ms: now_ms(),
        name: topic.name.to_string(),
        topic_id: topic.id.to_string(),
        is_internal: topic.is_internal(),
        partitions: page.map(|(index, partition)| one(node, topic, index, partition)),
        configs: configs::of_topic(node, &image, &topic.name),
        readers: readers(node, &topic.name),
    })
}

fn one(node: &Node, topic: &Topic, index: usize, partition: &Partition) -> PartitionOf {
    let here = i32::try_from(index).ok().and_then(|index| node.partitions.by_name(&topic.name, index).ok());
    let log = here.and_then(|here| {
        let extent = here.extent()?;
        Some(LogOf {
            log_start_offset: extent.log_start_offset,
            high_watermark: here.high_watermark().get(),
            log_end_offset: extent.log_end_offset,
            size_bytes: extent.size_bytes,
            segments: extent.segments_count,
        })
    });
    PartitionOf {
        partition: index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        log,
    }
}

/// Lags are ordered by group, so those of one group on this topic stand together.
fn readers(node: &Node, topic: &str) -> Vec<Reader> {
    let current = node.lags.current();
    let mut readers: Vec<Reader> = Vec::new();
    for lag in current.lags.iter().filter(|lag| &*lag.commit.topic == topic) {
        if let Some(last) = readers.last_mut().filter(|last| last.group == *lag.commit.group) {
            last.lag_records = last.lag_records.saturating_add(lag.records);
            last.lag_ms = last.lag_ms.max(lag.age_ms);
        } else if readers.len() < READERS_MAX {
            let group = lag.commit.group.to_string();
            readers.push(Reader { group, lag_records: lag.records, lag_ms: lag.age_ms });
        }
    }
    readers
}

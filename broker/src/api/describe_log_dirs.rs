//! DescribeLogDirs (key 35), versions 1–5 (KIP-113).
//!
//! What each of this broker's log directories holds of the partitions that are asked for (no list means all), and how
//! much room its disk has. A replica that is being moved is shown in both directories, in the one it moves to with
//! `is_future_key` and what it lacks. A directory that cannot be used answers KAFKA_STORAGE_ERROR. v3 adds an error of the whole,
//! v4 the size of the disk (KIP-827), v5 whether a directory is cordoned (KIP-1066), which none is here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use milena_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use crate::partition::Partition;
use crate::server::{Reply, RequestContext};
use crate::system::{self, Space};

pub async fn handle(cx: &RequestContext, request: DescribeLogDirsRequest<'_>) -> Reply {
    let paths = &cx.node.settings.log_dirs;
    let mut held = held(cx, wanted(&request).as_ref());
    let spaces = spaces(cx, paths.clone()).await;
    let results = paths.iter().zip(spaces).map(|(path, (shown, space))| {
        let usable =
            cx.node.directories.at(path).is_some_and(|directory| directory.offline_reason().is_none());
        let error = if usable { ErrorCode::None } else { ErrorCode::KafkaStorageError };
        let topics = if usable { held.remove(path.as_path()).unwrap_or_default() } else { BTreeMap::new() };
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        DescribeLogDirsResult {
            error_code: error.into(),
            log_dir: shown.into(),
            topics: topics.into_iter().map(|(name, partitions)| topic(&name, partitions)).collect(),
            total_bytes: space.filter(|_| usable).map_or(-1, |space| number(space.total_bytes)),
            usable_bytes: space.filter(|_| usable).map_or(-1, |space| number(space.usable_bytes)),
            ..Default::default()
        }
    });
    cx.reply(&DescribeLogDirsResponse { results: results.collect(), ..Default::default() })
}

type Wanted<'a> = BTreeSet<(&'a str, i32)>;
type Held = BTreeMap<PathBuf, BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>>>;

/// The partitions that the request names; none for all.
fn wanted<'a>(request: &'a DescribeLogDirsRequest<'_>) -> Option<Wanted<'a>> {
    let topics = request.topics.as_ref()?.iter();
    let named = topics.flat_map(|topic| topic.partitions.iter().map(|index| (&*topic.topic, *index)));
    Some(named.collect())
}

/// The partitions that are here, by directory and topic, in their order.
fn held(cx: &RequestContext, wanted: Option<&Wanted<'_>>) -> Held {
    let mut held = Held::new();
    let partitions: Vec<Arc<Partition>> = match wanted {
        None => cx.node.partitions.all(),
        Some(named) => {
            named.iter().filter_map(|(topic, index)| cx.node.partitions.by_name(topic, *index).ok()).collect()
        }
    };
    for partition in partitions {
        let Some(extent) = partition.extent() else { continue };
        if let Some(future) = partition.future_replica() {
            let of_topic = held.entry(future.directory().path().to_path_buf()).or_default();
            of_topic.entry(Arc::clone(partition.topic())).or_default().push(DescribeLogDirsPartition {
                partition_index: partition.index(),
                partition_size: i64::try_from(future.size_bytes()).unwrap_or(i64::MAX),
                offset_lag: (extent.log_end_offset - future.log_end_offset()).max(0),
                is_future_key: true,
            });
        }
        let of_topic = held.entry(partition.directory().path().to_path_buf()).or_default();
        of_topic.entry(Arc::clone(partition.topic())).or_default().push(DescribeLogDirsPartition {
            partition_index: partition.index(),
            partition_size: i64::try_from(extent.size_bytes).unwrap_or(i64::MAX),
            offset_lag: (partition.high_watermark().get() - extent.log_end_offset).max(0),
            is_future_key: false,
        });
    }
    held
}

fn topic(name: &str, mut partitions: Vec<DescribeLogDirsPartition>) -> DescribeLogDirsTopic<'static> {
    partitions.sort_unstable_by_key(|partition| partition.partition_index);
    DescribeLogDirsTopic { name: name.to_owned().into(), partitions }
}

/// How each directory is called in full, and the room on its disk. Asking a disk may block.
async fn spaces(cx: &RequestContext, paths: Vec<PathBuf>) -> Vec<(String, Option<Space>)> {
    let count = paths.len();
    let asked = cx.run_blocking(move || {
        let of = |path: &Path| {
            let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
            (shown.to_string_lossy().into_owned(), system::space(path).ok())
        };
        paths.iter().map(|path| of(path)).collect()
    });
    asked.await.unwrap_or_else(|_| vec![(String::new(), None); count])
}

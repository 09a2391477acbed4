//! Reading the partitions of one fetch until there is enough to answer with.

use std::sync::Arc;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::messages::fetch_request::FetchRequest;
use milena_state::config::replication::Selector;
use milena_state::partition::leader::Fetched;
use tokio::time::Instant;

use crate::broker::now_ms;
use crate::partition::{Isolation, Mark, Missing, Partition, Read, ReadError, Readout, WaitAny};
use crate::server::RequestContext;
use crate::server::session::{Begun, TopicKey, Want};

/// Under memory pressure what was just read may be gone again; the client then asks once more.
const WARM_ROUNDS_MAX: usize = 3;

/// What the request limits over all of its partitions.
pub(super) struct Bounds {
    bytes_max: usize,
    bytes_min: usize,
}

/// Who reads.
pub(super) struct Reader {
    isolation: Isolation,
    kind: Kind,
}

enum Kind {
    /// A client from before version 11, which only leaders serve.
    OldConsumer,
    /// With the rack that it is in, where that may send it elsewhere.
    Consumer {
        rack: Option<Box<str>>,
    },
    Replica {
        broker_id: i32,
        broker_epoch: i64,
    },
}

pub(super) type Found = Result<(Arc<Partition>, Readout), ErrorCode>;

impl Bounds {
    pub fn of(cx: &RequestContext, request: &FetchRequest<'_>, quota_bytes_max: Option<i32>) -> Self {
        let bytes_max = request.max_bytes.min(cx.node.settings.fetch_max_bytes);
        let bytes_max = quota_bytes_max.map_or(bytes_max, |quota| quota.min(bytes_max));
        let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
        // More than fits into the answer can never be waited for.
        let bytes_min = size(request.min_bytes.min(bytes_max));
        Self { bytes_max: size(bytes_max), bytes_min }
    }
}

impl Reader {
    pub fn of(cx: &RequestContext, request: &FetchRequest<'_>, replica_id: i32) -> Self {
        let isolation = Isolation::of(replica_id, request.isolation_level);
        let selects = cx.node.settings.replication.selector == Selector::RackAware;
        let kind = match replica_id {
            0.. => Kind::Replica { broker_id: replica_id, broker_epoch: request.replica_state.replica_epoch },
            _ if cx.version < 11 => Kind::OldConsumer,
            _ => Kind::Consumer {
                rack: (selects && !request.rack_id.is_empty()).then(|| (*request.rack_id).into()),
            },
        };
        Self { isolation, kind }
    }

    /// The number that must rise before there is more to read.
    fn mark(&self) -> Mark {
        match self.isolation {
            Isolation::ReadUncommitted => Mark::HighWatermark,
            Isolation::ReadCommitted => Mark::LastStable,
            Isolation::LogEnd => Mark::LogEnd,
        }
    }

    /// For a follower: how long its throttled replicas that are not in sync get nothing.
    fn hold_ms(&self, cx: &RequestContext) -> Option<i64> {
        match self.kind {
            Kind::Replica { .. } => cx.node.throttles.leader.hold_ms(),
            Kind::OldConsumer | Kind::Consumer { .. } => None,
        }
    }

    /// Counts what a follower is about to get of throttled replicas.
    pub fn count_throttled(&self, cx: &RequestContext, results: &[Found]) {
        let throttle = &cx.node.throttles.leader;
        if !matches!(self.kind, Kind::Replica { .. }) || !throttle.is_bounded() {
            return;
        }
        let node_id = cx.node.settings.node_id;
        let read = results.iter().flatten().map(|(partition, readout)| (partition, readout.bytes()));
        let throttled =
            read.filter(|(partition, bytes)| *bytes > 0 && partition.is_leader_throttled(node_id));
        throttle.copied(throttled.map(|(_, bytes)| bytes).sum());
    }
}

pub(super) async fn read_until_enough(
    cx: &RequestContext,
    begun: &Begun,
    reader: &Reader,
    bounds: &Bounds,
    deadline: Instant,
) -> Vec<Found> {
    let wants = &begun.wants;
    let mut warmed = 0;
    loop {
        let hold_ms = reader.hold_ms(cx);
        let mut results = read_all(cx, wants, reader, bounds, hold_ms.is_some());
        let missing = missing(&mut results);
        if !missing.is_empty() {
            // With something missing there is something to read: nothing to wait for, whatever comes of it.
            if warmed == WARM_ROUNDS_MAX || !bring(cx, missing).await {
                return results;
            }
            warmed += 1;
            continue;
        }
        if wants.is_empty() || is_enough(wants, &results, bounds.bytes_min) || Instant::now() >= deadline {
            return results;
        }
        let until = end_of_wait(deadline, hold_ms, &results);
        let is_more = {
            let wait = wait_for(wants, &results, reader);
            drop(results);
            let waited = tokio::time::timeout_at(until, wait.any());
            match reader.kind {
                // It may have more to ask before there is anything to answer.
                Kind::Replica { .. } => tokio::select! {
                    biased;
                    waited = waited => waited.is_ok() || until < deadline,
                    () = begun.overtaken() => false,
                },
                Kind::OldConsumer | Kind::Consumer { .. } => waited.await.is_ok(),
            }
        };
        if !is_more {
            return read_all(cx, wants, reader, bounds, reader.hold_ms(cx).is_some());
        }
    }
}

/// When to look again although nothing was written: what is withheld may be given after `hold_ms`.
fn end_of_wait(deadline: Instant, hold_ms: Option<i64>, results: &[Found]) -> Instant {
    let Some(hold_ms) = hold_ms.and_then(|ms| u64::try_from(ms).ok()) else { return deadline };
    let is_any_withheld = results.iter().flatten().any(|(_, readout)| readout.is_withheld);
    if is_any_withheld { deadline.min(Instant::now() + Duration::from_millis(hold_ms)) } else { deadline }
}

/// Waits for what is more to read, and for a follower also for what it should know to be committed.
fn wait_for(wants: &[Want], results: &[Found], reader: &Reader) -> WaitAny {
    let mut wait = WaitAny::new();
    for (want, (partition, readout)) in
        wants.iter().zip(results).filter_map(|(want, found)| Some((want, found.as_ref().ok()?)))
    {
        // More records, or more that are committed, are not what it waits for.
        if readout.is_withheld {
            continue;
        }
        wait.add(partition, reader.mark(), readout);
        if want.high_watermark != i64::MAX {
            wait.add(partition, Mark::HighWatermark, readout);
        }
    }
    wait
}

/// Takes out what the reads lacked. Costs nothing when that is nothing.
fn missing(results: &mut [Found]) -> Vec<(Arc<Partition>, Missing)> {
    let lacking = results.iter_mut().flatten().filter_map(|(partition, readout)| {
        readout.missing.take().map(|missing| (Arc::clone(partition), missing))
    });
    lacking.collect()
}

/// Brings it into memory, away from the reactor. A disk that fails takes the partition offline, which the next read
/// finds. False when nothing could be brought, because the process stops.
async fn bring(cx: &RequestContext, missing: Vec<(Arc<Partition>, Missing)>) -> bool {
    let bringing = cx.run_blocking(move || {
        missing.into_iter().for_each(|(partition, missing)| partition.bring(missing));
    });
    bringing.await.is_ok()
}

fn is_enough(wants: &[Want], results: &[Found], bytes_min: usize) -> bool {
    let is_news = |(want, found): (&Want, &Found)| match found {
        Ok((_, readout)) => {
            // Who is behind knows no high watermark beyond its own end: from what is withheld it would hear of it for ever.
            is_notice(readout) || (readout.high_watermark > want.high_watermark && !readout.is_withheld)
        }
        Err(_) => true,
    };
    bytes(results) >= bytes_min || wants.iter().zip(results).any(is_news)
}

/// Whether it says something that is always worth an answer.
pub(super) fn is_notice(readout: &Readout) -> bool {
    readout.diverging.is_some() || readout.preferred_replica.is_some()
}

pub(super) fn bytes(results: &[Found]) -> usize {
    results.iter().flatten().map(|(_, readout)| readout.bytes()).sum()
}

fn read_all(
    cx: &RequestContext,
    wants: &[Want],
    reader: &Reader,
    bounds: &Bounds,
    over_rate: bool,
) -> Vec<Found> {
    let mut left = bounds.bytes_max;
    let mut first = true;
    let read_one = |want: &Want| {
        let bytes_max = left.min(usize::try_from(want.bytes_max).unwrap_or(0));
        let found = read_one(cx, want, reader, (bytes_max, first), over_rate);
        let bytes = match &found {
            // What it lacks is brought for it before anything else is: nothing behind it is sent in its stead.
            Ok((_, Readout { missing: Some(_), .. })) => bytes_max.max(1),
            Ok((_, readout)) => readout.bytes(),
            Err(_) => 0,
        };
        left = left.saturating_sub(bytes);
        first &= bytes == 0;
        found
    };
    wants.iter().map(read_one).collect()
}

fn read_one(
    cx: &RequestContext,
    want: &Want,
    reader: &Reader,
    (bytes_max, first): (usize, bool),
    over_rate: bool,
) -> Found {
    let partition = match &want.topic {
        TopicKey::Id(id) => cx.node.partitions.by_id(*id, want.partition)?,
        TopicKey::Name(name) => cx.node.partitions.by_name(name, want.partition)?,
    };
    let read = Read {
        offset: want.fetch_offset,
        bytes_max,
        first_batch_whole: first,
        isolation: reader.isolation,
        current_leader_epoch: want.current_leader_epoch,
        last_fetched_epoch: want.last_fetched_epoch,
    };
    let readout = match &reader.kind {
        Kind::OldConsumer => partition.read(read),
        Kind::Consumer { rack: None } => partition.read_any(read),
        Kind::Consumer { rack: Some(rack) } => match nearer(cx, &partition, &read, rack) {
            Ok(None) => partition.read_any(read),
            Ok(Some(readout)) => Ok(readout),
            Err(error) => Err(error),
        },
        Kind::Replica { broker_id, broker_epoch } => {
            let fetched = Fetched {
                broker_id: *broker_id,
                broker_epoch: *broker_epoch,
                fetch_offset: want.fetch_offset,
                log_start_offset: want.log_start_offset,
            };
            partition.read_as_replica(read, fetched, over_rate, now_ms())
        }
    };
    Ok((partition, readout.map_err(ReadError::code)?))
}

/// The answer that sends a consumer to a replica in its rack.
fn nearer(
    cx: &RequestContext,
    partition: &Partition,
    read: &Read,
    rack: &str,
) -> Result<Option<Readout>, ReadError> {
    let image = cx.node.metadata.image();
    let rack_of = |id: i32| {
        // Only one that the consumer can reach.
        let broker = image.broker(id).filter(|broker| broker.endpoint(&cx.peer.listener).is_some());
        broker.and_then(|broker| broker.rack.as_deref())
    };
    partition.preferred_replica(read, rack, rack_of)
}

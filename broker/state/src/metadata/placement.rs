//! Where the replicas of new partitions go.
//!
//! Racks first, then brokers within a rack, round and round: consecutive replicas of a partition
//! land in different racks while there are racks left, leaders spread evenly, and a fenced broker
//! is taken only when the active ones do not suffice, never as the first replica. The start is
//! taken from the topic id instead of a random number, so that a decision is a function of its
//! input (Kafka's striped placer draws it).

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::command::ApiError;
use super::image::Image;

/// Brokers of one rack.
#[derive(Debug, Default)]
struct Rack {
    active: Vec<i32>,
    inactive: Vec<i32>,
}

/// Replica lists of `partitions_count` partitions that start at number `first_partition`.
///
/// Errors: `INVALID_REPLICATION_FACTOR` when there are too few brokers.
pub fn place(
    image: &Image,
    topic_id: Uuid,
    first_partition: i32,
    partitions_count: i32,
    replication_factor: i16,
) -> Result<Vec<Vec<i32>>, ApiError> {
    let replicas = check_factor(image, replication_factor)?;
    let racks = racks(image);
    let start =
        topic_id.as_bytes().iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(*byte));
    let first = usize::try_from(first_partition).unwrap_or(0);
    let count = usize::try_from(partitions_count).unwrap_or(0);
    Ok((first..first + count).map(|partition| one(&racks, start.wrapping_add(partition), replicas)).collect())
}

fn check_factor(image: &Image, replication_factor: i16) -> Result<usize, ApiError> {
    let registered = image.brokers().count();
    let replicas = usize::try_from(replication_factor).unwrap_or(0);
    let reason = if replicas == 0 {
        "the replication factor must be positive.".to_owned()
    } else if image.brokers().all(|broker| !broker.is_active()) {
        "All brokers are currently fenced or in controlled shutdown.".to_owned()
    } else if replicas > registered {
        format!(
            "The target replication factor of {replicas} cannot be reached because only {registered} \
             broker(s) are registered."
        )
    } else {
        return Ok(replicas);
    };
    Err(ApiError::new(
        ErrorCode::InvalidReplicationFactor,
        format!("Unable to replicate the partition {replication_factor} time(s): {reason}"),
    ))
}

/// Racks in the order of their names; brokers without a rack form one of their own.
fn racks(image: &Image) -> Vec<Rack> {
    let mut racks: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
    for broker in image.brokers() {
        let rack = racks.entry(broker.rack.as_deref()).or_default();
        let side = if broker.is_active() { &mut rack.active } else { &mut rack.inactive };
        side.push(broker.broker_id);
    }
    racks.into_values().collect()
}

/// The replicas of the partition with running number `turn`.
fn one(racks: &[Rack], turn: usize, replicas: usize) -> Vec<i32> {
    // Partition n starts at rack n; after each full round over the racks it moves on by one broker.
    let ordered: Vec<&Rack> = (0..racks.len()).map(|i| &racks[(turn + i) % racks.len()]).collect();
    let step = turn / racks.len();
    let mut chosen = Vec::with_capacity(replicas);
    take(&ordered, |rack| &rack.active, step, replicas, &mut chosen);
    take(&ordered, |rack| &rack.inactive, step, replicas, &mut chosen);
    chosen
}

/// Takes one broker of each rack in turn until `replicas` are chosen or all are used.
fn take(
    racks: &[&Rack],
    side: impl Fn(&Rack) -> &Vec<i32>,
    step: usize,
    replicas: usize,
    chosen: &mut Vec<i32>,
) {
    let rounds = racks.iter().map(|rack| side(rack).len()).max().unwrap_or(0);
    for round in 0..rounds {
        for rack in racks {
            let brokers = side(rack);
            if chosen.len() == replicas {
                return;
            }
            if round < brokers.len() {
                chosen.push(brokers[(step + round) % brokers.len()]);
            }
        }
    }
}

#[cfg(test)]
#[path = "placement_test.rs"]
mod tests;

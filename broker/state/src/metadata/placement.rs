//! Where the replicas of new partitions go, by the rules of Kafka's striped placer.
//!
//! Racks first: consecutive replicas of a partition land in different racks while there are racks left, and only then on
//! other brokers of the same rack. Within a rack a fenced broker comes after the active ones, and none is the first
//! replica of anything. Leaders go round the racks, and within each round its brokers. After every round the order of
//! racks and brokers changes, so that the followers of one leader's partitions are not all the same broker, which would
//! have to lead them all when the leader is lost. The order comes from the topic id instead of a random number, so that
//! a decision is a function of its input.

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
    let first = usize::try_from(first_partition).unwrap_or(0);
    let count = usize::try_from(partitions_count).unwrap_or(0);
    let mut rounds = Rounds { racks: &racks, topic_id, shuffled: None };
    Ok((first..first + count).map(|partition| rounds.replicas(partition, replicas)).collect())
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

/// Brokers in the order of one round.
struct Rounds<'a> {
    racks: &'a [Rack],
    topic_id: Uuid,
    shuffled: Option<(usize, Vec<Rack>)>,
}

impl Rounds<'_> {
    fn replicas(&mut self, partition: usize, replicas: usize) -> Vec<i32> {
        let active: usize = self.racks.iter().map(|rack| rack.active.len()).sum();
        let (round, turn) = (partition / active.max(1), partition % active.max(1));
        if self.shuffled.as_ref().is_none_or(|(of, _)| *of != round) {
            self.shuffled = Some((round, shuffled(self.racks, self.topic_id, round)));
        }
        let (_, racks) = self.shuffled.as_ref().expect("set above");
        one(racks, turn, replicas)
    }
}

/// The racks and their brokers in another order for each topic and round.
fn shuffled(racks: &[Rack], topic_id: Uuid, round: usize) -> Vec<Rack> {
    let mut random = Random::of(topic_id, round);
    let mut racks: Vec<Rack> = racks
        .iter()
        .map(|rack| Rack { active: random.shuffled(&rack.active), inactive: random.shuffled(&rack.inactive) })
        .collect();
    for left in (1..racks.len()).rev() {
        racks.swap(left, random.below(left + 1));
    }
    racks
}

/// SplitMix64, begun from a topic and a round.
struct Random(u64);

impl Random {
    fn of(topic_id: Uuid, round: usize) -> Self {
        let id = topic_id.as_u128();
        Self(
            (id >> 64) as u64
                ^ (id as u64).rotate_left(32)
                ^ (round as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        )
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn shuffled(&mut self, ids: &[i32]) -> Vec<i32> {
        let mut ids = ids.to_vec();
        for left in (1..ids.len()).rev() {
            ids.swap(left, self.below(left + 1));
        }
        ids
    }
}

/// The replicas of one partition: a leader, and then one broker of each rack in turn.
fn one(racks: &[Rack], turn: usize, replicas: usize) -> Vec<i32> {
    // A rack without an active broker leads nothing: the next one does.
    let can_lead = |offset: &usize| !racks[(turn + offset) % racks.len()].active.is_empty();
    let skipped = (0..racks.len()).find(can_lead).unwrap_or(0);
    let step = turn / racks.len();
    let mut lists: Vec<Vec<i32>> = (0..racks.len())
        .map(|offset| {
            let rack = &racks[(turn + skipped + offset) % racks.len()];
            let from =
                |ids: &[i32]| ids.iter().cycle().skip(step).take(ids.len()).copied().collect::<Vec<_>>();
            let mut ids = from(&rack.active);
            ids.extend(from(&rack.inactive));
            ids.reverse();
            ids
        })
        .collect();
    let mut chosen = Vec::with_capacity(replicas);
    while chosen.len() < replicas && lists.iter().any(|list| !list.is_empty()) {
        for list in &mut lists {
            if chosen.len() < replicas {
                chosen.extend(list.pop());
            }
        }
    }
    chosen
}

#[cfg(test)]
#[path = "placement_test.rs"]
mod tests;

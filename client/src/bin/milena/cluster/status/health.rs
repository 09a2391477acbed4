//! What is wrong with partitions, and how leaderships are spread, counted from the metadata.

use std::collections::BTreeMap;

use milena_client::cluster::{Partition, Topic};

/// What a broker carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Partitions that it leads, and that it would lead if all lived.
    pub leads: usize,
    pub preferred: usize,
    pub replicas: usize,
    pub in_sync: usize,
}

/// A partition in trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub topic: String,
    pub partition: Partition,
    /// Fewer replicas are in sync than there are.
    pub is_under_replicated: bool,
    /// So few that it takes no records with acks=all.
    pub is_under_min_in_sync: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub topics: usize,
    pub partitions: usize,
    pub brokers: BTreeMap<i32, Load>,
    /// Partitions that another than the preferred replica leads, or nobody.
    pub led_by_others: usize,
    pub troubles: Vec<Trouble>,
}

impl Health {
    /// Of topics whose `min.insync.replicas` are known where it matters; brokers that have nothing count too.
    pub fn of<'a>(
        brokers: impl Iterator<Item = i32>,
        topics: impl Iterator<Item = &'a Topic>,
        min_in_sync: &BTreeMap<String, usize>,
    ) -> Self {
        let mut health =
            Self { brokers: brokers.map(|id| (id, Load::default())).collect(), ..Self::default() };
        for topic in topics {
            health.topics += 1;
            for partition in &topic.partitions {
                health.add(topic, partition, min_in_sync.get(&topic.name).copied());
            }
        }
        health
    }

    fn add(&mut self, topic: &Topic, partition: &Partition, min_in_sync: Option<usize>) {
        self.partitions += 1;
        for id in &partition.replicas {
            self.brokers.entry(*id).or_default().replicas += 1;
        }
        for id in &partition.isr {
            self.brokers.entry(*id).or_default().in_sync += 1;
        }
        if let Some(id) = partition.replicas.first() {
            self.brokers.entry(*id).or_default().preferred += 1;
        }
        if let Some(id) = &partition.leader {
            self.brokers.entry(*id).or_default().leads += 1;
        }
        self.led_by_others += usize::from(partition.leader != partition.replicas.first().copied());
        let is_under_replicated = is_under_replicated(partition);
        // A topic with fewer replicas than the bound needs all of them.
        let needed = min_in_sync.map_or(0, |bound| bound.min(partition.replicas.len()));
        let is_under_min_in_sync = partition.isr.len() < needed;
        let is_whole = partition.leader.is_some() && partition.offline_replicas.is_empty();
        if is_under_replicated || is_under_min_in_sync || !is_whole {
            self.troubles.push(Trouble {
                topic: topic.name.clone(),
                partition: partition.clone(),
                is_under_replicated,
                is_under_min_in_sync,
            });
        }
    }

    pub fn count(&self, is_so: impl Fn(&Trouble) -> bool) -> usize {
        self.troubles.iter().filter(|trouble| is_so(trouble)).count()
    }
}

pub fn is_under_replicated(partition: &Partition) -> bool {
    partition.isr.len() < partition.replicas.len()
}

impl Trouble {
    pub fn has_no_leader(&self) -> bool {
        self.partition.leader.is_none()
    }

    pub fn has_offline_replicas(&self) -> bool {
        !self.partition.offline_replicas.is_empty()
    }

    /// In words, the worst first.
    pub fn said(&self) -> String {
        let mut said = Vec::new();
        if self.has_no_leader() {
            said.push("no leader");
        }
        if self.is_under_min_in_sync {
            said.push("under min ISR");
        }
        if self.is_under_replicated {
            said.push("under-replicated");
        }
        if self.has_offline_replicas() {
            said.push("replicas offline");
        }
        said.join(", ")
    }
}

#[cfg(test)]
pub mod tests {
    use std::time::Instant;

    use milena_protocol::Uuid;

    use super::*;

    pub fn partition(index: i32, leader: Option<i32>, replicas: &[i32], isr: &[i32]) -> Partition {
        let offline = replicas.iter().filter(|id| !isr.contains(id)).copied().collect();
        Partition {
            index,
            leader,
            leader_epoch: 0,
            replicas: replicas.to_vec(),
            isr: isr.to_vec(),
            offline_replicas: offline,
        }
    }

    pub fn topic(name: &str, partitions: Vec<Partition>) -> Topic {
        let name = name.to_owned();
        Topic {
            name,
            id: Uuid::ZERO,
            is_internal: false,
            partitions,
            error: None,
            seen: Instant::now(),
            is_doubted: false,
        }
    }

    fn health(topics: &[Topic], min_in_sync: &[(&str, usize)]) -> Health {
        let bounds = min_in_sync.iter().map(|(topic, bound)| ((*topic).to_owned(), *bound)).collect();
        Health::of([1, 2, 3].into_iter(), topics.iter(), &bounds)
    }

    #[test]
    fn a_whole_cluster_has_no_trouble() {
        let partitions =
            vec![partition(0, Some(1), &[1, 2], &[1, 2]), partition(1, Some(2), &[2, 1], &[1, 2])];
        let health = health(&[topic("t", partitions)], &[]);
        assert_eq!((health.topics, health.partitions, health.troubles.len()), (1, 2, 0));
        let load = Load { leads: 1, preferred: 1, replicas: 2, in_sync: 2 };
        assert_eq!(health.brokers, [(1, load), (2, load), (3, Load::default())].into());
        assert_eq!(health.led_by_others, 0);
    }

    #[test]
    fn each_kind_of_trouble_is_said() {
        let led = partition(0, Some(2), &[1, 2, 3], &[2, 3]);
        let narrow = partition(1, Some(2), &[1, 2, 3], &[2]);
        let gone = partition(2, None, &[1], &[1]);
        let health = health(&[topic("t", vec![led, narrow, gone])], &[("t", 2)]);
        let said: Vec<String> = health.troubles.iter().map(Trouble::said).collect();
        let expected = [
            "under-replicated, replicas offline",
            "under min ISR, under-replicated, replicas offline",
            "no leader",
        ];
        assert_eq!(said, expected);
        assert_eq!(health.count(|trouble| trouble.is_under_replicated), 2);
        assert_eq!(health.led_by_others, 3);
    }

    #[test]
    fn no_more_replicas_can_be_needed_than_there_are() {
        let health = health(&[topic("t", vec![partition(0, Some(1), &[1], &[1])])], &[("t", 2)]);
        assert_eq!(health.troubles, []);
    }
}

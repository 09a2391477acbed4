//! P8 and P9: what a broker costs while nothing happens, and while many connections do little.

use std::time::Duration;

use milena_tests::procfs;

use crate::Options;
use crate::connections::Connections;
use crate::contender::{Contender, Settings};
use crate::load::{Failure, Topics};
use crate::measure::{Cost, Reading};
use crate::report::{Case, Round, mib};
use crate::runner::{alternate, contenders, unique};

use super::length;

const IDLE_S: f64 = 10.0;
const TOPICS: i32 = 10;
const PARTITIONS_PER_TOPIC: i32 = 1_000;
const CONNECTIONS_S: f64 = 10.0;

fn idle(contender: &Contender, length: Duration) -> Result<Round, Failure> {
    let (mut cost, before) = (Cost::default(), Reading::take(contender.pid)?);
    std::thread::sleep(length);
    cost.add_since(&before, contender.pid)?;
    let (rss, _) = procfs::resident(contender.pid)?;
    let cores = cost.broker.as_secs_f64() / cost.wall.as_secs_f64();
    let foreign_cores = cost.foreign_cores();
    Ok(Round { cores: Some(cores), rss_mib: Some(mib(rss)), foreign_cores, ..Round::default() })
}

pub fn partitions(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    // Foreign load does not change what an idle process uses.
    let options = Options { noisy: true, warm: Duration::ZERO, ..options.clone() };
    let contenders = contenders(&options, &Settings::default())?;
    let mut none = Case::new(name, "no partition");
    alternate(&mut none, &options, &contenders, |one| idle(one, length(&options, IDLE_S)))?;
    let mut many = Case::new(name, "10,000 partitions");
    for contender in &contenders {
        let topics = Topics::new(&contender.bootstrap)?;
        for i in 0..TOPICS {
            topics.create(&format!("idle-{i}"), PARTITIONS_PER_TOPIC, &[])?;
        }
    }
    alternate(&mut many, &options, &contenders, |one| idle(one, length(&options, IDLE_S)))?;
    Ok(vec![none, many])
}

pub fn connections(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    let contenders = contenders(options, &Settings::crowded())?;
    let mut cases = Vec::new();
    for count in [1_000, 10_000] {
        let mut case = Case::new(name, &format!("{count} connections"));
        alternate(&mut case, options, &contenders, |one| {
            connected(one, count, length(options, CONNECTIONS_S))
        })?;
        cases.push(case);
    }
    Ok(cases)
}

fn connected(contender: &Contender, count: usize, length: Duration) -> Result<Round, Failure> {
    let topic = format!("connections-{}", unique());
    let topics = Topics::new(&contender.bootstrap)?;
    topics.create(&topic, 1, &[])?;
    let (rss_before, _) = procfs::resident(contender.pid)?;
    let connections = Connections::open(contender.port, &topic, count)?;
    let (mut cost, before) = (Cost::default(), Reading::take(contender.pid)?);
    let (found, requests) = connections.run(length)?;
    cost.add_since(&before, contender.pid)?;
    let (rss, most) = procfs::resident(contender.pid)?;
    topics.delete(&topic)?;
    let grown = rss.saturating_sub(rss_before) as f64 / 1024.0 / count as f64;
    Ok(Round { kib_per_connection: Some(grown), ..Round::paced(&cost, &found, requests, most) })
}

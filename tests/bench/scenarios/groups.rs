//! P10: ten thousand members join a thousand groups at once, then commit.

use std::time::Duration;

use milena_tests::procfs;

use crate::Options;
use crate::contender::{Contender, Settings};
use crate::load::{Failure, Topics};
use crate::measure::{Cost, Reading};
use crate::members::{self, Plan};
use crate::report::{Case, Round};
use crate::runner::{alternate, contenders, unique};

use super::length;

const GROUPS: usize = 1_000;
const MEMBERS_PER_GROUP: usize = 10;
/// A million a minute.
const COMMITS_PER_S: f64 = 1_000_000.0 / 60.0;
const COMMITS_S: f64 = 20.0;

pub fn run(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    // One broker, so one copy of the offsets.
    let mut settings = Settings::crowded();
    settings.properties.push(("offsets.topic.replication.factor".to_owned(), "1".to_owned()));
    let contenders = contenders(options, &settings)?;
    // A round is long enough to warm a JVM: one of each before those that count.
    let options = &Options { warm: Duration::from_millis(1).min(options.warm), ..options.clone() };
    let mut case = Case::new(name, "1,000 groups of 10 members, 16,667 commits/s");
    alternate(&mut case, options, &contenders, |one| round(one, length(options, COMMITS_S)))?;
    Ok(vec![case])
}

fn round(contender: &Contender, length: Duration) -> Result<Round, Failure> {
    let topic = format!("groups-{}", unique());
    let topics = Topics::new(&contender.bootstrap)?;
    topics.create(&topic, MEMBERS_PER_GROUP as i32, &[])?;
    let plan = Plan {
        port: contender.port,
        topic: topic.clone(),
        groups: GROUPS,
        members_per_group: MEMBERS_PER_GROUP,
        commits_per_s: COMMITS_PER_S,
        length,
    };
    let mut before = Reading::take(contender.pid)?;
    let found = members::run(&plan, || {
        before = Reading::take(contender.pid)?;
        Ok(())
    })?;
    let mut cost = Cost::default();
    cost.add_since(&before, contender.pid)?;
    let (_, most) = procfs::resident(contender.pid)?;
    topics.delete(&topic)?;
    let stable_ms = Some(found.stable.as_secs_f64() * 1e3);
    Ok(Round { stable_ms, ..Round::paced(&cost, &found.commits, found.commits.len(), most) })
}

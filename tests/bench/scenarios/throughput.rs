//! P1, P2 and P3: bulk writes and catch-up reads.

use std::time::Duration;

use milena_tests::procfs;

use crate::Options;
use crate::contender::Settings;
use crate::load::{Bulk, Failure, Topics, Values, catch_up as read_all};
use crate::measure::{Cost, Reading};
use crate::report::{Case, Round};
use crate::runner::{Shape, alternate, bulk, contenders, unique};

use super::length;

const ROUND_S: f64 = 1.6;
const CATCH_UP_BYTES: u64 = 512 << 20;
const KIB: usize = 1024;

fn bulk_cases(name: &str, options: &Options, shapes: &[(&str, Shape)]) -> Result<Vec<Case>, Failure> {
    let values = Values::new();
    let contenders = contenders(options, &Settings::default())?;
    let mut cases = Vec::new();
    let is_wanted = |title: &str| options.case.as_ref().is_none_or(|wanted| title.contains(wanted));
    for (title, shape) in shapes.iter().filter(|(title, _)| is_wanted(title)) {
        let mut case = Case::new(name, title);
        alternate(&mut case, options, &contenders, |one| bulk(one, &values, *shape, &options.directory))?;
        cases.push(case);
    }
    Ok(cases)
}

fn shape(options: &Options, partitions: i32, size: usize) -> Shape {
    Shape { partitions, size, codec: "none", shrinks: 1, length: length(options, ROUND_S) }
}

pub fn produce_1_kib(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    let shapes =
        [("1 KiB, 1 partition", shape(options, 1, KIB)), ("1 KiB, 16 partitions", shape(options, 16, KIB))];
    bulk_cases(name, options, &shapes)
}

pub fn produce_sizes(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    let lz4 = Shape { codec: "lz4", shrinks: 2, ..shape(options, 1, KIB) };
    let shapes =
        [("100 B", shape(options, 1, 100)), ("10 KiB", shape(options, 1, 10 * KIB)), ("1 KiB lz4", lz4)];
    bulk_cases(name, options, &shapes)
}

pub fn catch_up(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    let values = Values::new();
    let contenders = contenders(options, &Settings::default())?;
    let (topic, count) = (format!("catch-up-{}", unique()), CATCH_UP_BYTES / KIB as u64);
    for contender in &contenders {
        Topics::new(&contender.bootstrap)?.create(&topic, 1, &[])?;
        Bulk::new(&contender.bootstrap, &topic, 1, KIB, "none")?.burst(&values, count)?;
    }
    let mut case = Case::new(name, "catch-up fetch, 1 KiB");
    let least = length(options, ROUND_S);
    alternate(&mut case, options, &contenders, |contender| {
        let (mut cost, mut bytes) = (Cost::default(), 0);
        while cost.wall < least.max(Duration::from_millis(1)) {
            let before = Reading::take(contender.pid)?;
            bytes += read_all(&contender.bootstrap, &topic, count)?;
            cost.add_since(&before, contender.pid)?;
        }
        let (_, rss) = procfs::resident(contender.pid)?;
        Ok(Round::bulk(&cost, bytes / KIB as u64, bytes, rss))
    })?;
    Ok(vec![case])
}

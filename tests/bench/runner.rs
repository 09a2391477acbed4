//! Alternating rounds: every contender is started, warmed and measured in turn.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Options;
use crate::contender::{Contender, Kind, Settings};
use crate::load::{Bulk, Failure, Topics, Values};
use crate::measure::{Cost, Reading};
use crate::pages;
use crate::report::{Case, Round};

/// Other processes may use this many cores before a round is repeated, and so often.
const FOREIGN_MAX: f64 = 0.12;
const REPEATS: usize = 4;
/// A burst is short, so that the pages supplied before it are still backed.
const BURST: Duration = Duration::from_millis(400);
const FIRST_BURST_BYTES: u64 = 64 << 20;
/// Programs without a JVM need only their caches filled.
const WARM_NATIVE: Duration = Duration::from_secs(1);

/// The broker under test first, then its peers, all started.
pub fn contenders(options: &Options, settings: &Settings) -> Result<Vec<Contender>, Failure> {
    let kinds = std::iter::once(options.subject).chain(options.peers.iter().copied());
    start(kinds, settings, &options.directory)
}

/// Starts these kinds of brokers.
pub fn start(
    kinds: impl Iterator<Item = Kind>,
    settings: &Settings,
    root: &Path,
) -> Result<Vec<Contender>, Failure> {
    kinds.map(|kind| Contender::start(kind, settings, root).map_err(Failure::from)).collect()
}

/// Runs `one` on each contender in turn until each has its rounds.
pub fn alternate(
    case: &mut Case,
    options: &Options,
    contenders: &[Contender],
    mut one: impl FnMut(&Contender) -> Result<Round, Failure>,
) -> Result<(), Failure> {
    for contender in contenders {
        let length =
            if contender.kind == Kind::ApacheKafka { options.warm } else { WARM_NATIVE.min(options.warm) };
        let until = Instant::now() + length;
        while Instant::now() < until {
            one(contender)?;
        }
    }
    for round in 1..=options.rounds {
        for contender in contenders {
            let found = quietest(options, || one(contender))?;
            eprintln!("  {} round {round} {}: {}", case.title, contender.kind.name(), brief(&found));
            case.add(contender.kind, found);
        }
    }
    Ok(())
}

fn brief(round: &Round) -> String {
    let fields = [
        ("records/s", round.records_per_s),
        ("CPU-s/GB", round.cpu_per_gb),
        ("p50 µs", round.p50_us),
        ("p99 µs", round.p99_us),
        ("µs/record", round.cpu_us_per_record),
        ("foreign", Some(round.foreign_cores)),
    ];
    let shown: Vec<String> =
        fields.iter().filter_map(|(name, value)| value.map(|value| format!("{value:.2} {name}"))).collect();
    shown.join(", ")
}

/// The first round that the rest of the machine left alone, or the least disturbed of a few.
fn quietest(options: &Options, mut one: impl FnMut() -> Result<Round, Failure>) -> Result<Round, Failure> {
    let mut best = one()?;
    for _ in 0..REPEATS {
        if options.noisy || best.foreign_cores <= FOREIGN_MAX {
            break;
        }
        let next = one()?;
        if next.foreign_cores < best.foreign_cores {
            best = next;
        }
    }
    Ok(best)
}

/// What bulk writes look like.
#[derive(Clone, Copy)]
pub struct Shape {
    pub partitions: i32,
    pub size: usize,
    pub codec: &'static str,
    /// How much larger the values are than what arrives, for the supply of pages.
    pub shrinks: u64,
    pub length: Duration,
}

/// One round of bulk writes in bursts, on a topic of its own that is deleted afterwards.
pub fn bulk(contender: &Contender, values: &Values, shape: Shape, root: &Path) -> Result<Round, Failure> {
    let topics = Topics::new(&contender.bootstrap)?;
    let topic = format!("bulk-{}", unique());
    topics.create(&topic, shape.partitions, &[("file.delete.delay.ms", "1000")])?;
    let mut load = Bulk::new(&contender.bootstrap, &topic, shape.partitions, shape.size, shape.codec)?;
    let mut count = FIRST_BURST_BYTES / shape.size as u64;
    // Connections, metadata and the first segment are not what is measured.
    load.burst(values, count / 16)?;
    let (mut cost, mut records) = (Cost::default(), 0);
    while cost.wall < shape.length {
        pages::supply(root, count * shape.size as u64 / shape.shrinks)?;
        let before = Reading::take(contender.pid)?;
        let began = Instant::now();
        load.burst(values, count)?;
        let taken = began.elapsed();
        cost.add_since(&before, contender.pid)?;
        records += count;
        let fitting = count as f64 * BURST.as_secs_f64() / taken.as_secs_f64();
        count = (fitting as u64).clamp(count / 2, count * 2).max(1);
    }
    let (_, rss) = milena_tests::procfs::resident(contender.pid)?;
    drop(load);
    topics.delete(&topic)?;
    pages::await_removal(root, &topic)?;
    Ok(Round::bulk(&cost, records, records * shape.size as u64, rss))
}

/// A number that no other topic of this run has.
pub fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u64::from(std::process::id()) * 100_000 + NEXT.fetch_add(1, Ordering::Relaxed)
}

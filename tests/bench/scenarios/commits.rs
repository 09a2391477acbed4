//! L6: ten million commits of a thousand groups leave little behind, and that is loaded quickly.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use milena_tests::wait;

use crate::Options;
use crate::contender::{Contender, Kind, Settings};
use crate::group_wire::{self, Member};
use crate::load::{Failure, Topics};
use crate::measure::{Cost, Reading};
use crate::report::{Case, Round};

const GROUPS: usize = 1_000;
const COMMITS: u64 = 10_000_000;
const THREADS: usize = 4;
/// Requests that are sent before the first is read.
const AHEAD: usize = 100;
const TOPIC: &str = "committed";
const SEGMENTS_MAX: usize = 2;
/// The checkpoint that a pass waits for comes once a minute, the cleaner's look every 15 s.
const CLEANING_LIMIT: Duration = Duration::from_secs(300);
const START_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
const NONE: i16 = 0;

pub fn run(name: &str, options: &Options) -> Result<Vec<Case>, Failure> {
    // Everything on one partition, in segments of the default size.
    let properties = vec![("offsets.topic.num.partitions".to_owned(), "1".to_owned())];
    let settings = Settings { properties, ..Settings::default() };
    let mut contender = Contender::start(Kind::Milena, &settings, &options.directory)?;
    Topics::new(&contender.bootstrap)?.create(TOPIC, 1, &[])?;
    let mut line = Line::open(contender.port)?;
    wait::poll(START_LIMIT, || (line.coordinator().ok()? == NONE).then_some(())).ok_or("no coordinator")?;

    let commits = options.seconds.map_or(COMMITS, |seconds| (seconds.as_secs_f64() * 100_000.0) as u64);
    let (mut cost, before) = (Cost::default(), Reading::take(contender.pid)?);
    commit_all(contender.port, commits)?;
    cost.add_since(&before, contender.pid)?;

    let folder = contender.milena().ok_or("L6 restarts Milena only")?.data().join("__consumer_offsets-0");
    let began = Instant::now();
    let few = wait::poll(CLEANING_LIMIT, || {
        std::thread::sleep(PAUSE);
        segments(&folder).ok().filter(|count| *count <= SEGMENTS_MAX)
    });
    let left = few.ok_or_else(|| format!("{:?} segments are left", segments(&folder)))?;
    eprintln!("  {commits} commits: {left} segments are left after {:.0} s", began.elapsed().as_secs_f64());

    let port = contender.port;
    let broker = contender.milena().ok_or("L6 restarts Milena only")?;
    let mut case = Case::new(name, "10 M commits of 1,000 groups; start after kill -9 until all are loaded");
    for _ in 0..options.rounds {
        broker.kill()?;
        let began = Instant::now();
        broker.spawn_again()?;
        wait::poll(START_LIMIT, || last_is_loaded(port, commits).ok()).ok_or("the groups are not loaded")?;
        let start_ms = Some(began.elapsed().as_secs_f64() * 1e3);
        broker.wait_ready()?;
        let wall = cost.wall.as_secs_f64();
        case.add(
            Kind::Milena,
            Round {
                records_per_s: Some(commits as f64 / wall),
                cpu_us_per_record: Some(cost.broker.as_secs_f64() * 1e6 / commits as f64),
                start_ms,
                foreign_cores: cost.foreign_cores(),
                ..Round::default()
            },
        );
    }
    Ok(vec![case])
}

fn group(index: usize) -> String {
    format!("group-{index}")
}

/// Each thread commits for its share of the groups in turn, many requests ahead of the answers.
fn commit_all(port: u16, commits: u64) -> Result<(), Failure> {
    let per_thread = GROUPS / THREADS;
    let rounds = commits / GROUPS as u64;
    let commit = move |thread: usize| -> io::Result<()> {
        let mut line = Line::open(port)?;
        let first = thread * per_thread;
        for offset in 1..=rounds {
            for begin in (first..first + per_thread).step_by(AHEAD) {
                let groups = begin..(begin + AHEAD).min(first + per_thread);
                let requests = groups.clone().map(|index| {
                    Member { group: group(index), generation: -1, ..Member::default() }.commit(
                        TOPIC,
                        0,
                        offset as i64,
                    )
                });
                line.stream.write_all(&requests.collect::<Vec<_>>().concat())?;
                for _ in groups {
                    match group_wire::commit_error(line.answer()?) {
                        Some(NONE) => {}
                        other => return Err(io::Error::other(format!("OffsetCommit answered {other:?}"))),
                    }
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || commit(thread))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?.map_err(Failure::from))
    })
}

/// Fails until the last group is served with its last offset.
fn last_is_loaded(port: u16, commits: u64) -> io::Result<()> {
    let mut line = Line::open(port)?;
    line.stream.write_all(&group_wire::fetch_offset(&group(GROUPS - 1), TOPIC))?;
    match group_wire::fetched_offset(line.answer()?) {
        Some(offset) if offset as u64 == commits / GROUPS as u64 => Ok(()),
        other => Err(io::Error::other(format!("OffsetFetch answered {other:?}"))),
    }
}

fn segments(folder: &Path) -> io::Result<usize> {
    let names = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    Ok(names.iter().filter(|entry| entry.path().extension().is_some_and(|end| end == "log")).count())
}

/// A blocking connection.
struct Line {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Line {
    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::new() })
    }

    fn answer(&mut self) -> io::Result<&[u8]> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        self.answer.resize(u32::from_be_bytes(size) as usize, 0);
        self.stream.read_exact(&mut self.answer)?;
        Ok(&self.answer)
    }

    fn coordinator(&mut self) -> io::Result<i16> {
        self.stream.write_all(&group_wire::find_coordinator("any"))?;
        group_wire::error(self.answer()?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

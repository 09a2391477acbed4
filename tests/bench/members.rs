//! Ten thousand members of a thousand groups, one connection each, on one thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use crate::group_wire::{self, Member};
use crate::load::{Failure, histogram};

const NONE: i16 = 0;
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const REBALANCE_IN_PROGRESS: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How long anything may take before the run is given up.
const LIMIT: Duration = Duration::from_secs(120);
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// What a run consists of.
#[derive(Clone)]
pub struct Plan {
    pub port: u16,
    pub topic: String,
    pub groups: usize,
    pub members_per_group: usize,
    pub commits_per_s: f64,
    pub length: Duration,
}

/// What a run gave.
pub struct Found {
    /// From the first JoinGroup until every group is stable with all of its members.
    pub stable: Duration,
    /// Of commits, from the moment they were due, in microseconds.
    pub commits: Histogram<u64>,
}

struct Shared {
    plan: Plan,
    /// The last generation of each group and how many members have their assignment of it.
    assigned: RefCell<Vec<(i32, usize)>>,
    stable_groups: Cell<usize>,
    all_stable: watch::Sender<Option<Instant>>,
    commits: RefCell<Histogram<u64>>,
}

/// Runs the whole: connect, join, commit, leave. `measured` is called when all groups are stable.
pub fn run(plan: &Plan, measured: impl FnOnce() -> io::Result<()>) -> Result<Found, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(LIMIT + plan.length, all(plan.clone(), measured))
            .await
            .map_err(|_| "the groups were not stable in time")?
    })
}

async fn all(plan: Plan, measured: impl FnOnce() -> io::Result<()>) -> Result<Found, Failure> {
    coordinator_is_there(&plan).await?;
    let mut lines = Vec::new();
    for _ in 0..plan.groups * plan.members_per_group {
        lines.push(Line::open(plan.port).await?);
    }
    let (all_stable, mut stable) = watch::channel(None);
    let shared = Rc::new(Shared {
        assigned: RefCell::new(vec![(0, 0); plan.groups]),
        stable_groups: Cell::new(0),
        all_stable,
        commits: RefCell::new(histogram()),
        plan,
    });
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (at, line) in lines.into_iter().enumerate() {
        tasks.spawn_local(live(Rc::clone(&shared), at, line));
    }
    // A member that fails ends the run: without it its group would never be complete.
    let at = loop {
        tokio::select! {
            at = stable.wait_for(Option::is_some) => break (*at?).ok_or("no time was noted")?,
            ended = tasks.join_next() => ended.ok_or("no member is left")???,
        }
    };
    measured()?;
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let commits = shared.commits.borrow().clone();
    Ok(Found { stable: at - began, commits })
}

/// The first request for a coordinator may bring its topic into being.
async fn coordinator_is_there(plan: &Plan) -> io::Result<()> {
    let mut line = Line::open(plan.port).await?;
    loop {
        let answer = line.ask(&group_wire::find_coordinator("any")).await?;
        match group_wire::error(answer) {
            Some(NONE) => return Ok(()),
            Some(COORDINATOR_NOT_AVAILABLE) => tokio::time::sleep(RETRY_DELAY).await,
            other => return Err(unexpected("FindCoordinator", other)),
        }
    }
}

/// One member from its first JoinGroup to its LeaveGroup.
async fn live(shared: Rc<Shared>, at: usize, mut line: Line) -> io::Result<()> {
    let group = at / shared.plan.members_per_group;
    let name = format!("{}-{group}", shared.plan.topic);
    let mut member = Member { group: name, generation: -1, ..Member::default() };
    let mut stable = shared.all_stable.subscribe();
    join(&shared, group, &mut member, &mut line).await?;
    let begin = loop {
        let wait = tokio::time::timeout(HEARTBEAT_INTERVAL, stable.wait_for(Option::is_some)).await;
        if let Ok(at) = wait {
            break at.ok().and_then(|at| *at).ok_or(io::ErrorKind::BrokenPipe)?;
        }
        match group_wire::error(line.ask(&member.heartbeat()).await?) {
            Some(NONE) => {}
            Some(REBALANCE_IN_PROGRESS) => join(&shared, group, &mut member, &mut line).await?,
            other => return Err(unexpected("Heartbeat", other)),
        }
    };
    commit(&shared, at, begin, &member, &mut line).await?;
    match group_wire::error(line.ask(&member.leave()).await?) {
        Some(NONE) => Ok(()),
        other => Err(unexpected("LeaveGroup", other)),
    }
}

/// Joins, once more if need be, until there is an assignment.
async fn join(shared: &Shared, group: usize, member: &mut Member, line: &mut Line) -> io::Result<()> {
    loop {
        let joined = group_wire::joined(line.ask(&member.join()).await?).ok_or(io::ErrorKind::InvalidData)?;
        match joined.error {
            NONE => {}
            MEMBER_ID_REQUIRED => {
                member.id = joined.member_id;
                continue;
            }
            COORDINATOR_LOAD_IN_PROGRESS => {
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            }
            other => return Err(unexpected("JoinGroup", Some(other))),
        }
        (member.id, member.generation) = (joined.member_id, joined.generation);
        match group_wire::error(line.ask(&member.sync(&joined.members)).await?) {
            Some(NONE) => break,
            Some(REBALANCE_IN_PROGRESS) => {}
            other => return Err(unexpected("SyncGroup", other)),
        }
    }
    shared.has_assignment(group, member.generation);
    Ok(())
}

impl Shared {
    fn has_assignment(&self, group: usize, generation: i32) {
        let whole = self.plan.members_per_group;
        let mut assigned = self.assigned.borrow_mut();
        let (known, count) = &mut assigned[group];
        if generation > *known {
            if *count == whole {
                self.stable_groups.set(self.stable_groups.get() - 1);
            }
            (*known, *count) = (generation, 0);
        }
        if generation == *known {
            *count += 1;
        }
        if generation == *known && *count == whole {
            self.stable_groups.set(self.stable_groups.get() + 1);
            if self.stable_groups.get() == self.plan.groups {
                self.all_stable.send_replace(Some(Instant::now()));
            }
        }
    }
}

/// Commits on a timetable that does not wait for answers longer than its own interval.
async fn commit(
    shared: &Shared,
    at: usize,
    begin: Instant,
    member: &Member,
    line: &mut Line,
) -> io::Result<()> {
    let Plan { groups, members_per_group, commits_per_s, length, .. } = shared.plan;
    let members = groups * members_per_group;
    let interval = Duration::from_secs_f64(members as f64 / commits_per_s);
    let mut due = begin + interval.mul_f64((at + 1) as f64 / members as f64);
    let partition = (at % members_per_group) as i32;
    let mut offset = 0;
    while due < begin + length {
        tokio::time::sleep_until(due.into()).await;
        offset += 1;
        let answer = line.ask(&member.commit(&shared.plan.topic, partition, offset)).await?;
        match group_wire::commit_error(answer) {
            Some(NONE) => shared.commits.borrow_mut().saturating_record(due.elapsed().as_micros() as u64),
            other => return Err(unexpected("OffsetCommit", other)),
        }
        due += interval;
    }
    Ok(())
}

fn unexpected(api: &str, error: Option<i16>) -> io::Error {
    io::Error::other(format!("{api} answered {error:?}"))
}

/// A connection with one request under way.
struct Line {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Line {
    async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::new() })
    }

    /// Sends a request; gives the answer without its size.
    async fn ask(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        self.stream.write_all(request).await?;
        let size = self.stream.read_u32().await?;
        self.answer.resize(size as usize, 0);
        self.stream.read_exact(&mut self.answer).await?;
        Ok(&self.answer)
    }
}

//! Groups commit while the broker is killed: what was answered is there, and nothing that nobody sent. Segments are
//! small and the cleaner is quick, so that kills meet compaction too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;

use milena_protocol::ErrorCode;
use milena_tests::process::Config;
use milena_tests::wait;

use crate::client::Client;
use crate::random::Random;
use crate::{PROGRESS_LIMIT, crash, number};

const TOPIC: &str = "committed";
const THREADS: usize = 3;
const GROUPS_PER_THREAD: usize = 10;

/// A group that commits one number after the other.
struct Group {
    name: String,
    sent: AtomicI64,
    answered: AtomicI64,
}

struct Load {
    groups: Vec<Arc<Group>>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(port: u16) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let (mut groups, mut threads) = (Vec::new(), Vec::new());
        for thread in 0..THREADS {
            let group = |index| Group {
                name: format!("group-{thread}-{index}"),
                sent: AtomicI64::new(0),
                answered: AtomicI64::new(0),
            };
            let own: Vec<_> = (0..GROUPS_PER_THREAD).map(|index| Arc::new(group(index))).collect();
            groups.extend(own.iter().cloned());
            let stopping = Arc::clone(&stopping);
            threads.push(std::thread::spawn(move || commit(port, &own, &stopping)));
        }
        Load { groups, stopping, threads }
    }

    fn answered(&self) -> i64 {
        self.groups.iter().map(|group| group.answered.load(Ordering::SeqCst)).sum()
    }

    fn progress(&self, commits: i64) {
        let target = self.answered() + commits;
        let reached = wait::poll(PROGRESS_LIMIT, || (self.answered() >= target).then_some(()));
        assert!(reached.is_some(), "{} of {target} answered within {PROGRESS_LIMIT:?}", self.answered());
    }

    /// What each group has committed lies between what was answered before the look and what was sent after it.
    fn check(&self, port: u16, context: &str) {
        let mut client = Client::connect(port).expect("the broker is ready");
        for group in &self.groups {
            let answered = group.answered.load(Ordering::SeqCst);
            let look = || match client.committed(&group.name, TOPIC).expect("an answer") {
                Ok(offset) => Some(offset),
                Err(ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator) => None,
                Err(error) => panic!("{context}: {}: {error:?}", group.name),
            };
            let offset = wait::poll(PROGRESS_LIMIT, look).expect("groups are loaded");
            let sent = group.sent.load(Ordering::SeqCst);
            assert!(
                (answered..=sent).contains(&offset.max(0)),
                "{context}: {} has committed {offset}, was answered {answered} and sent {sent}",
                group.name
            );
        }
    }

    fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

/// Commits for each group in turn until told to stop, over connections that break.
fn commit(port: u16, groups: &[Arc<Group>], stopping: &AtomicBool) {
    let mut client = None;
    while !stopping.load(Ordering::SeqCst) {
        for group in groups {
            let Some(open) = client.take().or_else(|| Client::connect(port).ok()) else {
                std::thread::yield_now();
                continue;
            };
            client = commit_once(open, group);
        }
    }
}

/// Gives the connection back while it holds.
fn commit_once(mut client: Client, group: &Group) -> Option<Client> {
    let offset = group.sent.fetch_add(1, Ordering::SeqCst) + 1;
    match client.commit(&group.name, TOPIC, offset).ok()? {
        ErrorCode::None => group.answered.store(offset, Ordering::SeqCst),
        // It comes back and reads its groups.
        ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::UnknownTopicOrPartition => {}
        error => panic!("{} was answered {error:?}", group.name),
    }
    Some(client)
}

#[test]
fn kill_9_under_commits_loses_none_that_was_answered() {
    let rounds = number("MILENA_CRASH_ROUNDS").unwrap_or(3);
    let seed = number("MILENA_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{rounds} rounds with MILENA_SEED={seed}");
    let mut random = Random(seed);
    let mut broker = Config::new()
        .property("log.flush.offset.checkpoint.interval.ms", 100)
        .property("offsets.topic.num.partitions", 3)
        .property("offsets.topic.segment.bytes", 1 << 20)
        .property("log.cleaner.backoff.ms", 50)
        .start()
        .expect("starts");
    let mut client = Client::connect(broker.port()).expect("the broker is ready");
    client.create_topic(TOPIC, 1, &[]).expect("a new topic");
    wait::poll(PROGRESS_LIMIT, || client.find_coordinator("any").ok().filter(|found| *found).map(drop))
        .expect("a coordinator");
    let load = Load::start(broker.port());
    for round in 1..=rounds {
        load.progress(i64::try_from(200 + random.below(20_000)).expect("a small number"));
        let took = crash(&mut broker, &mut random);
        load.check(broker.port(), &format!("seed {seed}, round {round}"));
        println!("round {round}: {} commits answered, back after {took:?}", load.answered());
    }
    println!("{} commits answered over {rounds} rounds", load.answered());
    load.stop();
}

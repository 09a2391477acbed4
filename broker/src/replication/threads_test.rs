//! The threads that follow leaders: that they come.

use std::thread;

use milena_client::net::Tcp;
use milena_log::Config;
use milena_log::memory_files::MemoryFiles;
use milena_protocol::types::Uuid;
use milena_state::config::topic;
use milena_state::metadata::Partition as Assigned;
use milena_state::metadata::record::RecoveryState;

use super::*;
use crate::partition::{Directories, Myself};

const LEADER: i32 = 1;
const TOPIC: &str = "t";
const TOPIC_ID: Uuid = Uuid::from_u128(7);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Broker 2 in memory, which follows broker 1.
fn replication(spawn: Box<Spawn>) -> Arc<Replication> {
    let properties = [("node.id", "2"), ("listeners", "PLAINTEXT://127.0.0.1:0")];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::parse(&properties.into()).expect("valid settings");
    Replication::with(Arc::new(settings), Arc::new(Tcp), Arc::new(Metrics::new()), spawn)
}

fn follow(replication: &Replication, index: i32) {
    let new_id = || Uuid::from_u128(1 << 100);
    let files = Arc::new(MemoryFiles::new());
    let directories = Directories::open(files, &["/d".into()], 2, None, new_id).expect("memory");
    let settings = Arc::new(topic::Settings::kafka_defaults());
    let name = (&TOPIC.into(), TOPIC_ID);
    let opened = directories.open_partition(name, index, None, &settings, &Arc::new(Config::default()));
    let partition = opened.expect("memory");
    let assigned = Assigned {
        replicas: vec![1, 2],
        isr: vec![1],
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader: Some(LEADER),
        leader_recovery_state: RecoveryState::Recovered,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![Uuid::ZERO; 2],
        eligible_leader_replicas: Vec::new(),
        last_known_elr: Vec::new(),
    };
    let myself = Myself { broker_id: 2, broker_epoch: 20, replica_lag_time_max_ms: 30_000 };
    partition.assign(&assigned, myself, now_ms());
    replication.follow(&partition, LEADER, 0);
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_the_system_does_not_give_is_asked_for_again() {
    let failures = AtomicI64::new(3);
    let (starts, mut started) = tokio::sync::mpsc::unbounded_channel();
    let replication = replication(Box::new(move |_, _, inbox| {
        if failures.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let wanted = inbox.take().partitions.len();
        let _ = starts.send(wanted);
        Ok(thread::spawn(|| {}))
    }));
    tokio::spawn(Arc::clone(&replication).start_again());
    let began = tokio::time::Instant::now();
    follow(&replication, 0);
    let wanted = tokio::time::timeout(PATIENCE, started.recv()).await.expect("it starts");
    assert_eq!(wanted, Some(1), "it finds what is to be followed");
    // After the pauses, each twice as long as the one before; the clock of the test counts in milliseconds.
    let (took, pauses) = (began.elapsed(), 7 * THREAD_PAUSE_MIN);
    assert!(took >= pauses && took < pauses + THREAD_PAUSE_MIN / 2, "{took:?}");
}

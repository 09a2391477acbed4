use milena_log::RealFiles;
use milena_log::directory::Options;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::*;
use crate::controller::raft::snapshot::Snapshots;
use crate::controller::raft::state_machine::StateMachine;

struct Stores;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (log, machine) = open(&directory);
        Ok((directory, log, machine))
    }
}

fn open(directory: &TempDir) -> (LogStore, StateMachine) {
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    let opened = Directory::open(Arc::clone(&files), directory.path(), Options::default()).expect("opens");
    let log = LogStore::open(Arc::clone(&files), &opened).expect("opens");
    let snapshots = Snapshots::new(files, directory.path().join(LOG_NAME));
    (log, StateMachine::new(snapshots))
}

/// openraft's own tests of what a log store and a state machine promise.
#[test]
fn passes_the_storage_suite_of_openraft() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
    runtime.block_on(Suite::test_all(Stores)).expect("the suite passes");
}

fn reopen(directory: &TempDir) -> io::Result<LogStore> {
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    let opened = Directory::open(Arc::clone(&files), directory.path(), Options::default()).expect("opens");
    LogStore::open(files, &opened)
}

/// A store with entries of these terms, the first one that of a new quorum; with the vote that comes before the first
/// entry of a term.
fn written(terms: &[u64]) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let voter = VoterId::from(1);
    let mut log = reopen(&directory).expect("opens");
    log.bootstrap(voter, VoterAddress::default()).expect("writes");
    for (index, term) in (1..).zip(terms) {
        let leader_id = LeaderId { term: *term, node_id: voter };
        let vote = Vote { leader_id, committed: true };
        log.shared.hard.lock().save_vote(vote).expect("writes");
        let entry = Entry { log_id: LogId::new(leader_id, index), payload: Payload::Blank };
        let mut bytes = Vec::new();
        encode_batch(&entry, &mut bytes).expect("small");
        let mut inner = log.shared.inner.lock();
        inner.log().expect("open").append(&bytes, AppendAs::Replica, now_ms()).expect("valid");
    }
    log.reader().close().expect("writes");
    directory
}

#[test]
fn entry_that_does_not_check_is_named_with_file_and_position() {
    let directory = written(&[1, 1]);
    let path = directory.path().join(LOG_NAME).join(format!("{:020}.log", 0));
    let mut bytes = std::fs::read(&path).expect("there");
    let last = Batches::new(&bytes).last().expect("three").expect("whole").size_bytes();
    let position = bytes.len() - last;
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&path, bytes).expect("writes");
    // As after a clean stop, which vouches for the bytes.
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    let options = Options::default();
    Directory::open(files, directory.path(), options).expect("opens").checkpoint().expect("writes");
    std::fs::write(directory.path().join(".kafka_cleanshutdown"), "{\"version\":0,\"brokerEpoch\":1}")
        .expect("writes");
    let error = reopen(&directory).err().expect("damaged").to_string();
    let wanted = format!("{} is damaged at {position}: crc mismatch", path.display());
    assert!(error.starts_with(&wanted), "{error}");
}

#[test]
fn log_whose_vote_is_missing_does_not_open() {
    let forget = |directory: &TempDir| {
        let _ = std::fs::remove_file(directory.path().join(LOG_NAME).join("quorum-state"));
    };
    let directory = written(&[1, 2]);
    reopen(&directory).expect("whole");
    forget(&directory);
    let error = reopen(&directory).err().expect("the vote is lost").to_string();
    assert!(error.contains("quorum-state is missing") && error.contains("term 2"), "{error}");
    // The power failed after the first entry of a new quorum and before the first vote; or before either.
    for directory in [written(&[]), tempfile::tempdir().expect("a temporary directory")] {
        forget(&directory);
        reopen(&directory).expect("a first start");
    }
}

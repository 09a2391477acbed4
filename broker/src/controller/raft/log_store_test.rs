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

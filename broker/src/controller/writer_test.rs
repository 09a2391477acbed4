//! What the writer believes of brokers, with the only member of a quorum behind it.

use std::sync::Arc;

use milena_protocol::{ErrorCode, Uuid};
use milena_state::config::broker::Settings;
use milena_state::metadata::brokers::{Heartbeat, HeartbeatAnswer, RegisterBroker};
use milena_state::metadata::record::Endpoint;
use milena_state::metadata::sessions::Sessions;
use milena_state::metadata::{Command, Reply, features};

use super::start;
use crate::controller::Client;
use crate::controller::raft::quorum::Quorum;
use crate::controller::raft::test_cluster::Cluster;
use crate::metrics::Metrics;

/// The controller, and what keeps it running.
pub(in crate::controller) struct Scene {
    pub client: Client,
    cluster: Cluster,
}

impl Scene {
    pub async fn new() -> Self {
        let cluster = Cluster::of([1]).await;
        let settings = Arc::new(Settings::own_defaults());
        let client = start(cluster.leader().await, settings, None, &Arc::new(Metrics::new()));
        Self { client, cluster }
    }

    pub async fn quorum(&self) -> Quorum {
        self.cluster.leader().await
    }

    async fn ask(&self, command: Command) -> Reply {
        self.client.submit(command).await.expect("decided").reply
    }

    /// Registers a new process as broker 1 that has this directory alone.
    async fn register(&self, incarnation: u128, directory: u128) -> Result<i64, ErrorCode> {
        self.register_at(Vec::new(), incarnation, directory).await
    }

    pub async fn register_at(
        &self,
        endpoints: Vec<Endpoint>,
        incarnation: u128,
        directory: u128,
    ) -> Result<i64, ErrorCode> {
        let command = RegisterBroker {
            broker_id: 1,
            incarnation_id: Uuid::from_u128(incarnation),
            endpoints,
            features: features::supported(),
            rack: None,
            log_dirs: vec![Uuid::from_u128(directory)],
            previous_broker_epoch: -1,
            session_is_live: false,
        };
        let committed = self.client.submit(Command::RegisterBroker(command)).await.expect("decided");
        match committed.reply {
            Reply::RegisterBroker(outcome) => {
                outcome.map(|registered| registered.epoch_at(committed.index)).map_err(|error| error.code)
            }
            other => panic!("{other:?}"),
        }
    }

    pub async fn beat(&self, broker_id: i32, broker_epoch: i64) -> Result<HeartbeatAnswer, ErrorCode> {
        match self.ask(Command::BrokerHeartbeat(heartbeat(broker_id, broker_epoch))).await {
            Reply::BrokerHeartbeat(outcome) => outcome.map_err(|error| error.code),
            other => panic!("{other:?}"),
        }
    }

    fn sessions(&self) -> Sessions {
        self.client.heard().sessions().clone()
    }
}

fn heartbeat(broker_id: i32, broker_epoch: i64) -> Heartbeat {
    Heartbeat {
        broker_id,
        broker_epoch,
        current_metadata_offset: broker_epoch,
        want_fence: false,
        want_shut_down: false,
        offline_log_dirs: Vec::new(),
        others_caught_up: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_is_refused_does_not_keep_the_predecessor_alive() {
    let scene = Scene::new().await;
    let epoch = scene.register(1, 1_000).await.expect("the first");
    scene.beat(1, epoch).await.expect("it lives");
    // It dies, and another disk comes in its place: it has to wait until the session is over, which its asking must
    // not prolong.
    let before = scene.sessions();
    for _ in 0..3 {
        assert_eq!(scene.register(2, 2_000).await, Err(ErrorCode::DuplicateBrokerRegistration));
    }
    assert_eq!(scene.sessions(), before);
    // Its own directory shows that it is gone.
    assert!(scene.register(3, 1_000).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_of_another_epoch_keeps_no_broker_alive() {
    let scene = Scene::new().await;
    let epoch = scene.register(1, 1_000).await.expect("the first");
    scene.beat(1, epoch).await.expect("it lives");
    let before = scene.sessions();
    for other in [epoch - 1, epoch + 1] {
        assert_eq!(scene.beat(1, other).await, Err(ErrorCode::StaleBrokerEpoch));
    }
    assert_eq!(scene.beat(2, epoch).await, Err(ErrorCode::BrokerIdNotRegistered));
    assert_eq!(scene.sessions(), before);
}

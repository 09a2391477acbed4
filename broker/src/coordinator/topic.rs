//! The topic that groups are kept in, created on first use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_state::config::broker::Settings;
use milena_state::metadata::command::ApiError;
use milena_state::metadata::topics::{self, CreateTopics};
use milena_state::metadata::{Command, Reply};

use super::OFFSETS_TOPIC;
use crate::api::topic_id;
use crate::broker::now_ms;
use crate::controller::Client;
use crate::metadata::Metadata;

/// How long a request waits for the topic. Its folders are synced one by one; clients wait longer than this.
const CREATE_TIME_MAX: Duration = Duration::from_secs(10);

/// A refusal is logged once in so long: clients ask many times a second.
const REFUSAL_LOGGED_EVERY_MS: i64 = 30_000;

/// Creates the topic, one attempt at a time.
pub struct Maker {
    metadata: Arc<Metadata>,
    controller: Client,
    settings: Arc<Settings>,
    is_making: AtomicBool,
    refusal_logged_ms: AtomicI64,
}

/// Held by the one attempt.
struct Attempt<'a>(&'a AtomicBool);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Maker {
    pub fn new(metadata: Arc<Metadata>, controller: Client, settings: Arc<Settings>) -> Self {
        Self {
            metadata,
            controller,
            settings,
            is_making: AtomicBool::new(false),
            refusal_logged_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// The leader of a partition of the topic, as this broker knows it.
    pub fn leader_of(&self, partition: i32) -> Option<i32> {
        self.metadata.image().topic_by_name(OFFSETS_TOPIC)?.partition(partition)?.leader
    }

    pub async fn ensure(&self) -> Result<(), ErrorCode> {
        if self.exists() {
            return Ok(());
        }
        if self.is_making.swap(true, Ordering::AcqRel) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let _attempt = Attempt(&self.is_making);
        // Dropped with its request, the command goes on, and the next attempt finds its topic.
        let made = tokio::time::timeout(CREATE_TIME_MAX, self.make()).await;
        if let Ok(Err(refused)) = made {
            self.log(&refused);
        }
        if self.exists() { Ok(()) } else { Err(ErrorCode::CoordinatorNotAvailable) }
    }

    fn exists(&self) -> bool {
        self.metadata.image().topic_by_name(OFFSETS_TOPIC).is_some()
    }

    async fn make(&self) -> Result<(), String> {
        let topic = topics::auto_created(OFFSETS_TOPIC, topic_id::random(), &self.settings);
        let command = Command::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false });
        let committed = self
            .controller
            .submit_within(command, CREATE_TIME_MAX)
            .await
            .map_err(|error| error.to_string())?;
        if let Some(error) = refusal(committed.reply) {
            return Err(error.message);
        }
        self.metadata.reached(committed.index).await.map_err(|gone| gone.to_string())
    }

    fn log(&self, reason: &str) {
        let (now_ms, logged_ms) = (now_ms(), self.refusal_logged_ms.load(Ordering::Relaxed));
        if now_ms.saturating_sub(logged_ms) >= REFUSAL_LOGGED_EVERY_MS {
            self.refusal_logged_ms.store(now_ms, Ordering::Relaxed);
            tracing::warn!(
                topic = OFFSETS_TOPIC,
                reason,
                "topic cannot be created; groups have no coordinator"
            );
        }
    }
}

/// Why there is no topic now; none when there is, whoever was faster.
fn refusal(reply: Reply) -> Option<ApiError> {
    let Reply::CreateTopics(outcomes) = reply else { return None };
    let refused = outcomes.into_iter().find_map(|outcome| outcome.result.err())?;
    (refused.code != ErrorCode::TopicAlreadyExists).then_some(refused)
}

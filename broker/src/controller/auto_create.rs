//! Topics that come into being because somebody needs them: a client that names them, or a group coordinator.

use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_state::config::broker::Settings;
use milena_state::metadata::command::ApiError;
use milena_state::metadata::topics::{self, CreateTopics};
use milena_state::metadata::{Command, Reply};
use tokio::time::Instant;

use super::client::{Client, SubmitError};
use super::topic_id;
use crate::metadata::Metadata;

impl Client {
    /// Creates topics in the shape that the broker's properties give them, and returns when this broker serves them, in
    /// at most `within`; one that was committed by then shows up with the next look. Gives the names that were refused,
    /// with the reason. A topic that is there already is all that was wanted.
    ///
    /// Errors: nothing was decided, or it is not known what was.
    pub async fn auto_create(
        &self,
        metadata: &Metadata,
        settings: &Settings,
        names: &[&str],
        within: Duration,
    ) -> Result<Vec<(String, ApiError)>, SubmitError> {
        let deadline = Instant::now() + within;
        let topics = {
            let image = metadata.image();
            let topic = |name: &&str| topics::auto_created(name, topic_id::random(), settings, &image);
            names.iter().map(topic).collect()
        };
        let command = CreateTopics { topics, validate_only: false };
        let committed = self.submit_within(Command::CreateTopics(command), within).await?;
        let _ = tokio::time::timeout_at(deadline, metadata.reached(committed.index)).await;
        let Reply::CreateTopics(outcomes) = committed.reply else { return Ok(Vec::new()) };
        let refused = outcomes.into_iter().filter_map(|outcome| Some((outcome.name, outcome.result.err()?)));
        Ok(refused.filter(|(_, error)| error.code != ErrorCode::TopicAlreadyExists).collect())
    }
}

//! Committed metadata from a controller, for a broker that is none.
//!
//! Any controller will do: what is committed is the same everywhere, and one that is behind catches up. When one does
//! not answer the next is asked. On the way this learns who leads, which those need to know who want something decided
//! ([`crate::controller::remote`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use milena_client::connection::Connection;
use milena_client::net::Dialer;
use milena_protocol::ErrorCode;
use milena_protocol::messages::fetch_metadata_request::FetchMetadataRequest;
use milena_protocol::messages::fetch_metadata_response::FetchMetadataResponse;
use milena_state::config::address::{Address, HostPort};
use milena_state::metadata::{self, Applied, Image, Record};
use tokio::sync::watch;

use super::follow::{Failure, Update};
use crate::controller::remote::{ActiveController, options};
use crate::metrics::Metrics;

/// How long a controller may wait for something new before it answers.
const WAIT_MS: i32 = 1_000;
/// How long after that its answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of entries in one answer.
const ANSWER_BYTES: i32 = 1 << 20;
/// Pause when all controllers were asked in vain; twice as long each time, up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Records of an image that is read in pieces: more than any cluster has.
const IMAGE_RECORDS_MAX: usize = 50_000_000;

/// Reads the log from one controller at a time.
pub struct Feed {
    cluster_id: Arc<str>,
    broker_id: i32,
    /// `host:port` of those that the settings name: what there is to begin with, and to go back to.
    named: Vec<String>,
    /// Those of the quorum as it was last told, or else those that are named; the first is asked.
    controllers: Vec<String>,
    connection: Option<Connection>,
    dialer: Dialer,
    leader: watch::Sender<Option<ActiveController>>,
    metrics: Arc<Metrics>,
    /// Answers that failed one after the other.
    failures: u32,
}

/// Why there was no answer.
enum Failed {
    /// Another controller may answer.
    Here(String),
    /// Nobody can: what this broker has is not of this cluster.
    ForGood(Failure),
}

impl Feed {
    /// `leader` is told who leads.
    pub fn new(
        (cluster_id, broker_id): (Arc<str>, i32),
        controllers: &[Address],
        dialer: Dialer,
        leader: watch::Sender<Option<ActiveController>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut controllers: Vec<_> = controllers.iter().map(ToString::to_string).collect();
        // Brokers spread over the controllers.
        let first = broker_id.unsigned_abs() as usize % controllers.len().max(1);
        controllers.rotate_left(first);
        Self {
            cluster_id,
            broker_id,
            named: controllers.clone(),
            controllers,
            connection: None,
            dialer,
            leader,
            metrics,
            failures: 0,
        }
    }

    /// Waits until something is committed after `after`, and gives no entries when nothing was for a while.
    ///
    /// Errors: this broker, or what it has, does not belong to the cluster that the controllers serve.
    pub async fn next(&mut self, after: Applied) -> Result<Update, Failure> {
        loop {
            match self.ask(after).await {
                Ok(update) => {
                    if self.failures >= self.controllers.len() as u32 {
                        tracing::info!("metadata is followed again");
                    }
                    self.failures = 0;
                    return Ok(update);
                }
                Err(Failed::ForGood(error)) => {
                    // What leads there does not lead this broker, and is not asked for anything.
                    self.leader.send_replace(None);
                    return Err(error);
                }
                Err(Failed::Here(reason)) => self.ask_another(&reason).await,
            }
        }
    }

    async fn ask_another(&mut self, reason: &str) {
        self.connection = None;
        self.failures += 1;
        let count = self.controllers.len() as u32;
        if self.failures == count {
            tracing::warn!(reason, controllers = ?self.controllers, "no controller gives metadata; this broker goes on with what it has");
        }
        if let Some(asked) = self.controllers.first() {
            tracing::debug!(controller = asked, reason, "controller gives no metadata");
        }
        if !self.controllers.is_empty() {
            self.controllers.rotate_left(1);
        }
        if self.failures >= count {
            // All of them may have moved while this broker was cut off.
            let named = self.named.iter().filter(|named| !self.controllers.contains(named));
            self.controllers.extend(named.cloned().collect::<Vec<_>>());
        }
        let rounds = self.failures / count.max(1);
        if rounds > 0 {
            let pause = PAUSE_MIN * 2_u32.saturating_pow(rounds.min(16) - 1);
            tokio::time::sleep(pause.min(PAUSE_MAX)).await;
        }
    }

    async fn ask(&mut self, after: Applied) -> Result<Update, Failed> {
        let request = FetchMetadataRequest { index: after.index, term: after.term, ..self.request() };
        let answered = self.call(&request).await?;
        let response = self.decoded(&answered)?;
        if response.snapshot_index >= 0 {
            let (index, term, next) =
                (response.snapshot_index, response.snapshot_term, response.snapshot_next);
            let records = self.take(&response.snapshot_records)?;
            return self.read_image(Applied { index, term }, records, next).await;
        }
        let entries = response.entries.iter().map(|entry| {
            let applied = Applied { index: entry.index, term: entry.term };
            let records = if entry.records.is_empty() { Vec::new() } else { self.take(&entry.records)? };
            Ok((applied, records))
        });
        let entries: Vec<_> = entries.collect::<Result<_, Failed>>()?;
        let follows =
            entries.iter().zip(after.index + 1..).all(|((applied, _), index)| applied.index == index);
        if !follows {
            return Err(Failed::Here(format!("it left out entries after {}", after.index)));
        }
        Ok(Update::Entries(entries))
    }

    /// Reads the rest of an image whose first records are there.
    async fn read_image(
        &mut self,
        at: Applied,
        mut records: Vec<Record>,
        mut next: i64,
    ) -> Result<Update, Failed> {
        tracing::info!(index = at.index, "metadata log does not reach back so far, an image is read");
        while next >= 0 {
            if next != records.len() as i64 || records.len() > IMAGE_RECORDS_MAX {
                return Err(Failed::Here(format!("its image goes on at {next} after {}", records.len())));
            }
            let request =
                FetchMetadataRequest { snapshot_index: at.index, snapshot_position: next, ..self.request() };
            let answered = self.call(&request).await?;
            let response = self.decoded(&answered)?;
            records.extend(self.take(&response.snapshot_records)?);
            next = response.snapshot_next;
        }
        let image = Image::from_snapshot(at, records);
        let image = image.map_err(|misfit| Failed::Here(format!("its image does not fit: {misfit}")))?;
        Ok(Update::Image(Arc::new(image)))
    }

    fn take(&self, records: &[u8]) -> Result<Vec<Record>, Failed> {
        self.metrics.metadata_fetched(records.len());
        metadata::decode_batch(records)
            .map_err(|error| Failed::Here(format!("its records cannot be read: {error}")))
    }

    fn request(&self) -> FetchMetadataRequest<'static> {
        FetchMetadataRequest {
            cluster_id: self.cluster_id.to_string().into(),
            broker_id: self.broker_id,
            max_bytes: ANSWER_BYTES,
            max_wait_ms: WAIT_MS,
            ..Default::default()
        }
    }

    async fn call(
        &mut self,
        request: &FetchMetadataRequest<'_>,
    ) -> Result<milena_client::connection::Response, Failed> {
        let here = |error: &dyn std::fmt::Display| Failed::Here(error.to_string());
        let connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => {
                let address = self.controllers.first().ok_or_else(|| here(&"no controller is known"))?;
                Connection::open(&self.dialer, address, options()).await.map_err(|error| here(&error))?
            }
        };
        let version =
            connection.version_of::<FetchMetadataRequest<'_>>(i16::MAX).map_err(|error| here(&error))?;
        let timeout = Duration::from_millis(WAIT_MS.unsigned_abs().into()) + ANSWER_TIMEOUT;
        let answered =
            connection.call_within(request, version, timeout).await.map_err(|error| here(&error))?;
        self.connection = Some(connection);
        Ok(answered)
    }

    fn decoded<'a>(
        &mut self,
        answered: &'a milena_client::connection::Response,
    ) -> Result<FetchMetadataResponse<'a>, Failed> {
        let response = answered.decode::<FetchMetadataRequest<'_>>();
        let response = response.map_err(|error| Failed::Here(error.to_string()))?;
        match ErrorCode::from_i16(response.error_code).unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => {}
            code @ (ErrorCode::InconsistentClusterId | ErrorCode::FencedLeaderEpoch) => {
                let reason = format!(
                    "controller {} answers {code} to a broker of cluster {}: {}",
                    answered.address(),
                    self.cluster_id,
                    response.error_message.as_deref().unwrap_or("it says no more"),
                );
                return Err(Failed::ForGood(match code {
                    ErrorCode::FencedLeaderEpoch => Failure::Diverged(reason),
                    _ => Failure::Other(io::Error::other(reason)),
                }));
            }
            code => return Err(Failed::Here(code.to_string())),
        }
        self.metrics.metadata_confirmed();
        self.learn(&response);
        Ok(response)
    }

    /// Who leads, and who else could be asked.
    fn learn(&mut self, response: &FetchMetadataResponse<'_>) {
        let reached = response.controllers.iter().filter(|controller| !controller.host.is_empty());
        let told = reached.map(|c| HostPort(&c.host, c.port).to_string());
        self.controllers = current(&self.controllers, told.collect());
        let told = (response.leader_id >= 0 && !response.leader_host.is_empty()).then(|| ActiveController {
            id: response.leader_id,
            address: HostPort(&response.leader_host, response.leader_port).to_string(),
        });
        self.leader.send_if_modified(|leader| {
            let is_new = *leader != told;
            *leader = told;
            is_new
        });
    }
}

/// The controllers that are `told` of, in the order in which they are asked: those that were known keep theirs. Nobody
/// is forgotten for an answer that names nobody.
fn current(known: &[String], told: Vec<String>) -> Vec<String> {
    if told.is_empty() {
        return known.to_vec();
    }
    let (new, stay): (Vec<_>, Vec<_>) = told.into_iter().partition(|told| !known.contains(told));
    let mut controllers: Vec<_> = known.iter().filter(|known| stay.contains(known)).cloned().collect();
    controllers.extend(new);
    controllers
}

#[cfg(test)]
mod tests {
    use milena_protocol::messages::fetch_metadata_response::Controller;

    use super::*;

    fn feed(named: &[&str]) -> Feed {
        let address = |named: &&str| {
            let (host, port) = named.split_once(':').expect("host:port");
            Address { host: host.to_owned(), port: port.parse().expect("a port") }
        };
        let named: Vec<_> = named.iter().map(address).collect();
        let (told, _) = watch::channel(None);
        let dialer = Arc::new(milena_client::net::Tcp);
        Feed::new((Arc::from("cluster"), 0), &named, dialer, told, Arc::new(Metrics::new()))
    }

    fn told(hosts: &[&'static str]) -> FetchMetadataResponse<'static> {
        let controller = |(id, host): (i32, &&'static str)| Controller { id, host: (*host).into(), port: 1 };
        let controllers = (1..).zip(hosts).map(controller).collect();
        FetchMetadataResponse { leader_id: -1, controllers, ..Default::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn controllers_are_those_of_the_quorum_and_when_all_are_gone_those_of_the_settings() {
        let mut feed = feed(&["a:1", "b:1", "c:1"]);
        feed.learn(&told(&["d", "b", "a"]));
        assert_eq!(feed.controllers, ["a:1", "b:1", "d:1"], "who is asked stays first");
        for round in 0..100 {
            feed.learn(&told(if round % 2 == 0 { &["b", "e"] } else { &["b", "f"] }));
        }
        assert_eq!(feed.controllers, ["b:1", "f:1"], "those that left are asked no more");
        feed.learn(&told(&[]));
        feed.learn(&told(&[""]));
        assert_eq!(feed.controllers, ["b:1", "f:1"], "an answer that names nobody says nothing");
        feed.ask_another("gone").await;
        assert_eq!(feed.controllers, ["f:1", "b:1"]);
        for _ in 0..100 {
            feed.ask_another("gone").await;
        }
        feed.controllers.sort();
        assert_eq!(feed.controllers, ["a:1", "b:1", "c:1", "f:1"]);
    }
}

#[cfg(test)]
#[path = "remote_feed_test.rs"]
mod feed_tests;

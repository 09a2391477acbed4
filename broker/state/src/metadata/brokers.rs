//! Brokers: registration, heartbeats, fencing, controlled shutdown.
//!
//! A broker registers fenced, heartbeats until it has applied its own registration, is unfenced,
//! and is fenced again when its session runs out. Sessions are soft state: a new controller gives
//! every broker one full session before it fences any.

use std::borrow::Cow;
use std::collections::BTreeSet;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::command::{ApiError, Context, Decision, Reply};
use super::features::METADATA_VERSION;
use super::image::{Broker, Image};
use super::record::{self, BrokerRegistrationChange, Endpoint, Record, SupportedFeature};
pub use super::sessions::Sessions;
use super::{directories, partitions};

/// Directory ids with a meaning of their own: unassigned, lost, migrating and the reserved rest.
const RESERVED_DIRECTORY_IDS: u128 = 100;

/// A broker process introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterBroker {
    pub broker_id: i32,
    /// Drawn by the process at its start.
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<SupportedFeature>,
    pub rack: Option<String>,
    pub log_dirs: Vec<Uuid>,
    /// Epoch from the clean-shutdown file, −1 without one: anything but the epoch we know means
    /// that unsynced records may be gone.
    pub previous_broker_epoch: i64,
    /// Whether a session of this id, seen by this controller, has not run out yet.
    pub session_is_live: bool,
}

/// The registration; `broker_epoch` −1 stands for the index of the entry that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    pub broker_epoch: i64,
}

impl Registered {
    /// The epoch, once the index of the entry is known.
    pub fn epoch_at(self, entry_index: i64) -> i64 {
        if self.broker_epoch < 0 { entry_index } else { self.broker_epoch }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnregisterBroker {
    pub broker_id: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FenceBroker {
    pub broker_id: i32,
    /// The epoch whose session ran out; a registration since then is left alone.
    pub broker_epoch: i64,
}

/// A broker is alive and says what it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    pub broker_id: i32,
    pub broker_epoch: i64,
    /// Index of the last metadata entry that it applied.
    pub current_metadata_offset: i64,
    pub want_fence: bool,
    pub want_shut_down: bool,
    /// Directories of its configuration that it cannot use; [`directories::LOST`] for one whose id it cannot read.
    pub offline_log_dirs: Vec<Uuid>,
    /// Whether every active broker has applied the changes of this broker's controlled shutdown
    /// (see [`Sessions::all_reached`]).
    pub others_caught_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    pub is_caught_up: bool,
    pub is_fenced: bool,
    pub should_shut_down: bool,
}

/// Errors: `DUPLICATE_BROKER_REGISTRATION`, `INVALID_REGISTRATION`, `UNSUPPORTED_VERSION`.
pub fn register(image: &Image, command: &RegisterBroker, context: Context<'_>) -> Decision {
    match registration(image, command, context) {
        Ok((records, registered)) => Decision::new(records, Reply::RegisterBroker(Ok(registered))),
        Err(error) => Decision::reply(Reply::RegisterBroker(Err(error))),
    }
}

fn registration(
    image: &Image,
    command: &RegisterBroker,
    context: Context<'_>,
) -> Result<(Vec<Record>, Registered), ApiError> {
    let existing = image.broker(command.broker_id);
    let same_process = existing.is_some_and(|broker| broker.incarnation_id == command.incarnation_id);
    if existing.is_some() && !same_process && command.session_is_live {
        return Err(ApiError::new(
            ErrorCode::DuplicateBrokerRegistration,
            format!("Another broker is registered with that broker id {}.", command.broker_id),
        ));
    }
    check_features(image, command)?;
    check_directories(image, command)?;
    let mut records = Vec::new();
    if !same_process {
        // One that was unregistered may still be eligible somewhere; what it knows of it is not known to us.
        let unclean = existing.is_none_or(|broker| command.previous_broker_epoch != broker.broker_epoch);
        partitions::broker_restarted(image, command.broker_id, unclean, context, &mut records);
    }
    // A registration that is repeated by the same process keeps epoch and state.
    let kept = existing.filter(|_| same_process);
    if let Some(broker) = kept {
        let named = |id: &Uuid| command.log_dirs.contains(id);
        let lost: Vec<Uuid> = broker.log_dirs.iter().copied().filter(|id| !named(id)).collect();
        directories::offline(image, broker, &lost, context, &mut records);
    }
    let broker_epoch = kept.map_or(-1, |broker| broker.broker_epoch);
    records.push(Record::RegisterBroker(record::RegisterBroker {
        broker_id: command.broker_id,
        incarnation_id: command.incarnation_id,
        broker_epoch,
        endpoints: command.endpoints.clone(),
        features: command.features.clone(),
        rack: command.rack.clone(),
        fenced: kept.is_none_or(|broker| broker.fenced),
        in_controlled_shutdown: kept.is_some_and(|broker| broker.in_controlled_shutdown),
        log_dirs: command.log_dirs.clone(),
    }));
    Ok((records, Registered { broker_epoch }))
}

/// Every level that the cluster has finalized must be one that the broker can run.
fn check_features(image: &Image, command: &RegisterBroker) -> Result<(), ApiError> {
    if !command.features.iter().any(|feature| feature.name == METADATA_VERSION) {
        let message = format!("Request features do not contain '{METADATA_VERSION}'");
        return Err(ApiError::new(ErrorCode::InvalidRegistration, message));
    }
    for (name, level) in image.features() {
        let supported = command.features.iter().find(|feature| feature.name == *name);
        let (min, max) = supported.map_or((0, 0), |feature| (feature.min, feature.max));
        if *level < min || *level > max {
            return Err(ApiError::new(
                ErrorCode::UnsupportedVersion,
                format!(
                    "Unable to register because the broker does not support finalized version {level} \
                     of {name}. The broker wants a version between {min} and {max}, inclusive."
                ),
            ));
        }
    }
    Ok(())
}

fn check_directories(image: &Image, command: &RegisterBroker) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::new(ErrorCode::InvalidRegistration, message));
    if command.log_dirs.is_empty() {
        return refuse("No directories specified in request".to_owned());
    }
    let mut seen = BTreeSet::new();
    for id in &command.log_dirs {
        if id.as_u128() < RESERVED_DIRECTORY_IDS {
            return refuse(format!("Reserved directory id {id} in registration."));
        }
        if !seen.insert(*id) {
            return refuse(format!("Directory id {id} is listed twice in the registration."));
        }
        let holds = |broker: &&std::sync::Arc<Broker>| {
            broker.broker_id != command.broker_id && broker.log_dirs.contains(id)
        };
        if let Some(other) = image.brokers().find(holds) {
            return refuse(format!(
                "Broker {} is already registered with directory id {id}.",
                other.broker_id
            ));
        }
    }
    Ok(())
}

/// Errors: `BROKER_ID_NOT_REGISTERED`.
pub fn unregister(image: &Image, command: &UnregisterBroker, context: Context<'_>) -> Decision {
    let Some(broker) = image.broker(command.broker_id) else {
        return Decision::reply(Reply::UnregisterBroker(Err(not_registered(command.broker_id))));
    };
    if broker.is_active() {
        let message = format!("Broker {} is alive: stop it before it is unregistered.", broker.broker_id);
        let error = ApiError::new(ErrorCode::InvalidRequest, message);
        return Decision::reply(Reply::UnregisterBroker(Err(error)));
    }
    let mut records = Vec::new();
    partitions::broker_left(image, broker.broker_id, context, &mut records);
    records.push(Record::UnregisterBroker(record::UnregisterBroker {
        broker_id: broker.broker_id,
        broker_epoch: broker.broker_epoch,
    }));
    Decision::new(records, Reply::UnregisterBroker(Ok(())))
}

/// A session ran out. Nothing happens when the broker has registered again or is fenced already.
pub fn fence(image: &Image, command: &FenceBroker, context: Context<'_>) -> Decision {
    let mut records = Vec::new();
    let broker = image.broker(command.broker_id);
    if let Some(broker) = broker.filter(|b| b.broker_epoch == command.broker_epoch && !b.fenced) {
        fence_records(image, broker, context, &mut records);
    }
    Decision::new(records, Reply::FenceBroker)
}

/// Leaders move first and the fence comes last: were the entry cut in two, fencing again would
/// finish the work.
fn fence_records(image: &Image, broker: &Broker, context: Context<'_>, records: &mut Vec<Record>) {
    partitions::broker_left(image, broker.broker_id, context, records);
    records.push(change(broker, Some(true), None));
}

fn change(broker: &Broker, fenced: Option<bool>, in_controlled_shutdown: Option<bool>) -> Record {
    Record::BrokerRegistrationChange(BrokerRegistrationChange {
        broker_id: broker.broker_id,
        broker_epoch: broker.broker_epoch,
        fenced,
        in_controlled_shutdown,
        log_dirs: None,
    })
}

/// Errors: `STALE_BROKER_EPOCH`, `BROKER_ID_NOT_REGISTERED`.
pub fn heartbeat(image: &Image, command: &Heartbeat, context: Context<'_>) -> Decision {
    if let Err(error) = check_broker_epoch(image, command.broker_id, command.broker_epoch) {
        return Decision::reply(Reply::BrokerHeartbeat(Err(error)));
    }
    let broker = image.broker(command.broker_id).expect("the check above found it");
    let mut records = Vec::new();
    directories::offline(image, broker, &command.offline_log_dirs, context, &mut records);
    let image = with(image, &records);
    let broker = image.broker(command.broker_id).expect("it does not go with its directories");
    let next = next_state(&image, broker, command);
    match next {
        State::Unfenced if broker.fenced => unfence(&image, broker, command, context, &mut records),
        State::Fenced | State::ShutDownNow if !broker.fenced => {
            fence_records(&image, broker, context, &mut records);
        }
        State::ShuttingDown if !broker.in_controlled_shutdown => {
            records.push(change(broker, None, Some(true)));
            partitions::broker_left(&image, broker.broker_id, context, &mut records);
        }
        State::Unfenced | State::Fenced | State::ShutDownNow | State::ShuttingDown => {}
    }
    let answer = HeartbeatAnswer {
        // Behind the registration it cannot serve; the end of the log it need not reach, which
        // moves all the time.
        is_caught_up: command.current_metadata_offset >= broker.broker_epoch,
        is_fenced: matches!(next, State::Fenced | State::ShutDownNow),
        should_shut_down: next == State::ShutDownNow,
    };
    Decision::new(records, Reply::BrokerHeartbeat(Ok(answer)))
}

fn unfence(
    image: &Image,
    broker: &Broker,
    command: &Heartbeat,
    context: Context<'_>,
    records: &mut Vec<Record>,
) {
    let mut more = vec![change(broker, Some(false), None)];
    // With one missing, what is not where it was may be in that one.
    if command.offline_log_dirs.is_empty() {
        directories::forget_removed(image, broker, context, &mut more);
    }
    partitions::broker_arrived(&with(image, &more), broker.broker_id, context, &mut more);
    records.extend(more);
}

/// The image as it will be, for what is decided after that.
fn with<'a>(image: &'a Image, records: &[Record]) -> Cow<'a, Image> {
    if records.is_empty() {
        return Cow::Borrowed(image);
    }
    let mut after = image.clone();
    records.iter().for_each(|record| after.apply(record).expect("decided on this image"));
    Cow::Owned(after)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fenced,
    Unfenced,
    ShuttingDown,
    ShutDownNow,
}

fn next_state(image: &Image, broker: &Broker, command: &Heartbeat) -> State {
    if broker.in_controlled_shutdown {
        let drained = !partitions::leads_anything(image, broker.broker_id);
        return if drained && command.others_caught_up { State::ShutDownNow } else { State::ShuttingDown };
    }
    // Who has lost every directory can hold nothing, and nothing new must be placed there.
    let has_disk = !broker.log_dirs.is_empty();
    if broker.fenced {
        let caught_up = has_disk && command.current_metadata_offset >= broker.broker_epoch;
        return match () {
            () if command.want_shut_down => State::ShutDownNow,
            () if !command.want_fence && caught_up => State::Unfenced,
            () => State::Fenced,
        };
    }
    match () {
        () if command.want_fence && command.want_shut_down => State::ShutDownNow,
        () if command.want_fence || !(has_disk || command.want_shut_down) => State::Fenced,
        () if !command.want_shut_down => State::Unfenced,
        () if partitions::leads_anything(image, broker.broker_id) => State::ShuttingDown,
        () => State::ShutDownNow,
    }
}

/// Errors: `STALE_BROKER_EPOCH` from another incarnation, `BROKER_ID_NOT_REGISTERED`.
pub fn check_broker_epoch(image: &Image, broker_id: i32, broker_epoch: i64) -> Result<(), ApiError> {
    let broker = image.broker(broker_id).ok_or_else(|| not_registered(broker_id))?;
    if broker.broker_epoch == broker_epoch {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::StaleBrokerEpoch,
        format!("Expected broker epoch {}, but got broker epoch {broker_epoch}.", broker.broker_epoch),
    ))
}

fn not_registered(broker_id: i32) -> ApiError {
    ApiError::new(
        ErrorCode::BrokerIdNotRegistered,
        format!("Broker ID {broker_id} is not currently registered"),
    )
}

#[cfg(test)]
#[path = "brokers_test.rs"]
pub(super) mod tests;

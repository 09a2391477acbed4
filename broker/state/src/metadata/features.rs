//! Feature levels: what all nodes of the cluster have agreed to speak.

use milena_protocol::ErrorCode;

use super::command::{ApiError, Context, Decision, Reply};
use super::image::{ConfigResource, Image, ResourceKind};
use super::record::{self, ClearElr, Record, SupportedFeature};

/// A feature that this version knows: name, lowest and highest level, level of a new cluster.
struct Feature {
    name: &'static str,
    min: i16,
    max: i16,
    initial: i16,
}

/// Kafka 4.3's production features. Levels above 0 are promises: only what is built is offered.
const FEATURES: &[Feature] = &[
    Feature { name: "eligible.leader.replicas.version", min: 0, max: 1, initial: 1 },
    // 30 is 4.3-IV0 of Kafka, the level whose requests and records this version speaks.
    Feature { name: "metadata.version", min: 7, max: 30, initial: 30 },
];

/// The feature under which KIP-966's eligible leader replicas are kept.
pub const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";

const MIN_ISR: &str = "min.insync.replicas";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateFeatures {
    pub updates: Vec<FeatureUpdate>,
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureUpdate {
    pub name: String,
    pub level: i16,
    pub kind: UpdateKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateKind {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

/// What a broker of this version says it supports when it registers.
pub fn supported() -> Vec<SupportedFeature> {
    FEATURES.iter().map(|f| SupportedFeature { name: f.name.to_owned(), min: f.min, max: f.max }).collect()
}

/// Levels of a cluster whose metadata log is empty; nothing for one that has levels.
pub fn bootstrap(image: &Image, context: Context<'_>) -> Decision {
    let mut records = Vec::new();
    if image.features().is_empty() {
        records.extend(FEATURES.iter().map(|f| level_record(f.name, f.initial)));
        records.extend(one_min_isr_for_all(image, context));
    }
    Decision::new(records, Reply::Bootstrap)
}

/// All updates or none. Errors: `FEATURE_UPDATE_FAILED`, `INVALID_REQUEST`.
pub fn update(image: &Image, command: &UpdateFeatures, context: Context<'_>) -> Decision {
    let mut records = Vec::new();
    for update in &command.updates {
        if let Err(error) = check(image, update) {
            return Decision::reply(Reply::UpdateFeatures(Err(error)));
        }
        records.push(level_record(&update.name, update.level));
        if update.name == ELIGIBLE_LEADER_REPLICAS && update.level >= 1 {
            records.extend(one_min_isr_for_all(image, context));
        }
        if update.name == ELIGIBLE_LEADER_REPLICAS && update.level == 0 {
            // Nobody keeps them up to date from here on, not even when the minimum ISR changes.
            records.push(Record::ClearElr(ClearElr { topic_name: String::new() }));
        }
    }
    if command.validate_only {
        records.clear();
    }
    Decision::new(records, Reply::UpdateFeatures(Ok(())))
}

/// With eligible leader replicas the minimum ISR must be the same wherever a leader lands: the
/// controller's own value becomes that of all brokers, and what single brokers have set goes.
fn one_min_isr_for_all(image: &Image, context: Context<'_>) -> Vec<Record> {
    let all = ConfigResource::all_brokers();
    let mut records = Vec::new();
    if !image.cluster_config().contains_key(MIN_ISR) {
        let value = context.settings.topic.min_insync_replicas.to_string();
        records.push(all.record(MIN_ISR, Some(value)));
    }
    let single = |resource: &&ConfigResource| resource.kind == ResourceKind::Broker && **resource != all;
    let set = image.configs().filter(|(_, values)| values.contains_key(MIN_ISR));
    records.extend(set.map(|(r, _)| r).filter(single).map(|resource| resource.record(MIN_ISR, None)));
    records
}

fn check(image: &Image, update: &FeatureUpdate) -> Result<(), ApiError> {
    let refuse = |code: ErrorCode, message: String| Err(ApiError::new(code, message));
    let FeatureUpdate { name, level, kind } = update;
    let Some(feature) = FEATURES.iter().find(|f| f.name == name) else {
        let message = format!("The controller does not support the given feature {name}.");
        return refuse(ErrorCode::FeatureUpdateFailed, message);
    };
    if *level < feature.min || *level > feature.max {
        return refuse(
            ErrorCode::FeatureUpdateFailed,
            format!(
                "Level {level} of {name} is outside of the supported range {} to {}.",
                feature.min, feature.max
            ),
        );
    }
    if let Some(broker) = image.brokers().find(|broker| !supports(&broker.features, name, *level)) {
        let id = broker.broker_id;
        return refuse(
            ErrorCode::FeatureUpdateFailed,
            format!("Broker {id} does not support level {level} of {name}."),
        );
    }
    let current = image.feature_level(name);
    match kind {
        UpdateKind::Upgrade if *level < current => refuse(
            ErrorCode::InvalidRequest,
            format!(
                "Can't downgrade the level of {name} from {current} to {level} without asking for a downgrade."
            ),
        ),
        UpdateKind::SafeDowngrade | UpdateKind::UnsafeDowngrade if *level > current => refuse(
            ErrorCode::InvalidRequest,
            format!("Can't upgrade the level of {name} from {current} to {level} by a downgrade."),
        ),
        _ => Ok(()),
    }
}

fn supports(features: &[SupportedFeature], name: &str, level: i16) -> bool {
    features.iter().any(|f| f.name == name && (f.min..=f.max).contains(&level))
}

fn level_record(name: &str, level: i16) -> Record {
    Record::FeatureLevel(record::FeatureLevel { name: name.to_owned(), level })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker::Settings;
    use crate::metadata::brokers::tests::image_with_brokers;

    fn check_update(level: i16, kind: UpdateKind, validate_only: bool, expected: Result<usize, ErrorCode>) {
        let image = image_with_brokers(&[1]);
        let one = FeatureUpdate { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), level, kind };
        let settings = Settings::own_defaults();
        let context = Context { now_ms: 0, settings: &settings };
        let decision = update(&image, &UpdateFeatures { updates: vec![one], validate_only }, context);
        let outcome = match decision.reply {
            Reply::UpdateFeatures(Ok(())) => Ok(decision.records.len()),
            Reply::UpdateFeatures(Err(error)) => Err(error.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn levels_move_only_within_range_and_in_the_asked_direction() {
        check_update(1, UpdateKind::Upgrade, false, Ok(1));
        check_update(1, UpdateKind::Upgrade, true, Ok(0));
        check_update(2, UpdateKind::Upgrade, false, Err(ErrorCode::FeatureUpdateFailed));
        check_update(0, UpdateKind::Upgrade, false, Err(ErrorCode::InvalidRequest));
        // Switching them off also forgets who was eligible.
        check_update(0, UpdateKind::SafeDowngrade, false, Ok(2));
    }

    #[test]
    fn bootstrap_sets_levels_and_the_minimum_isr_once() {
        let settings = Settings::parse(&[(MIN_ISR.to_owned(), "2".to_owned())].into()).unwrap();
        let context = Context { now_ms: 0, settings: &settings };
        let mut image = Image::default();
        for record in &bootstrap(&image, context).records {
            image.apply(record).unwrap();
        }
        assert_eq!(image.feature_level(ELIGIBLE_LEADER_REPLICAS), 1);
        assert_eq!(image.cluster_config()[MIN_ISR], "2");
        assert!(bootstrap(&image, context).records.is_empty());
    }

    #[test]
    fn enabling_eligible_replicas_makes_the_minimum_isr_the_same_everywhere() {
        let settings = Settings::own_defaults();
        let context = Context { now_ms: 0, settings: &settings };
        let mut image = Image::default();
        image.apply(&ConfigResource::broker(7).record(MIN_ISR, Some("3".to_owned()))).unwrap();
        let one =
            FeatureUpdate { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), level: 1, kind: UpdateKind::Upgrade };
        let decision = update(&image, &UpdateFeatures { updates: vec![one], validate_only: false }, context);
        for record in &decision.records {
            image.apply(record).unwrap();
        }
        assert_eq!(image.cluster_config()[MIN_ISR], "1");
        assert!(image.broker_config(7).is_empty());
    }
}

//! Feature levels: what all nodes of the cluster have agreed to speak.

use milena_protocol::ErrorCode;

use super::command::{ApiError, Context, Decision, Reply};
use super::controllers;
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

/// The feature that says which records and requests are spoken.
pub const METADATA_VERSION: &str = "metadata.version";

const MIN_ISR: &str = "min.insync.replicas";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateFeatures {
    pub updates: Vec<FeatureUpdate>,
    pub validate_only: bool,
    /// Node ids of the controllers that vote.
    pub voters: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureUpdate {
    pub name: String,
    pub level: i16,
    /// None for a number that nobody knows.
    pub kind: Option<UpdateKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateKind {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

impl UpdateKind {
    /// Kafka's number on the wire.
    pub fn from_number(number: i8) -> Option<Self> {
        match number {
            1 => Some(Self::Upgrade),
            2 => Some(Self::SafeDowngrade),
            3 => Some(Self::UnsafeDowngrade),
            _ => None,
        }
    }
}

/// What a broker or controller of this version says it supports when it registers.
pub fn supported() -> Vec<SupportedFeature> {
    FEATURES.iter().map(|f| SupportedFeature { name: f.name.to_owned(), min: f.min, max: f.max }).collect()
}

/// What in `image` is beyond this version: a feature that it does not know, or a higher level of one.
pub fn unknown(image: &Image) -> Option<String> {
    let beyond = |name: &str, level: i16| {
        let known = FEATURES.iter().find(|feature| feature.name == name);
        level > known.map_or(0, |feature| feature.max)
    };
    let mut features = image.features().iter().filter(|(name, level)| beyond(name, **level));
    features.next().map(|(name, level)| format!("{name} has level {level}"))
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

/// All updates or none. Errors: `INVALID_UPDATE_VERSION`.
pub fn update(image: &Image, command: &UpdateFeatures, context: Context<'_>) -> Decision {
    let mut records = Vec::new();
    for update in &command.updates {
        if let Err(error) = check(image, update, &command.voters, context) {
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

fn check(
    image: &Image,
    update: &FeatureUpdate,
    voters: &[i32],
    context: Context<'_>,
) -> Result<(), ApiError> {
    let FeatureUpdate { name, level, .. } = update;
    why_not(image, update, voters, context).map_or(Ok(()), |reason| {
        // A release that is taken back has its own sentence.
        let invalid = match reason.starts_with("Unsupported") {
            true => String::new(),
            false => format!("Invalid update version {level} for feature {name}. "),
        };
        let message = format!(
            "The update failed for all features since the following feature had an error: {invalid}{reason}"
        );
        Err(ApiError::new(ErrorCode::InvalidUpdateVersion, message))
    })
}

/// What is wrong with an update, in Kafka's order of looking.
fn why_not(image: &Image, update: &FeatureUpdate, voters: &[i32], context: Context<'_>) -> Option<String> {
    let FeatureUpdate { name, level, kind } = update;
    let current = image.feature_level(name);
    let controller = context.settings.node_id;
    let Some(kind) = *kind else {
        return Some("The controller does not support the given upgrade type.".to_owned());
    };
    if *level < 0 {
        return Some("A feature version cannot be less than 0.".to_owned());
    }
    let Some(feature) = FEATURES.iter().find(|f| f.name == name) else {
        return Some(format!("Local controller {controller} does not support this feature."));
    };
    if *level < feature.min || *level > feature.max {
        let (min, max) = (feature.min, feature.max);
        return Some(format!("Local controller {controller} only supports versions {min}-{max}"));
    }
    let mut brokers = image.brokers().map(|b| (format!("Broker {}", b.broker_id), &b.features));
    if let Some(reason) = brokers.find_map(|(who, features)| why_not_there(&who, features, name, *level)) {
        return Some(reason);
    }
    let others: Vec<i32> = voters.iter().copied().filter(|voter| *voter != controller).collect();
    if let Some(reason) = why_not_in_quorum(image, &others, name, *level) {
        return Some(reason);
    }
    if *level < current && kind == UpdateKind::Upgrade {
        return Some(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
             unsafe downgrade."
                .to_owned(),
        );
    }
    if *level < current && name == METADATA_VERSION {
        // Records of the newer level are in the log, and no older version would read them.
        return Some(format!("Unsupported {name} downgrade from {current} to {level}."));
    }
    if *level > current && kind != UpdateKind::Upgrade {
        return Some("Can't downgrade to a newer version.".to_owned());
    }
    None
}

/// What keeps the `others` of the quorum from running that level. One that has said nothing may be of a version from
/// before controllers did: it keeps every feature where it is.
///
/// As in Kafka, but for controllers that registered and vote no more, which would hold a feature down for ever.
fn why_not_in_quorum(image: &Image, others: &[i32], name: &str, level: i16) -> Option<String> {
    if !controllers::register_in(image) {
        // Nobody can have registered.
        return None;
    }
    let mut registered = others.iter().filter_map(|id| image.controller(*id));
    let unfit = registered.find_map(|controller| {
        why_not_there(&format!("Controller {}", controller.controller_id), &controller.features, name, level)
    });
    unfit.or_else(|| {
        let silent = others.iter().find(|id| image.controller(**id).is_none())?;
        Some(format!("controller {silent} has not registered, and may not support this feature"))
    })
}

/// What keeps one node from running that level; the level 0 of what it does not know it has already.
fn why_not_there(who: &str, features: &[SupportedFeature], name: &str, level: i16) -> Option<String> {
    let supported = features.iter().find(|feature| feature.name == name);
    let (min, max) = supported.map_or((0, 0), |feature| (feature.min, feature.max));
    match level {
        _ if (min..=max).contains(&level) => None,
        _ if max == 0 => Some(format!("{who} does not support this feature.")),
        _ => Some(format!("{who} only supports versions {min}-{max}")),
    }
}

fn level_record(name: &str, level: i16) -> Record {
    Record::FeatureLevel(record::FeatureLevel { name: name.to_owned(), level })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker::Settings;
    use crate::metadata::brokers::tests::image_with_brokers;
    use crate::metadata::image::Broker;
    use crate::metadata::record::RegisterController;

    fn check_update(level: i16, kind: UpdateKind, validate_only: bool, expected: Result<usize, ErrorCode>) {
        let image = image_with_brokers(&[1]);
        let one = FeatureUpdate { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), level, kind: Some(kind) };
        let settings = Settings::own_defaults();
        let context = Context { now_ms: 0, settings: &settings };
        let decision =
            update(&image, &UpdateFeatures { updates: vec![one], validate_only, voters: vec![] }, context);
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
        check_update(2, UpdateKind::Upgrade, false, Err(ErrorCode::InvalidUpdateVersion));
        check_update(0, UpdateKind::Upgrade, false, Err(ErrorCode::InvalidUpdateVersion));
        // Switching them off also forgets who was eligible.
        check_update(0, UpdateKind::SafeDowngrade, false, Ok(2));
    }

    #[test]
    fn a_level_must_be_within_the_range_of_every_broker_fenced_ones_too() {
        let check = |features: Vec<SupportedFeature>, level: i16, expected: Option<&str>| {
            let mut image = image_with_brokers(&[1, 2]);
            let old = Broker { features, fenced: true, ..image.broker(2).unwrap().as_ref().clone() };
            image.apply(&Record::RegisterBroker(old.to_record())).unwrap();
            let kind = Some(if level == 0 { UpdateKind::SafeDowngrade } else { UpdateKind::Upgrade });
            let one = FeatureUpdate { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), level, kind };
            let settings = Settings::own_defaults();
            let context = Context { now_ms: 0, settings: &settings };
            let decision = update(
                &image,
                &UpdateFeatures { updates: vec![one], validate_only: false, voters: vec![] },
                context,
            );
            let Reply::UpdateFeatures(outcome) = decision.reply else { panic!("{:?}", decision.reply) };
            match (outcome, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(reason)) => assert!(error.message.ends_with(reason), "{}", error.message),
                (outcome, _) => panic!("level {level}: {outcome:?}"),
            }
        };
        let range = |min, max| vec![SupportedFeature { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), min, max }];
        check(range(0, 1), 1, None);
        check(vec![], 1, Some("Broker 2 does not support this feature."));
        check(vec![], 0, None);
        check(range(1, 1), 0, Some("Broker 2 only supports versions 1-1"));
    }

    #[test]
    fn a_level_must_be_within_the_range_of_every_controller_that_votes() {
        let mut image = image_with_brokers(&[1]);
        let settings = Settings::own_defaults();
        let own = settings.node_id;
        let range = |max| vec![SupportedFeature { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), min: 0, max }];
        let register = |image: &mut Image, controller_id: i32, features: Vec<SupportedFeature>| {
            let (incarnation_id, endpoints) = (milena_protocol::types::Uuid::from_u128(1), Vec::new());
            let record = RegisterController { controller_id, incarnation_id, endpoints, features };
            image.apply(&Record::RegisterController(record)).unwrap();
        };
        let check = |image: &Image, voters: &[i32], expected: Option<&str>| {
            let kind = Some(UpdateKind::Upgrade);
            let one = FeatureUpdate { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), level: 1, kind };
            let context = Context { now_ms: 0, settings: &settings };
            let command =
                UpdateFeatures { updates: vec![one], validate_only: false, voters: voters.to_vec() };
            let Reply::UpdateFeatures(outcome) = update(image, &command, context).reply else {
                panic!("another reply")
            };
            match (outcome, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(reason)) => assert!(error.message.ends_with(reason), "{}", error.message),
                (outcome, _) => panic!("{voters:?}: {outcome:?}"),
            }
        };
        check(&image, &[own], None);
        let silent = "controller 101 has not registered, and may not support this feature";
        check(&image, &[own, 101], Some(silent));
        register(&mut image, 101, range(1));
        check(&image, &[own, 101], None);
        // One of an older version joins the quorum, or comes back in the middle of an upgrade.
        register(&mut image, 102, vec![]);
        check(&image, &[own, 101], None);
        check(&image, &[own, 101, 102], Some("Controller 102 does not support this feature."));
        register(&mut image, 102, vec![SupportedFeature { min: 2, max: 3, ..range(0)[0].clone() }]);
        check(&image, &[own, 101, 102], Some("Controller 102 only supports versions 2-3"));
        register(&mut image, 102, range(1));
        check(&image, &[own, 101, 102], None);
        // Before controllers registered nobody could know.
        let level = record::FeatureLevel { name: METADATA_VERSION.to_owned(), level: 14 };
        image.apply(&Record::FeatureLevel(level)).unwrap();
        check(&image, &[own, 103], None);
    }

    #[test]
    fn levels_beyond_this_version_are_told() {
        let image = |name: &str, level| {
            let mut image = Image::default();
            image.apply(&level_record(METADATA_VERSION, 30)).unwrap();
            image.apply(&level_record(name, level)).unwrap();
            image
        };
        assert_eq!(unknown(&image(ELIGIBLE_LEADER_REPLICAS, 1)), None);
        assert_eq!(unknown(&image("of.tomorrow", 0)), None);
        assert_eq!(unknown(&image("of.tomorrow", 1)).as_deref(), Some("of.tomorrow has level 1"));
        assert_eq!(unknown(&image(METADATA_VERSION, 31)).as_deref(), Some("metadata.version has level 31"));
    }

    #[test]
    fn the_metadata_version_is_not_taken_back() {
        let image = image_with_brokers(&[1]);
        for kind in [UpdateKind::SafeDowngrade, UpdateKind::UnsafeDowngrade] {
            let one = FeatureUpdate { name: METADATA_VERSION.to_owned(), level: 29, kind: Some(kind) };
            let settings = Settings::own_defaults();
            let context = Context { now_ms: 0, settings: &settings };
            let decision = update(
                &image,
                &UpdateFeatures { updates: vec![one], validate_only: false, voters: vec![] },
                context,
            );
            let Reply::UpdateFeatures(Err(error)) = decision.reply else { panic!("{:?}", decision.reply) };
            assert!(
                error.message.contains("Unsupported metadata.version downgrade from 30 to 29"),
                "{error}"
            );
            assert!(decision.records.is_empty());
        }
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
        let one = FeatureUpdate {
            name: ELIGIBLE_LEADER_REPLICAS.to_owned(),
            level: 1,
            kind: Some(UpdateKind::Upgrade),
        };
        let decision = update(
            &image,
            &UpdateFeatures { updates: vec![one], validate_only: false, voters: vec![] },
            context,
        );
        for record in &decision.records {
            image.apply(record).unwrap();
        }
        assert_eq!(image.cluster_config()[MIN_ISR], "1");
        assert!(image.broker_config(7).is_empty());
    }
}

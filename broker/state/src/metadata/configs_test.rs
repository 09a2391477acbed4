use super::*;
use crate::config::broker::Settings;
use crate::metadata::brokers::tests::image_with_brokers;
use crate::metadata::record::TopicRecord;
use milena_protocol::types::Uuid;

fn image() -> Image {
    let mut image = image_with_brokers(&[1]);
    let topic = TopicRecord { name: "t".to_owned(), topic_id: Uuid::from_u128(9) };
    image.apply(&Record::Topic(topic)).unwrap();
    image
}

const TOPIC: i8 = ResourceKind::Topic as i8;
const BROKER: i8 = ResourceKind::Broker as i8;
const GROUP: i8 = ResourceKind::Group as i8;
const METRICS: i8 = ResourceKind::ClientMetrics as i8;

/// An operation: its name as Kafka has it, and its value.
#[derive(Debug, Clone, Copy)]
enum Op {
    Set(&'static str),
    Delete,
    Append(&'static str),
    Subtract(&'static str),
    Null,
    Unknown,
}
use Op::{Append, Delete, Set, Subtract};

fn change(name: &str, op: Op) -> Change {
    let (operation, value) = match op {
        Set(value) => (0, Some(value)),
        Delete => (1, None),
        Append(value) => (2, Some(value)),
        Subtract(value) => (3, Some(value)),
        Op::Null => (0, None),
        Op::Unknown => (9, Some("1")),
    };
    Change { name: name.to_owned(), operation, value: value.map(str::to_owned) }
}

fn asked(resource_type: i8, name: &str, operations: &[(&str, Op)]) -> Asked<Change> {
    let changes = operations.iter().map(|(name, op)| change(name, *op)).collect();
    Asked { resource_type, name: name.to_owned(), changes }
}

fn decide(image: &Image, resources: Vec<Asked<Change>>) -> (Vec<Record>, Outcomes) {
    let settings = Settings::own_defaults();
    let command = IncrementalAlterConfigs { resources, validate_only: false, receiver: 1 };
    let decision = incremental_alter(image, &command, Context { now_ms: 0, settings: &settings });
    let Reply::IncrementalAlterConfigs(outcomes) = decision.reply else { panic!("{:?}", decision.reply) };
    (decision.records, outcomes)
}

/// The resource's values after the operations, or the refusal.
fn after(
    image: &Image,
    (resource_type, name): (i8, &str),
    operations: &[(&str, Op)],
) -> Result<Values, (ErrorCode, String)> {
    let (records, mut outcomes) = decide(image, vec![asked(resource_type, name, operations)]);
    if let Err(error) = outcomes.remove(0) {
        assert!(records.is_empty());
        return Err((error.code, error.message));
    }
    let mut image = image.clone();
    records.iter().for_each(|record| image.apply(record).unwrap());
    let kind = ResourceKind::from_number(resource_type).unwrap();
    Ok(image.config(&ConfigResource { kind, name: name.to_owned() }).cloned().unwrap_or_default())
}

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn replaced(name: &str, pairs: &[(&str, &str)]) -> Asked<(String, Option<String>)> {
    let changes = pairs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
    Asked { resource_type: TOPIC, name: name.to_owned(), changes }
}

fn replace(
    image: &Image,
    resources: Vec<Asked<(String, Option<String>)>>,
    validate_only: bool,
) -> (Vec<Record>, Outcomes) {
    let settings = Settings::own_defaults();
    let command = AlterConfigs { resources, validate_only, receiver: 1 };
    let decision = alter(image, &command, Context { now_ms: 0, settings: &settings });
    let Reply::AlterConfigs(outcomes) = decision.reply else { panic!("{:?}", decision.reply) };
    (decision.records, outcomes)
}

#[test]
fn operations_set_delete_append_and_subtract() {
    let topic = (TOPIC, "t");
    let mut image = image();
    assert_eq!(after(&image, topic, &[("retention.ms", Set("5"))]), Ok(values(&[("retention.ms", "5")])));
    let resource = ConfigResource::topic("t");
    image.apply(&resource.record("retention.ms", Some("5".to_owned()))).unwrap();
    assert_eq!(after(&image, topic, &[("retention.ms", Delete)]), Ok(values(&[])));
    assert_eq!(after(&image, topic, &[("nonsense", Delete)]), Ok(values(&[("retention.ms", "5")])));
    // The list starts from the default where nothing is set.
    let expected = values(&[("cleanup.policy", "delete"), ("retention.ms", "5")]);
    assert_eq!(after(&image, topic, &[("cleanup.policy", Append("delete"))]), Ok(expected));
    let expected = values(&[("cleanup.policy", ""), ("retention.ms", "5")]);
    assert_eq!(after(&image, topic, &[("cleanup.policy", Subtract("delete"))]), Ok(expected));
    // No operation at all is fine where the resource is.
    assert_eq!(after(&image, topic, &[]), Ok(values(&[("retention.ms", "5")])));
}

fn check(resource: (i8, &str), operations: &[(&str, Op)], code: ErrorCode, text: &str) {
    let (found, message) = after(&image(), resource, operations).unwrap_err();
    assert_eq!((found, message.contains(text)), (code, true), "{resource:?} {operations:?}: {message}");
}

const CONFIG: ErrorCode = ErrorCode::InvalidConfig;
const REQUEST: ErrorCode = ErrorCode::InvalidRequest;

/// Codes, and the sentences of what is no value's fault, as a Kafka 4.3.1 node answered. Only an unknown operation
/// on a topic it answers with UNKNOWN_SERVER_ERROR.
#[test]
fn topics_are_refused_as_kafka_refuses_them() {
    let topic = (TOPIC, "t");
    check(topic, &[("retention.ms", Set("x"))], CONFIG, "64-bit integer");
    check(topic, &[("retention.ms", Set("-2"))], CONFIG, "at least -1");
    check(topic, &[("nonsense", Set("1"))], CONFIG, "unknown property 'nonsense'");
    check(topic, &[("retention.ms", Op::Null)], REQUEST, "Null value not supported for : retention.ms");
    let twice = [("retention.ms", Set("1")), ("retention.ms", Set("2"))];
    check(topic, &twice, REQUEST, "duplicate config keys");
    check(topic, &[("retention.ms", Op::Unknown)], REQUEST, "Unknown operations type 9");
    check(topic, &[("retention.ms", Append("1"))], CONFIG, "Can't APPEND to key retention.ms because");
    check(topic, &[("nonsense", Append("1"))], CONFIG, "is not LIST");
    check(topic, &[("cleanup.policy", Append("zap"))], CONFIG, "one of compact, delete");
    check((TOPIC, "u"), &[], ErrorCode::UnknownTopicOrPartition, "The topic 'u' does not exist.");
    check((TOPIC, "u"), &[("nonsense", Set("1"))], CONFIG, "unknown property");
    check((TOPIC, ""), &[], REQUEST, "Default topic resources are not allowed.");
    check((TOPIC, "a/b"), &[], ErrorCode::InvalidTopicException, "Topic name is invalid");
    for number in [0, 1, 3, 8, 77] {
        check((number, "x"), &[], REQUEST, &format!("Unknown resource type {number}"));
    }
}

/// As [`topics_are_refused_as_kafka_refuses_them`]; names that no broker knows Kafka keeps for its plugins.
#[test]
fn brokers_are_refused_as_kafka_refuses_them() {
    let (one, all) = ((BROKER, "1"), (BROKER, ""));
    check(one, &[("node.id", Set("2"))], REQUEST, "Cannot update these configs dynamically: [node.id]");
    check(all, &[("node.id", Set("2"))], REQUEST, "dynamically: [node.id]");
    check(one, &[("log.cleaner.threads", Set("3"))], REQUEST, "more than double the current value 1");
    check(all, &[("log.cleaner.threads", Set("0"))], REQUEST, "threads should be at least 1");
    check(one, &[("log.cleaner.enable", Set("false"))], REQUEST, "dynamically: [log.cleaner.enable]");
    check(one, &[("log.retention.hours", Set("8"))], REQUEST, "dynamically: [log.retention.hours]");
    check(one, &[("log.retention.ms", Set("x"))], REQUEST, "64-bit integer");
    check(one, &[("message.max.bytes", Set("-1"))], REQUEST, "at least 0");
    check(one, &[("log.retention.ms", Append("1"))], CONFIG, "is not LIST");
    check(one, &[("min.insync.replicas", Set("2"))], CONFIG, "Broker-level min.insync.replicas cannot be");
    check(all, &[("max.connections", Set("0"))], REQUEST, "nobody could connect");
    check(all, &[("max.connections.per.ip", Set("0"))], REQUEST, "max.connections.per.ip.overrides");
    check((BROKER, "9"), &[], REQUEST, "Unexpected broker id, expected 1, but received 9");
    check((BROKER, "x"), &[], REQUEST, "Node id must be an integer, but it is: x");
    // Sockets and reactors are made at the start, so these are read-only here.
    check(all, &[("listeners", Set("PLAINTEXT://:1"))], REQUEST, "dynamically: [listeners]");
    check(one, &[("num.network.threads", Set("50"))], REQUEST, "dynamically: [num.network.threads]");
    check(one, &[("nonsense", Set("1"))], REQUEST, "unknown property");
}

#[test]
fn groups_and_subscriptions_are_kept_and_refused_as_kafka_does() {
    let set = [("consumer.session.timeout.ms", Set("50000"))];
    let kept = Ok(values(&[("consumer.session.timeout.ms", "50000")]));
    assert_eq!(after(&image(), (GROUP, "g"), &set), kept);
    check((GROUP, ""), &set, REQUEST, "Default group resources are not allowed.");
    check(
        (GROUP, "g"),
        &[("consumer.session.timeout.ms", Set("1"))],
        CONFIG,
        "group.consumer.min.session.timeout.ms",
    );
    check((GROUP, "g"), &[("nonsense", Set("1"))], CONFIG, "unknown property");
    check((GROUP, "g"), &[("consumer.session.timeout.ms", Append("1"))], CONFIG, "is not LIST");
    let set = [("interval.ms", Set("1000")), ("metrics", Set("a,b"))];
    let kept = Ok(values(&[("interval.ms", "1000"), ("metrics", "a,b")]));
    assert_eq!(after(&image(), (METRICS, "m"), &set), kept);
    check((METRICS, ""), &set, REQUEST, "Subscription name can't be empty");
    check((METRICS, "m"), &[("interval.ms", Set("10"))], REQUEST, "100 and 3600000");
    check((METRICS, "m"), &[("interval.ms", Set("x"))], CONFIG, "32-bit integer");
    check((METRICS, "m"), &[("nonsense", Set("1"))], REQUEST, "unknown property");
    check((METRICS, "m"), &[("match", Set("zap=x"))], CONFIG, "zap=x");
    check((METRICS, "m"), &[("metrics", Append("c"))], CONFIG, "is not LIST");
}

#[test]
fn a_resource_that_stands_twice_is_refused_both_times_and_others_are_not() {
    let set = [("retention.ms", Set("9"))];
    let resources = vec![asked(TOPIC, "t", &set), asked(BROKER, "", &[]), asked(TOPIC, "t", &[])];
    let (records, outcomes) = decide(&image(), resources);
    assert!(records.is_empty());
    let codes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.map_err(|error| error.code)).collect();
    assert_eq!(codes, [Err(REQUEST), Ok(()), Err(REQUEST)]);
}

#[test]
fn a_new_minimum_isr_forgets_eligible_leaders() {
    for ((kind, name), topic_name) in [((TOPIC, "t"), "t"), ((BROKER, ""), "")] {
        let (records, _) = decide(&image(), vec![asked(kind, name, &[("min.insync.replicas", Set("2"))])]);
        let clear = Record::ClearElr(ClearElr { topic_name: topic_name.to_owned() });
        assert_eq!(records.last(), Some(&clear));
    }
}

#[test]
fn alter_configs_replaces_everything_and_validates_without_changing() {
    let topic = ConfigResource::topic("t");
    let mut image = image();
    image.apply(&topic.record("retention.ms", Some("5".to_owned()))).unwrap();
    let wanted = || vec![replaced("t", &[("segment.ms", "7")])];
    let expected = vec![topic.record("retention.ms", None), topic.record("segment.ms", Some("7".to_owned()))];
    assert_eq!(replace(&image, wanted(), false), (expected, vec![Ok(())]));
    assert_eq!(replace(&image, wanted(), true), (vec![], vec![Ok(())]));
    let mut null = replaced("t", &[]);
    null.changes.push(("segment.ms".to_owned(), None));
    let (_, outcomes) = replace(&image, vec![null], false);
    assert_eq!(outcomes[0].as_ref().unwrap_err().message, "Null value not supported for : segment.ms");
    let (_, outcomes) =
        replace(&image, vec![replaced("t", &[("segment.ms", "1"), ("segment.ms", "1")])], false);
    assert_eq!(outcomes[0].as_ref().unwrap_err().code, REQUEST);
}

#[test]
fn values_are_kept_in_one_spelling_and_old_ones_are_left_alone() {
    let topic = ConfigResource::topic("t");
    let mut image = image();
    // As an older version may have stored it.
    image.apply(&topic.record("retention.bytes", Some("007".to_owned()))).unwrap();
    let expected = values(&[("retention.bytes", "007"), ("retention.ms", "5")]);
    assert_eq!(after(&image, (TOPIC, "t"), &[("retention.ms", Set(" +0005 "))]), Ok(expected));
}

#[test]
fn resources_that_do_not_fit_into_one_entry_are_refused_each_as_a_whole() {
    let mut image = image();
    let count = 40;
    // Nothing checks what an unknown name of a removed value says, so names can be as long as values.
    for resource in 0..count {
        let record = TopicRecord { name: format!("t{resource}"), topic_id: Uuid::from_u128(100 + resource) };
        image.apply(&Record::Topic(record)).unwrap();
        for name in 0..3 {
            let name = format!("{name}{}", "x".repeat(30_000));
            image
                .apply(&ConfigResource::topic(&format!("t{resource}")).record(&name, Some("1".to_owned())))
                .unwrap();
        }
    }
    let resources = (0..count).map(|i| replaced(&format!("t{i}"), &[])).collect();
    let (records, outcomes) = replace(&image, resources, false);
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(accepted > 0 && accepted < outcomes.len(), "{accepted}");
    assert_eq!(records.len(), 3 * accepted);
    assert!(BatchSize::of(&records).fits());
    let refused = outcomes.into_iter().filter_map(Result::err);
    assert!(refused.map(|error| error.code).all(|code| code == ErrorCode::PolicyViolation));
}

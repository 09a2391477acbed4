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

fn set(value: &str) -> Operation {
    Operation::Set(value.to_owned())
}

/// The resource's values after the operations, or the code of the refusal.
fn after(
    image: &Image,
    resource: &ConfigResource,
    operations: &[(&str, Operation)],
) -> Result<Values, (ErrorCode, String)> {
    let settings = Settings::own_defaults();
    let operations = operations.iter().map(|(name, op)| ((*name).to_owned(), op.clone())).collect();
    let command =
        IncrementalAlterConfigs { resources: vec![(resource.clone(), operations)], validate_only: false };
    let decision = incremental_alter(image, &command, Context { now_ms: 0, settings: &settings });
    let Reply::IncrementalAlterConfigs(answers) = decision.reply else { panic!("{:?}", decision.reply) };
    if let Err(error) = &answers[0].1 {
        assert!(decision.records.is_empty());
        return Err((error.code, error.message.clone()));
    }
    let mut image = image.clone();
    decision.records.iter().for_each(|record| image.apply(record).unwrap());
    Ok(image.config(resource).cloned().unwrap_or_default())
}

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn operations_set_delete_append_and_subtract() {
    let topic = ConfigResource::topic("t");
    let mut image = image();
    assert_eq!(after(&image, &topic, &[("retention.ms", set("5"))]), Ok(values(&[("retention.ms", "5")])));
    image.apply(&topic.record("retention.ms", Some("5".to_owned()))).unwrap();
    assert_eq!(after(&image, &topic, &[("retention.ms", Operation::Delete)]), Ok(values(&[])));
    // The list starts from the default where nothing is set.
    let append = Operation::Append("delete".to_owned());
    let expected = values(&[("cleanup.policy", "delete"), ("retention.ms", "5")]);
    assert_eq!(after(&image, &topic, &[("cleanup.policy", append)]), Ok(expected));
    let subtract = Operation::Subtract("delete".to_owned());
    let expected = values(&[("cleanup.policy", ""), ("retention.ms", "5")]);
    assert_eq!(after(&image, &topic, &[("cleanup.policy", subtract)]), Ok(expected));
}

#[test]
fn refusals_name_what_is_wrong() {
    let image = image();
    let topic = ConfigResource::topic("t");
    let check = |resource: &ConfigResource, operations: &[(&str, Operation)], code, text: &str| {
        let (found, message) = after(&image, resource, operations).unwrap_err();
        assert_eq!(found, code, "{message}");
        assert!(message.contains(text), "{message}");
    };
    let invalid = ErrorCode::InvalidConfig;
    check(&topic, &[("retention.ms", set("-2"))], invalid, "at least -1");
    check(&topic, &[("nonsense", set("1"))], invalid, "unknown property 'nonsense'");
    check(&topic, &[("retention.ms", Operation::Append("1".to_owned()))], invalid, "is not LIST");
    let twice = [("retention.ms", set("1")), ("retention.ms", set("2"))];
    check(&topic, &twice, invalid, "Duplicate configuration key");
    let unknown = ConfigResource::topic("u");
    check(&unknown, &[("retention.ms", set("1"))], ErrorCode::UnknownTopicOrPartition, "does not exist");
    let broker = ConfigResource::broker(1);
    let request = ErrorCode::InvalidRequest;
    check(&broker, &[("node.id", set("2"))], request, "dynamically: [node.id]");
    check(&broker, &[("log.retention.ms", set("x"))], invalid, "64-bit integer");
    check(&broker, &[("min.insync.replicas", set("2"))], invalid, "Broker-level");
    check(&ConfigResource::broker(9), &[], ErrorCode::BrokerIdNotRegistered, "No broker with id 9");
    let all = ConfigResource::all_brokers();
    check(&all, &[("listeners", set("PLAINTEXT://:1"))], request, "default cluster level");
    let group = ConfigResource { kind: ResourceKind::Group, name: "g".to_owned() };
    check(&group, &[], ErrorCode::InvalidRequest, "not supported yet");
}

#[test]
fn a_new_minimum_isr_forgets_eligible_leaders() {
    let image = image();
    let settings = Settings::own_defaults();
    for (resource, topic_name) in [(ConfigResource::topic("t"), "t"), (ConfigResource::all_brokers(), "")] {
        let wanted = values(&[("min.insync.replicas", "2")]);
        let command = AlterConfigs { resources: vec![(resource, wanted)], validate_only: false };
        let decision = alter(&image, &command, Context { now_ms: 0, settings: &settings });
        let clear = Record::ClearElr(ClearElr { topic_name: topic_name.to_owned() });
        assert_eq!(decision.records.last(), Some(&clear));
    }
}

#[test]
fn alter_configs_replaces_everything_and_validates_without_changing() {
    let topic = ConfigResource::topic("t");
    let mut image = image();
    image.apply(&topic.record("retention.ms", Some("5".to_owned()))).unwrap();
    let settings = Settings::own_defaults();
    let run = |validate_only, resources: Vec<(ConfigResource, Values)>| {
        alter(&image, &AlterConfigs { resources, validate_only }, Context { now_ms: 0, settings: &settings })
    };
    let wanted = || vec![(topic.clone(), values(&[("segment.ms", "7")]))];
    let expected = vec![topic.record("retention.ms", None), topic.record("segment.ms", Some("7".to_owned()))];
    assert_eq!(run(false, wanted()).records, expected);
    assert_eq!(run(true, wanted()).records, []);
    let twice = run(false, [wanted(), wanted()].concat());
    let Reply::AlterConfigs(answers) = twice.reply else { panic!("{:?}", twice.reply) };
    assert!(answers[0].1.is_ok());
    assert_eq!(answers[1].1.as_ref().unwrap_err().code, ErrorCode::InvalidRequest);
}

#[test]
fn values_are_kept_in_one_spelling_and_old_ones_are_left_alone() {
    let topic = ConfigResource::topic("t");
    let mut image = image();
    // As an older version may have stored it.
    image.apply(&topic.record("retention.bytes", Some("007".to_owned()))).unwrap();
    let expected = values(&[("retention.bytes", "007"), ("retention.ms", "5")]);
    assert_eq!(after(&image, &topic, &[("retention.ms", set(" +0005 "))]), Ok(expected));
}

#[test]
fn resources_that_do_not_fit_into_one_entry_are_refused_each_as_a_whole() {
    let settings = Settings::own_defaults();
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
    let resources = (0..count).map(|i| (ConfigResource::topic(&format!("t{i}")), Values::new())).collect();
    let command = AlterConfigs { resources, validate_only: false };
    let decision = alter(&image, &command, Context { now_ms: 0, settings: &settings });
    let Reply::AlterConfigs(answers) = decision.reply else { panic!("{:?}", decision.reply) };
    let accepted = answers.iter().filter(|(_, result)| result.is_ok()).count();
    assert!(accepted > 0 && accepted < answers.len(), "{accepted}");
    assert_eq!(decision.records.len(), 3 * accepted);
    assert!(BatchSize::of(&decision.records).fits());
    let refused = answers.into_iter().filter_map(|(_, result)| result.err());
    assert!(refused.map(|error| error.code).all(|code| code == ErrorCode::PolicyViolation));
}

use super::*;
use crate::metadata::brokers::tests::image_with_brokers;
use crate::metadata::image::Applied;
use crate::metadata::record::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, encode_batch};

fn settings() -> Settings {
    Settings::own_defaults()
}

fn new(name: &str) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        topic_id: Uuid::from_u128(
            name.bytes().fold(7_u128, |sum, byte| sum.wrapping_mul(31).wrapping_add(u128::from(byte))),
        ),
        num_partitions: -1,
        replication_factor: -1,
        ..NewTopic::default()
    }
}

fn decide_create(
    image: &Image,
    topics: Vec<NewTopic>,
    validate_only: bool,
) -> (Vec<Record>, Vec<TopicOutcome>) {
    let settings = settings();
    let command = CreateTopics { topics, validate_only };
    let decision = create(image, &command, Context { now_ms: 0, settings: &settings });
    match decision.reply {
        Reply::CreateTopics(outcomes) => (decision.records, outcomes),
        other => panic!("{other:?}"),
    }
}

fn image_with_topics(brokers: &[i32], names: &[&str]) -> Image {
    let mut image = image_with_brokers(brokers);
    for name in names {
        let (records, outcomes) = decide_create(&image, vec![new(name)], false);
        assert!(outcomes[0].result.is_ok(), "{outcomes:?}");
        image.begin_entry(Applied { index: image.applied().index + 1, term: 1 });
        records.iter().for_each(|record| image.apply(record).unwrap());
    }
    image
}

/// One topic is refused with this code and a message that contains this text.
fn check_refused(image: &Image, topic: NewTopic, code: ErrorCode, text: &str) {
    let (records, outcomes) = decide_create(image, vec![topic.clone()], false);
    let error = outcomes[0].result.as_ref().expect_err(&format!("{topic:?} was created"));
    assert_eq!(error.code, code, "{topic:?}: {error}");
    assert!(error.message.contains(text), "{topic:?}: {error}");
    assert!(records.is_empty());
}

#[test]
fn a_topic_gets_the_defaults_and_its_settings() {
    let image = image_with_brokers(&[1]);
    let mut topic = new("orders");
    topic.configs = vec![("retention.ms".to_owned(), Some("1000".to_owned()))];
    let (records, outcomes) = decide_create(&image, vec![topic.clone()], false);
    let expected = CreatedTopic {
        topic_id: topic.topic_id,
        num_partitions: 1,
        replication_factor: 1,
        configs: [("retention.ms".to_owned(), "1000".to_owned())].into(),
    };
    assert_eq!(outcomes, [TopicOutcome { name: "orders".to_owned(), result: Ok(expected) }]);
    assert_eq!(records.len(), 3);
    let mut after = image.clone();
    records.iter().for_each(|record| after.apply(record).unwrap());
    let partition = after.partition(topic.topic_id, 0).unwrap();
    assert_eq!((partition.leader, &partition.isr, partition.leader_epoch), (Some(1), &vec![1], 0));
    assert_eq!(partition.directories, image.broker(1).unwrap().log_dirs);
    assert_eq!(after.topic_config("orders")["retention.ms"], "1000");
}

#[test]
fn validate_only_answers_the_same_and_changes_nothing() {
    let image = image_with_brokers(&[1]);
    let (records, real) = decide_create(&image, vec![new("a")], false);
    let (none, validated) = decide_create(&image, vec![new("a")], true);
    assert_eq!((real, none.len(), records.len()), (validated, 0, 2));
}

#[test]
fn names_follow_kafkas_rules() {
    let image = image_with_topics(&[1], &["exists", "with.dot"]);
    let long = "x".repeat(250);
    let cases = [
        ("", ErrorCode::InvalidTopicException, "the empty string is not allowed"),
        (".", ErrorCode::InvalidTopicException, "'.' is not allowed"),
        ("..", ErrorCode::InvalidTopicException, "'..' is not allowed"),
        (&long, ErrorCode::InvalidTopicException, "longer than the max allowed length 249"),
        ("spät", ErrorCode::InvalidTopicException, "ASCII alphanumerics"),
        ("a b", ErrorCode::InvalidTopicException, "ASCII alphanumerics"),
        ("__cluster_metadata", ErrorCode::InvalidRequest, "prohibited"),
        ("exists", ErrorCode::TopicAlreadyExists, "Topic 'exists' already exists."),
        ("with_dot", ErrorCode::InvalidTopicException, "collides with existing topic: with.dot"),
    ];
    for (name, code, text) in cases {
        check_refused(&image, new(name), code, text);
    }
    let (_, outcomes) =
        decide_create(&image, vec![new(&"x".repeat(249)), new("with-dot"), new("with")], false);
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
}

#[test]
fn topics_of_one_request_see_each_other() {
    let image = image_with_brokers(&[1]);
    let (records, outcomes) =
        decide_create(&image, vec![new("a"), new("b"), new("a"), new("c.d"), new("c_d")], false);
    let codes: Vec<_> =
        outcomes.iter().map(|o| (o.name.as_str(), o.result.as_ref().err().map(|e| e.code))).collect();
    assert_eq!(
        codes,
        [
            ("a", Some(ErrorCode::InvalidRequest)),
            ("b", None),
            ("c.d", None),
            ("c_d", Some(ErrorCode::InvalidTopicException)),
        ]
    );
    assert_eq!(records.len(), 4);
}

#[test]
fn counts_and_factors_are_checked() {
    let image = image_with_brokers(&[1]);
    let with =
        |num_partitions, replication_factor| NewTopic { num_partitions, replication_factor, ..new("t") };
    check_refused(&image, with(0, 1), ErrorCode::InvalidPartitions, "non-positive");
    check_refused(&image, with(-2, 1), ErrorCode::InvalidPartitions, "non-positive");
    check_refused(&image, with(1, 0), ErrorCode::InvalidReplicationFactor, "larger than 0");
    check_refused(&image, with(1, -2), ErrorCode::InvalidReplicationFactor, "larger than 0");
    check_refused(&image, with(1, 2), ErrorCode::InvalidReplicationFactor, "only 1 broker(s) are registered");
    check_refused(&image, with(i32::MAX, 1), ErrorCode::PolicyViolation, "Excessively large");
}

#[test]
fn manual_assignments_are_checked() {
    let image = image_with_brokers(&[1, 2]);
    let assigned = |assignments: &[(i32, &[i32])]| NewTopic {
        assignments: assignments.iter().map(|(p, brokers)| (*p, brokers.to_vec())).collect(),
        ..new("t")
    };
    let bad = ErrorCode::InvalidReplicaAssignment;
    check_refused(&image, assigned(&[(0, &[])]), bad, "empty replica list");
    check_refused(&image, assigned(&[(0, &[9])]), bad, "includes broker 9, but no such broker");
    check_refused(&image, assigned(&[(0, &[1, 1])]), bad, "the broker 1 more than once");
    check_refused(&image, assigned(&[(0, &[1]), (1, &[1, 2])]), bad, "not consistent");
    check_refused(&image, assigned(&[(0, &[1]), (2, &[1])]), bad, "consecutive 0-based");
    check_refused(&image, assigned(&[(0, &[1]), (0, &[2])]), bad, "multiple manual partition assignments");
    let counted = NewTopic { num_partitions: 1, ..assigned(&[(0, &[1])]) };
    check_refused(&image, counted, ErrorCode::InvalidRequest, "numPartitions was not set to -1");
    let factored = NewTopic { replication_factor: 1, ..assigned(&[(0, &[1])]) };
    check_refused(&image, factored, ErrorCode::InvalidRequest, "replication factor was not set to -1");

    let (records, outcomes) = decide_create(&image, vec![assigned(&[(1, &[1, 2]), (0, &[2, 1])])], false);
    assert!(outcomes[0].result.is_ok());
    let leaders: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Partition(p) => Some((p.partition_id, p.leader, p.isr.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(leaders, [(0, Some(2), vec![2, 1]), (1, Some(1), vec![1, 2])]);
}

#[test]
fn settings_are_checked() {
    let image = image_with_brokers(&[1]);
    let with = |name: &str, value: Option<&str>| NewTopic {
        configs: vec![(name.to_owned(), value.map(str::to_owned))],
        ..new("t")
    };
    let cases = [
        ("retention.ms", None, "Null value not supported"),
        ("retention.ns", Some("1"), "did you mean 'retention.ms'?"),
        ("retention.ms", Some("x"), "64-bit integer"),
        ("segment.bytes", Some("14"), "at least 1048576"),
        ("cleanup.policy", Some("compress"), "one of compact, delete"),
        ("remote.storage.enable", Some("true"), "does not act yet"),
    ];
    for (name, value, text) in cases {
        check_refused(&image, with(name, value), ErrorCode::InvalidConfig, text);
    }
}

#[test]
fn coordinator_topics_get_their_shape_from_the_broker() {
    let mut properties = BTreeMap::new();
    properties.insert("offsets.topic.num.partitions".to_owned(), "3".to_owned());
    properties.insert("offsets.topic.replication.factor".to_owned(), "1".to_owned());
    let settings = Settings::parse(&properties).unwrap();
    let image = image_with_brokers(&[1]);
    let topic = auto_created("__consumer_offsets", Uuid::from_u128(5), &settings, &image);
    let (_, outcomes) = decide_create(&image, vec![topic], false);
    let created = outcomes[0].result.as_ref().unwrap();
    assert_eq!((created.num_partitions, created.replication_factor), (3, 1));
    assert_eq!(created.configs["cleanup.policy"], "compact");
    assert_eq!(auto_created("mine", Uuid::from_u128(5), &settings, &image).num_partitions, -1);
    for (name, prefix) in [
        ("__transaction_state", "transaction.state.log"),
        ("__share_group_state", "share.coordinator.state.topic"),
    ] {
        let values = [
            ("num.partitions", "7"),
            ("replication.factor", "2"),
            ("segment.bytes", "1048577"),
            ("min.isr", "9"),
        ];
        let values = values.map(|(what, value)| (format!("{prefix}.{what}"), value.to_owned()));
        let settings = Settings::parse(&values.into()).unwrap();
        let topic = auto_created(name, Uuid::from_u128(5), &settings, &image);
        assert_eq!((topic.num_partitions, topic.replication_factor), (7, 2), "{name}");
        let has =
            |name: &str, value: &str| topic.configs.contains(&(name.to_owned(), Some(value.to_owned())));
        assert!(has("segment.bytes", "1048577") && has("min.insync.replicas", "9"), "{name}");
    }
}

#[test]
fn committed_offsets_have_three_replicas_but_in_a_node_that_is_the_whole_cluster() {
    let check = |properties: &[(&str, &str)], brokers: &[i32], expected: i16| {
        let map = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = Settings::parse(&map.collect()).unwrap();
        let image = image_with_brokers(brokers);
        let topic = auto_created("__consumer_offsets", Uuid::from_u128(5), &settings, &image);
        assert_eq!(topic.replication_factor, expected, "{properties:?} {brokers:?}");
        let (_, outcomes) = decide_create(&image, vec![topic], false);
        let refused = outcomes[0].result.as_ref().err().map(|error| error.code);
        let is_possible = usize::try_from(expected).unwrap() <= brokers.len();
        assert_eq!(refused, (!is_possible).then_some(ErrorCode::InvalidReplicationFactor));
    };
    check(&[], &[1], 1);
    check(&[("offsets.topic.replication.factor", "3")], &[1], 3);
    // Others have joined a quorum of one.
    check(&[], &[1, 2], 3);
    check(&[("offsets.topic.replication.factor", "2")], &[1, 2], 2);
    check(&[], &[1, 2, 3, 4], 3);
    // The first broker of a cluster that is to have more.
    let broker = [("process.roles", "broker"), ("controller.quorum.voters", "10@localhost:9093")];
    check(&broker, &[1], 3);
    check(&broker, &[1, 2, 3], 3);
}

#[test]
fn deletion_answers_for_each_name_and_id() {
    let image = image_with_topics(&[1], &["a", "b"]);
    let id = |name: &str| image.topic_by_name(name).unwrap().id;
    let settings = settings();
    let context = Context { now_ms: 0, settings: &settings };
    let name = |name: &str| TopicRef::Name(name.to_owned());
    let command = DeleteTopics {
        topics: vec![
            name("a"),
            TopicRef::Id(id("a")),
            name("zzz"),
            TopicRef::Id(Uuid::from_u128(1)),
            TopicRef::Id(id("b")),
        ],
    };
    let decision = delete(&image, &command, context);
    let Reply::DeleteTopics(answers) = decision.reply else { panic!("{:?}", decision.reply) };
    let codes: Vec<_> = answers
        .iter()
        .map(|a| (a.name.as_deref(), a.result.as_ref().err().map(|error| error.code)))
        .collect();
    assert_eq!(
        codes,
        [
            (Some("a"), None),
            (Some("a"), Some(ErrorCode::InvalidRequest)),
            (Some("zzz"), Some(ErrorCode::UnknownTopicOrPartition)),
            (None, Some(ErrorCode::UnknownTopicId)),
            (Some("b"), None),
        ]
    );
    assert_eq!(decision.records.len(), 2);

    let disabled = Settings::parse(&[("delete.topic.enable".to_owned(), "false".to_owned())].into()).unwrap();
    let decision = delete(&image, &command, Context { now_ms: 0, settings: &disabled });
    let Reply::DeleteTopics(answers) = decision.reply else { panic!("{:?}", decision.reply) };
    let all_disabled =
        |a: &DeletedTopic| a.result.as_ref().is_err_and(|e| e.code == ErrorCode::TopicDeletionDisabled);
    assert!(decision.records.is_empty() && answers.iter().all(all_disabled));
}

#[test]
fn topic_that_stands_twice_is_not_deleted() {
    let image = image_with_topics(&[1], &["a", "b"]);
    let id = TopicRef::Id(image.topic_by_name("b").unwrap().id);
    let name = TopicRef::Name("a".to_owned());
    let topics = vec![name.clone(), id.clone(), name, id];
    let settings = settings();
    let decision = delete(&image, &DeleteTopics { topics }, Context { now_ms: 0, settings: &settings });
    let Reply::DeleteTopics(answers) = decision.reply else { panic!("{:?}", decision.reply) };
    let codes = answers.iter().map(|answer| answer.result.as_ref().map_err(|error| error.code));
    assert_eq!(codes.collect::<Vec<_>>(), [Err(ErrorCode::InvalidRequest); 2]);
    assert!(decision.records.is_empty());
}

#[test]
fn topics_grow_and_never_shrink() {
    let image = image_with_topics(&[1, 2], &["t"]);
    let check = |count, assignments: Option<Vec<Vec<i32>>>, expected: Result<usize, (ErrorCode, &str)>| {
        let more = MorePartitions { name: "t".to_owned(), count, assignments };
        let command = CreatePartitions { topics: vec![more], validate_only: false };
        let decision = create_partitions(&image, &command);
        let Reply::CreatePartitions(answers) = decision.reply else { panic!("{:?}", decision.reply) };
        match (&answers[0].result, expected) {
            (Ok(()), Ok(records)) => assert_eq!(decision.records.len(), records),
            (Err(error), Err((code, text))) => {
                assert_eq!(error.code, code);
                assert!(error.message.contains(text), "{error}");
            }
            (result, expected) => panic!("{result:?} instead of {expected:?}"),
        }
    };
    check(3, None, Ok(2));
    check(2, Some(vec![vec![2]]), Ok(1));
    check(1, None, Err((ErrorCode::InvalidPartitions, "already has 1 partition(s)")));
    check(0, None, Err((ErrorCode::InvalidPartitions, "would not be an increase")));
    check(i32::MAX, None, Err((ErrorCode::PolicyViolation, "Excessively large")));
    check(3, Some(vec![vec![2]]), Err((ErrorCode::InvalidReplicaAssignment, "only 1 assignment(s)")));
    check(2, Some(vec![vec![1, 2]]), Err((ErrorCode::InvalidReplicaAssignment, "not consistent")));
}

#[test]
fn one_command_fills_at_most_one_entry() {
    let image = image_with_brokers(&[1]);
    let sized = |name: &str, num_partitions| NewTopic { num_partitions, ..new(name) };
    let largest = BATCH_RECORDS_MAX as i32 - 1;
    let (records, outcomes) = decide_create(&image, vec![sized("a", largest), sized("b", 1)], false);
    assert_eq!(records.len(), BATCH_RECORDS_MAX);
    assert!(outcomes[0].result.is_ok());
    assert_eq!(outcomes[1].result.as_ref().unwrap_err().code, ErrorCode::PolicyViolation);
    check_refused(&image, sized("a", largest + 1), ErrorCode::PolicyViolation, "Excessively large");
}

/// Numbers may be padded without end and still be numbers.
#[test]
fn what_is_kept_of_a_setting_is_one_short_spelling() {
    let image = image_with_brokers(&[1]);
    let mut topic = new("padded");
    let padded = |text: &str| Some(format!("{}{text}", "0".repeat(30_000)));
    topic.configs = vec![
        ("retention.ms".to_owned(), padded("5")),
        ("segment.bytes".to_owned(), padded("1048576")),
        ("preallocate".to_owned(), Some(" TRUE ".to_owned())),
        ("cleanup.policy".to_owned(), Some(" delete , delete".to_owned())),
    ];
    let (_, outcomes) = decide_create(&image, vec![topic], false);
    let kept = outcomes[0].result.as_ref().expect("created").configs.values().cloned().collect::<Vec<_>>();
    assert_eq!(kept, ["delete", "true", "5", "1048576"]);
    let mut long = new("long");
    long.configs = vec![("retention.ms".to_owned(), Some(" ".repeat(10) + &"0".repeat(40_000)))];
    check_refused(&image, long, ErrorCode::InvalidConfig, "retention.ms");
}

/// The coordinators' topics take any setting, so only the size of the whole stops this one.
#[test]
fn a_topic_that_does_not_fit_into_an_entry_is_refused_as_a_whole() {
    let image = image_with_brokers(&[1]);
    let large = |name: &str, count: usize| {
        let configs = (0..count).map(|i| (format!("{i}"), Some("x".repeat(30_000)))).collect();
        NewTopic { configs, ..new(name) }
    };
    let topics = vec![large("__consumer_offsets", 60), large("__transaction_state", 60), new("small")];
    let (records, outcomes) = decide_create(&image, topics, false);
    let codes = outcomes.iter().map(|o| o.result.as_ref().err().map(|error| error.code)).collect::<Vec<_>>();
    assert_eq!(codes, [None, Some(ErrorCode::PolicyViolation), None]);
    let bytes = encode_batch(&records).len();
    assert!(bytes <= BATCH_BYTES_MAX, "{bytes} <= {BATCH_BYTES_MAX}");
    check_refused(
        &image,
        large("__consumer_offsets", 3_000),
        ErrorCode::PolicyViolation,
        "Excessively large",
    );
}

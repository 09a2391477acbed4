//! Levels of loggers act on the lines of the program from the answer on (KIP-412).

use std::net::TcpStream;

use milena_protocol::ErrorCode;
use milena_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use milena_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use milena_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;

use crate::harness::{ask, connect, create_topic};
use crate::program::Process;

const BROKER_LOGGER: i8 = 8;
const SET: i8 = 0;
const DELETE: i8 = 1;

fn alter(stream: &mut TcpStream, changes: &[(&'static str, i8, Option<&'static str>)]) -> i16 {
    let configs = changes.iter().map(|(name, config_operation, value)| AlterableConfig {
        name: (*name).into(),
        config_operation: *config_operation,
        value: value.map(Into::into),
    });
    let resource = AlterConfigsResource {
        resource_type: BROKER_LOGGER,
        resource_name: "1".into(),
        configs: configs.collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    ask(stream, 1, &request).responses[0].error_code
}

fn levels(stream: &mut TcpStream) -> Vec<(String, String)> {
    let resource = DescribeConfigsResource {
        resource_type: BROKER_LOGGER,
        resource_name: "1".into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let described = ask(stream, 4, &request);
    let configs = described.results[0].configs.iter();
    configs
        .map(|config| (config.name.to_string(), config.value.as_deref().unwrap_or("").to_owned()))
        .collect()
}

fn delete_topic(stream: &mut TcpStream, name: &'static str) {
    let topics = vec![DeleteTopicState { name: Some(name.into()), ..Default::default() }];
    let request = DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() };
    assert_eq!(ask(stream, 6, &request).responses[0].error_code, 0, "{name}");
}

#[test]
fn levels_act_at_once_and_are_forgotten_by_a_restart() {
    let data = tempfile::tempdir().expect("a directory");
    let mut process = Process::start(data.path());
    let stream = &mut connect(process.address());
    let at_start = levels(stream);
    assert!(at_start.contains(&("root".to_owned(), "INFO".to_owned())), "{at_start:?}");
    for name in ["told", "silent", "told-again"] {
        create_topic(stream, name, 1);
    }
    delete_topic(stream, "told");
    // One wrong change of two: neither acts.
    let half = [("milena_broker.metadata", SET, Some("FATAL")), ("no.such", SET, Some("INFO"))];
    assert_eq!(alter(stream, &half), i16::from(ErrorCode::InvalidConfig));
    assert_eq!(levels(stream), at_start);
    assert_eq!(alter(stream, &[("milena_broker.metadata", SET, Some("WARN"))]), 0);
    delete_topic(stream, "silent");
    assert_eq!(alter(stream, &[("milena_broker.metadata", DELETE, None)]), 0);
    delete_topic(stream, "told-again");
    assert_eq!(levels(stream), at_start);
    assert_eq!(alter(stream, &[("root", SET, Some("FATAL"))]), 0);
    let (code, log) = process.stop_by("-TERM");
    assert_eq!(code, Some(0), "{log}");
    let deleted: Vec<_> = log.lines().filter(|line| line.contains("topic deleted")).collect();
    assert_eq!(deleted.len(), 2, "{log}");
    assert!(deleted[0].contains("topic=told ") && deleted[1].contains("topic=told-again "), "{log}");
    assert!(!log.contains("stopping"), "root was silent at the end: {log}");

    let mut process = Process::start(data.path());
    assert_eq!(levels(&mut connect(process.address())), at_start);
}

#[test]
fn loggers_of_every_broker_are_listed() {
    let data = tempfile::tempdir().expect("a directory");
    let mut process = Process::start(data.path());
    let request = ListConfigResourcesRequest { resource_types: vec![BROKER_LOGGER] };
    let listed = ask(&mut connect(process.address()), 1, &request).config_resources;
    assert_eq!(listed.len(), 1);
    assert_eq!((&*listed[0].resource_name, listed[0].resource_type), ("1", BROKER_LOGGER));
}

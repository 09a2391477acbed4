//! Names as long as a string may be, in versions whose strings hold no more: the answer, which repeats them, still leaves.

use milena_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use crate::harness::{Running, ask, creation};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
/// What the length of a string holds before the flexible versions.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

fn long() -> String {
    "x".repeat(STRING_BYTES_MAX)
}

#[test]
fn resources_of_any_name_are_refused_with_an_answer() {
    let server = Running::start();
    let stream = &mut server.connect();
    for resource_type in [TOPIC, BROKER, BROKER_LOGGER] {
        let resource =
            DescribeConfigsResource { resource_type, resource_name: long().into(), configuration_keys: None };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        assert_ne!(ask(stream, 1, &request).results[0].error_code, 0, "{resource_type}");
    }
}

#[test]
fn properties_and_values_of_any_length_are_refused_with_an_answer() {
    let server = Running::start();
    let stream = &mut server.connect();
    for (resource_type, resource_name, name, value) in [
        (BROKER_LOGGER, "1".to_owned(), long(), "INFO".to_owned()),
        (BROKER_LOGGER, "1".to_owned(), "root".to_owned(), long()),
        (BROKER, "1".to_owned(), long(), "1".to_owned()),
        (BROKER, "1".to_owned(), "log.retention.ms".to_owned(), long()),
        (TOPIC, long(), "retention.ms".to_owned(), "1".to_owned()),
    ] {
        let config = AlterableConfig { name: name.into(), config_operation: 0, value: Some(value.into()) };
        let resource = AlterConfigsResource {
            resource_type,
            resource_name: resource_name.into(),
            configs: vec![config],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        assert_ne!(ask(stream, 0, &request).responses[0].error_code, 0, "{resource_type}");
    }
}

#[test]
fn topics_of_any_name_are_refused_with_an_answer() {
    let server = Running::start();
    let stream = &mut server.connect();
    assert_ne!(ask(stream, 4, &creation(&long(), 1)).topics[0].error_code, 0);
}

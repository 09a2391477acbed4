//! A broker that is no controller is asked, by a client on a socket of this machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_client::connection::{Connection, Options};
use milena_client::net::{Dialer, Tcp};
use milena_protocol::messages::alter_configs_request as replaced;
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use milena_protocol::{ApiKey, Request};
use milena_state::config::broker::Settings;

use super::*;
use crate::api::find;
use crate::broker::Broker;

const TOPIC: i8 = 2;
const LOGGER: i8 = 8;
const SET: i8 = 0;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(data: &tempfile::TempDir, node_id: i32, properties: &[(&str, &str)]) -> Broker {
    let (node_id, directory) = (node_id.to_string(), data.path().join(node_id.to_string()));
    let all = [
        ("node.id", &*node_id),
        ("controller.listener.names", "CONTROLLER"),
        ("milena.http.listener", "127.0.0.1:0"),
        ("num.network.threads", "1"),
        ("log.dirs", directory.to_str().expect("a plain path")),
    ];
    let all = all.iter().chain(properties).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = Settings::parse(&all.collect::<BTreeMap<_, _>>()).expect("valid settings");
    Broker::start(settings).expect("it starts")
}

fn resource<'a>(
    resource_type: i8,
    name: &'a str,
    config: &'a str,
    value: &'a str,
) -> AlterConfigsResource<'a> {
    let config = AlterableConfig { name: config.into(), config_operation: SET, value: Some(value.into()) };
    AlterConfigsResource { resource_type, resource_name: name.into(), configs: vec![config] }
}

async fn ask(connection: &Connection, resources: Vec<AlterConfigsResource<'_>>) -> Vec<(String, ErrorCode)> {
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    let response = connection.call(&request).await.expect("answered");
    let response = response.decode::<IncrementalAlterConfigsRequest<'_>>().expect("sound");
    let outcome = |one: &AlterConfigsResourceResponse<'_>| {
        (one.resource_name.to_string(), ErrorCode::from_i16(one.error_code).expect("known"))
    };
    response.responses.iter().map(outcome).collect()
}

async fn create_topic(connection: &Connection) {
    let topic = CreatableTopic {
        name: "events".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let timeout_ms = i32::try_from(PATIENCE.as_millis()).expect("a short time");
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms, validate_only: false };
    let response = connection.call(&request).await.expect("answered");
    let response = response.decode::<CreateTopicsRequest<'_>>().expect("sound");
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
}

#[test]
fn a_broker_changes_its_loggers_and_has_the_controller_change_the_rest() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let controller = start(&data, 1, &[("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0")]);
    let reached = &controller.node().settings.advertised_controllers[0];
    let reached = format!("{}:{}", reached.host, reached.port);
    let broker = start(
        &data,
        2,
        &[
            ("process.roles", "broker"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("controller.quorum.bootstrap.servers", &reached),
        ],
    );
    let address = broker.address().to_string();
    broker.background().block_on(async {
        let options = Options {
            client_id: "test".to_owned(),
            connect_timeout: PATIENCE,
            request_timeout: PATIENCE,
            response_bytes_max: 1 << 20,
        };
        let dialer: Dialer = Arc::new(Tcp);
        let connection = Connection::open(&dialer, &address, options).await.expect("opens");
        create_topic(&connection).await;
        let outcomes = ask(
            &connection,
            vec![
                resource(TOPIC, "events", "retention.ms", "1000"),
                resource(LOGGER, "2", "milena_log", "ERROR"),
                resource(LOGGER, "1", "milena_log", "ERROR"),
                resource(TOPIC, "absent", "retention.ms", "1000"),
            ],
        );
        let expected = [
            ("events", ErrorCode::None),
            ("2", ErrorCode::None),
            ("1", ErrorCode::InvalidRequest),
            ("absent", ErrorCode::UnknownTopicOrPartition),
        ];
        assert_eq!(outcomes.await, expected.map(|(name, code)| (name.to_owned(), code)));
        let value = || {
            let image = broker.node().metadata.image();
            image.topic_config("events").get("retention.ms").cloned()
        };
        assert_eq!(value().as_deref(), Some("1000"), "it acts on what it has answered");
        let outcomes = ask(&connection, vec![resource(TOPIC, "events", "retention.ms", "2000")]).await;
        assert_eq!(outcomes, [("events".to_owned(), ErrorCode::None)]);
        assert_eq!(value().as_deref(), Some("2000"));
        replace(&connection).await;
        assert_eq!(value(), None);
    });
    broker.stop();
    controller.stop();
}

/// AlterConfigs, which takes back what it does not name.
async fn replace(connection: &Connection) {
    let config = replaced::AlterableConfig { name: "cleanup.policy".into(), value: Some("compact".into()) };
    let resource = replaced::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: "events".into(),
        configs: vec![config],
    };
    let request = replaced::AlterConfigsRequest { resources: vec![resource], validate_only: false };
    let response = connection.call(&request).await.expect("answered");
    let response = response.decode::<replaced::AlterConfigsRequest<'_>>().expect("sound");
    assert_eq!(response.responses[0].error_code, 0, "{response:?}");
}

#[test]
fn what_changes_metadata_is_passed_on_the_common_way() {
    for api in [ApiKey::AlterConfigs, IncrementalAlterConfigsRequest::API] {
        assert!(find(api.as_i16()).is_some_and(|route| route.forwards), "{api}");
    }
}

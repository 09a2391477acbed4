//! Properties that would not act: each value but the default is refused, by name.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_state::config::broker::{self, Settings};
use milena_state::config::definition::{Acts, Definition, Kind, Valid};
use milena_state::config::topic;

use crate::alter_configs::{BROKER, TOPIC, answer};
use crate::node::Node;

/// Names of one reason, between blanks.
pub struct Refused {
    pub reason: &'static str,
    pub names: &'static str,
}

/// Of topics.
pub const TOPICS: &[Refused] = &[
    Refused { reason: "lz4 has one compressor", names: "compression.lz4.level" },
    Refused {
        reason: "there is no tiered storage",
        names: "\
            local.retention.bytes local.retention.ms remote.log.copy.disable remote.log.delete.on.disable \
            remote.storage.enable",
    },
];

/// Of brokers.
pub const BROKERS: &[Refused] = &[
    Refused {
        reason: "transactions are not served",
        names: "\
            add.partitions.to.txn.retry.backoff.max.ms add.partitions.to.txn.retry.backoff.ms \
            transaction.abort.timed.out.transaction.cleanup.interval.ms transaction.max.timeout.ms \
            transaction.partition.verification.enable transaction.remove.expired.transaction.cleanup.interval.ms \
            transaction.state.log.load.buffer.size transaction.two.phase.commit.enable \
            transactional.id.expiration.ms",
    },
    Refused {
        reason: "TLS is not served",
        names: "\
            ssl.allow.dn.changes ssl.allow.san.changes ssl.cipher.suites ssl.client.auth ssl.enabled.protocols \
            ssl.endpoint.identification.algorithm ssl.engine.factory.class ssl.key.password \
            ssl.keymanager.algorithm ssl.keystore.certificate.chain ssl.keystore.key ssl.keystore.location \
            ssl.keystore.password ssl.keystore.type ssl.principal.mapping.rules ssl.protocol ssl.provider \
            ssl.secure.random.implementation ssl.trustmanager.algorithm ssl.truststore.certificates \
            ssl.truststore.location ssl.truststore.password ssl.truststore.type",
    },
    Refused {
        reason: "SASL and delegation tokens are not served",
        names: "\
            connection.failed.authentication.delay.ms connections.max.reauth.ms \
            delegation.token.expiry.check.interval.ms delegation.token.expiry.time.ms \
            delegation.token.max.lifetime.ms delegation.token.secret.key sasl.client.callback.handler.class \
            sasl.enabled.mechanisms sasl.jaas.config sasl.kerberos.kinit.cmd \
            sasl.kerberos.min.time.before.relogin sasl.kerberos.principal.to.local.rules \
            sasl.kerberos.service.name sasl.kerberos.ticket.renew.jitter \
            sasl.kerberos.ticket.renew.window.factor sasl.login.callback.handler.class sasl.login.class \
            sasl.login.connect.timeout.ms sasl.login.read.timeout.ms sasl.login.refresh.buffer.seconds \
            sasl.login.refresh.min.period.seconds sasl.login.refresh.window.factor \
            sasl.login.refresh.window.jitter sasl.login.retry.backoff.max.ms sasl.login.retry.backoff.ms \
            sasl.mechanism.controller.protocol sasl.mechanism.inter.broker.protocol \
            sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud \
            sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.iss \
            sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.nbf.seconds \
            sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file \
            sasl.oauthbearer.assertion.private.key.file sasl.oauthbearer.assertion.private.key.passphrase \
            sasl.oauthbearer.assertion.template.file sasl.oauthbearer.client.credentials.client.id \
            sasl.oauthbearer.client.credentials.client.secret sasl.oauthbearer.clock.skew.seconds \
            sasl.oauthbearer.expected.audience sasl.oauthbearer.expected.issuer \
            sasl.oauthbearer.jwks.endpoint.refresh.ms sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms \
            sasl.oauthbearer.jwks.endpoint.retry.backoff.ms sasl.oauthbearer.jwks.endpoint.url \
            sasl.oauthbearer.jwt.retriever.class sasl.oauthbearer.jwt.validator.class sasl.oauthbearer.scope \
            sasl.oauthbearer.scope.claim.name sasl.oauthbearer.sub.claim.name \
            sasl.oauthbearer.token.endpoint.url sasl.server.callback.handler.class sasl.server.max.receive.size",
    },
    Refused {
        reason: "nobody is authenticated or authorised",
        names: "authorizer.class.name principal.builder.class security.providers",
    },
    Refused {
        reason: "there is no tiered storage",
        names: "\
            follower.fetch.last.tiered.offset.enable log.local.retention.bytes log.local.retention.ms \
            remote.fetch.max.wait.ms remote.list.offsets.request.timeout.ms \
            remote.log.index.file.cache.total.size.bytes remote.log.manager.copier.thread.pool.size \
            remote.log.manager.copy.max.bytes.per.second remote.log.manager.copy.quota.window.num \
            remote.log.manager.copy.quota.window.size.seconds remote.log.manager.expiration.thread.pool.size \
            remote.log.manager.fetch.max.bytes.per.second remote.log.manager.fetch.quota.window.num \
            remote.log.manager.fetch.quota.window.size.seconds remote.log.manager.follower.thread.pool.size \
            remote.log.manager.task.interval.ms remote.log.manager.thread.pool.size \
            remote.log.metadata.custom.metadata.max.bytes remote.log.metadata.manager.class.name \
            remote.log.metadata.manager.class.path remote.log.metadata.manager.impl.prefix \
            remote.log.metadata.manager.listener.name remote.log.reader.max.pending.tasks \
            remote.log.reader.threads remote.log.storage.manager.class.name \
            remote.log.storage.manager.class.path remote.log.storage.manager.impl.prefix \
            remote.log.storage.system.enable",
    },
    Refused {
        reason: "sockets of followers are as the system makes them",
        names: "replica.socket.receive.buffer.bytes",
    },
    Refused {
        reason: "the quorum has times and bounds of its own (ADR 1), and leaderships are always handed over",
        names: "\
            controlled.shutdown.enable controller.quorum.append.linger.ms \
            controller.quorum.election.backoff.max.ms \
            controller.quorum.election.timeout.ms controller.quorum.fetch.max.bytes \
            controller.quorum.fetch.snapshot.max.bytes controller.quorum.fetch.timeout.ms \
            controller.quorum.request.timeout.ms controller.quorum.retry.backoff.ms controller.socket.timeout.ms",
    },
    Refused {
        reason: "the metadata log has bounds of its own",
        names: "\
            metadata.log.segment.bytes metadata.log.segment.ms metadata.max.idle.interval.ms \
            metadata.max.retention.bytes metadata.max.retention.ms",
    },
    Refused {
        reason: "there are no Java classes, nor metrics of their kind",
        names: "\
            alter.config.policy.class.name create.topic.policy.class.name client.quota.callback.class \
            config.providers kafka.metrics.polling.interval.secs kafka.metrics.reporters metric.reporters \
            metrics.num.samples metrics.recording.level metrics.sample.window.ms",
    },
    Refused {
        reason: "no node is connected to another",
        names: "request.timeout.ms socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms",
    },
    Refused {
        reason: "no authorizer is waited for and no client asked for its metrics",
        names: "early.start.listeners telemetry.max.bytes",
    },
    Refused {
        reason: "groups of the consumer, share and streams protocols are not served",
        names: "\
            group.consumer.assignment.interval.ms group.consumer.assignors group.consumer.heartbeat.interval.ms \
            group.consumer.max.assignment.interval.ms group.consumer.max.heartbeat.interval.ms \
            group.consumer.max.session.timeout.ms group.consumer.max.size group.consumer.migration.policy \
            group.consumer.min.assignment.interval.ms group.consumer.min.heartbeat.interval.ms \
            group.consumer.min.session.timeout.ms group.consumer.session.timeout.ms \
            group.share.assignment.interval.ms group.share.assignors group.share.delivery.count.limit \
            group.share.heartbeat.interval.ms group.share.max.assignment.interval.ms \
            group.share.max.delivery.count.limit group.share.max.heartbeat.interval.ms \
            group.share.max.partition.max.record.locks group.share.max.record.lock.duration.ms \
            group.share.max.session.timeout.ms group.share.max.share.sessions group.share.max.size \
            group.share.min.assignment.interval.ms group.share.min.delivery.count.limit \
            group.share.min.heartbeat.interval.ms group.share.min.partition.max.record.locks \
            group.share.min.record.lock.duration.ms group.share.min.session.timeout.ms \
            group.share.partition.max.record.locks group.share.record.lock.duration.ms \
            group.share.session.timeout.ms group.streams.assignment.interval.ms \
            group.streams.heartbeat.interval.ms group.streams.initial.rebalance.delay.ms \
            group.streams.max.assignment.interval.ms group.streams.max.heartbeat.interval.ms \
            group.streams.max.session.timeout.ms group.streams.max.size group.streams.max.standby.replicas \
            group.streams.min.assignment.interval.ms group.streams.min.heartbeat.interval.ms \
            group.streams.min.session.timeout.ms group.streams.num.standby.replicas \
            group.streams.session.timeout.ms share.coordinator.append.linger.ms \
            share.coordinator.cached.buffer.max.bytes share.coordinator.load.buffer.size \
            share.coordinator.snapshot.update.records.per.snapshot \
            share.coordinator.state.topic.compression.codec share.coordinator.threads \
            share.coordinator.write.timeout.ms",
    },
    Refused {
        reason: "a coordinator writes at once and on the reactors",
        names: "\
            group.coordinator.append.linger.ms group.coordinator.background.threads \
            group.coordinator.cached.buffer.max.bytes group.coordinator.rebalance.protocols \
            group.coordinator.threads",
    },
    Refused { reason: "lz4 has one compressor", names: "compression.lz4.level" },
    Refused {
        reason: "a directory takes what comes, and failed ones are told of at once",
        names: "cordoned.log.dirs log.dir.failure.timeout.ms",
    },
];

#[test]
fn what_would_not_act_on_a_topic_is_refused_by_name() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    for name in names(TOPICS) {
        let row = topic::definition(name).expect(name);
        let (code, message) = answer(&node, (TOPIC, "t"), name, Some(&other_than_default(row)));
        check(name, code, ErrorCode::InvalidConfig, &message);
        assert_eq!(node.try_create("u", 1, &[(name, &other_than_default(row))]), ErrorCode::InvalidConfig);
    }
}

#[test]
fn what_would_not_act_on_a_broker_is_refused_by_name() {
    let node = Node::start(&[]);
    for name in names(BROKERS) {
        let row = broker::definition(name).expect(name);
        let value = other_than_default(row);
        let in_file = BTreeMap::from([(name.to_owned(), value.clone())]);
        let error = Settings::parse(&in_file).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains("does not act yet"), "{name}: {error}");
        if broker::is_dynamic(row) {
            let (code, message) = answer(&node, (BROKER, "1"), name, Some(&value));
            check(name, code, ErrorCode::InvalidRequest, &message);
        }
    }
}

pub fn names(refused: &'static [Refused]) -> impl Iterator<Item = &'static str> {
    refused.iter().flat_map(|refused| {
        assert!(!refused.reason.is_empty());
        refused.names.split_whitespace()
    })
}

fn check(name: &str, code: ErrorCode, expected: ErrorCode, message: &str) {
    assert_eq!(code, expected, "{name}: {message}");
    assert!(message.contains(name) && message.contains("does not act yet"), "{name}: {message}");
}

/// A value that would be valid if the property acted.
pub fn other_than_default(row: &Definition) -> String {
    let numbers = ["1", "2", "3", "5", "100", "2001", "30001", "600000", "1048577", "8388609", "0", "200"]
        .map(str::to_owned);
    let values: Vec<String> = match (row.kind, row.valid) {
        (Kind::Boolean, _) => vec!["true".to_owned(), "false".to_owned()],
        (_, Valid::OneOf(names) | Valid::OneOfIgnoreCase(names) | Valid::Elements(names)) => {
            names.iter().map(|name| (*name).to_owned()).collect()
        }
        (_, Valid::ThrottledReplicas) => vec!["*".to_owned()],
        (Kind::Short | Kind::Int | Kind::Long, _) => numbers.to_vec(),
        (Kind::Double, _) => vec!["0.25".to_owned()],
        _ => vec!["other".to_owned()],
    };
    let acting = Definition { acts: Acts::Yes, ..*row };
    let is_other = |value: &String| {
        let default = row.default.unwrap_or_default();
        !value.eq_ignore_ascii_case(default) && acting.check(value).is_ok()
    };
    values.into_iter().find(is_other).unwrap_or_else(|| panic!("{} has no other value", row.name))
}

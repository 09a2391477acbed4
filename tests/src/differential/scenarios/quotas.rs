//! Quotas: set, described by every filter, refused; all are removed again, so that nobody is slowed down.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use crate::script::{Script, versions};

pub fn all() -> Vec<Script> {
    vec![refused(), described()]
}

/// Kinds and names; no name is the default.
type Entity = &'static [(&'static str, Option<&'static str>)];

fn alter(entity: Entity, key: &str, value: Value, only: bool) -> Value {
    let remove = value.is_null();
    let entity: Vec<Value> =
        entity.iter().map(|(kind, name)| json!({"EntityType": kind, "EntityName": name})).collect();
    let value = if remove { json!(0) } else { value };
    let op = json!({"Key": key, "Value": value, "Remove": remove});
    json!({"Entries": [{"Entity": entity, "Ops": [op]}], "ValidateOnly": only})
}

const CLIENT: Entity = &[("client-id", Some("quota-client"))];

fn refused() -> Script {
    let mut s = Script::new("quotas/refused");
    for (step, key, value) in [
        ("unknown key", "nonsense", json!(1)),
        ("no key", "", json!(1)),
        ("zero", "producer_byte_rate", json!(0)),
        ("negative", "producer_byte_rate", json!(-1)),
        ("a fraction of a byte", "producer_byte_rate", json!(1.5)),
        ("not a number", "producer_byte_rate", json!("NaN")),
        ("without end", "producer_byte_rate", json!("inf")),
        ("above a long", "consumer_byte_rate", json!(1e19)),
        ("percentage", "request_percentage", json!(12.5)),
        ("negative percentage", "request_percentage", json!(-0.5)),
        ("mutations", "controller_mutation_rate", json!(0.5)),
        ("a property of addresses", "connection_creation_rate", json!(5)),
        ("removal of an unknown key", "nonsense", json!(null)),
        ("removal of what is not there", "producer_byte_rate", json!(null)),
    ] {
        s.each(step, ApiKey::AlterClientQuotas, &alter(CLIENT, key, value, true));
    }
    let entities: &[(&str, Entity)] = &[
        ("nobody", &[]),
        ("unknown kind", &[("nonsense", Some("x"))]),
        ("empty name", &[("client-id", Some(""))]),
        ("default client", &[("client-id", None)]),
        ("user", &[("user", Some("u"))]),
        ("user and client", &[("user", Some("u")), ("client-id", Some("c"))]),
        ("kind twice", &[("client-id", Some("a")), ("client-id", Some("b"))]),
        ("address", &[("ip", Some("127.0.0.9"))]),
        ("no address", &[("ip", Some("not an address"))]),
        ("address and client", &[("ip", Some("127.0.0.9")), ("client-id", Some("c"))]),
    ];
    for (step, entity) in entities {
        s.each(step, ApiKey::AlterClientQuotas, &alter(entity, "producer_byte_rate", json!(1000), true));
        s.each(
            &format!("{step}, rate of connections"),
            ApiKey::AlterClientQuotas,
            &alter(entity, "connection_creation_rate", json!(5), true),
        );
    }
    s.each("nothing", ApiKey::AlterClientQuotas, &json!({}));
    s
}

fn described() -> Script {
    let mut s = Script::new("quotas/described");
    for version in versions(ApiKey::AlterClientQuotas) {
        s.call(
            "set",
            ApiKey::AlterClientQuotas,
            version,
            alter(CLIENT, "producer_byte_rate", json!(1_000_000), false),
        );
        s.call(
            "set more",
            ApiKey::AlterClientQuotas,
            version,
            alter(CLIENT, "request_percentage", json!(50.5), false),
        );
        s.call(
            "default",
            ApiKey::AlterClientQuotas,
            version,
            alter(&[("client-id", None)], "consumer_byte_rate", json!(9e9), false),
        );
        for (step, kind, how, name) in [
            ("exact", "client-id", 0, json!("quota-client")),
            ("exact, unknown", "client-id", 0, json!("unknown")),
            ("exact, no name", "client-id", 0, json!(null)),
            ("the default", "client-id", 1, json!(null)),
            ("the default, with a name", "client-id", 1, json!("x")),
            ("any", "client-id", 2, json!(null)),
            ("any, with a name", "client-id", 2, json!("x")),
            ("users", "user", 2, json!(null)),
            ("addresses", "ip", 2, json!(null)),
            ("unknown kind", "nonsense", 2, json!(null)),
            ("no kind", "", 2, json!(null)),
            ("unknown match", "client-id", 9, json!(null)),
            ("negative match", "client-id", -1, json!(null)),
        ] {
            let component = json!({"EntityType": kind, "MatchType": how, "Match": name});
            for strict in [false, true] {
                let body = json!({"Components": [component], "Strict": strict});
                s.call(&format!("{step}, strict {strict}"), ApiKey::DescribeClientQuotas, version, body);
            }
            let twice = json!({"Components": [component, component]});
            s.call(&format!("{step}, twice"), ApiKey::DescribeClientQuotas, version, twice);
        }
        s.call("everything", ApiKey::DescribeClientQuotas, version, json!({}));
        s.call("everything, strictly", ApiKey::DescribeClientQuotas, version, json!({"Strict": true}));
        for (entity, key) in [
            (CLIENT, "producer_byte_rate"),
            (CLIENT, "request_percentage"),
            (&[("client-id", None)][..], "consumer_byte_rate"),
        ] {
            s.call("removed", ApiKey::AlterClientQuotas, version, alter(entity, key, json!(null), false));
        }
        s.call("nothing left", ApiKey::DescribeClientQuotas, version, json!({}));
    }
    s
}

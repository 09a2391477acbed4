//! Requests whose fields were drawn: values at the edges, null where the schema allows it.
//!
//! The same seed draws the same request, so a difference found once is found again. Only APIs that change
//! nothing, or are asked to check only, are drawn for.

use milena_protocol::ApiKey;
use serde_json::{Map, Value, json};

use crate::catalogue::Catalogue;
use crate::schema::{Field, Message, Type};
use crate::script::{Script, versions};

const SEEDS: u64 = 6;
const ASKED: &[ApiKey] = &[
    ApiKey::ListOffsets,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::DescribeTopicPartitions,
    ApiKey::DescribeQuorum,
    ApiKey::DeleteRecords,
    ApiKey::CreateTopics,
    ApiKey::CreatePartitions,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterConfigs,
];

pub fn all() -> Vec<Script> {
    let catalogue = Catalogue::read();
    ASKED.iter().map(|api| drawn(&catalogue, *api)).collect()
}

fn drawn(catalogue: &Catalogue, api: ApiKey) -> Script {
    let mut s = Script::new(&format!("random/{api}"));
    let message = catalogue.request(api);
    for version in versions(api) {
        for seed in 0..SEEDS {
            let mut draw = Draw { state: (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version as u64 };
            let mut body = draw.structure(message, &message.name, version);
            for field in ["ValidateOnly", "validateOnly"] {
                if body.get(field).is_some() {
                    body[field] = json!(true);
                }
            }
            if api == ApiKey::DescribeLogDirs && body["Topics"].is_null() {
                // That asks for everything, which every other scenario changes.
                body["Topics"] = json!([]);
            }
            if let Some(level) = body.get("IsolationLevel").and_then(Value::as_i64) {
                // An unknown one hides all the rest: Apache Kafka refuses the request as a whole.
                body["IsolationLevel"] = json!(level.rem_euclid(2));
            }
            for field in ["TimeoutMs", "timeoutMs"] {
                if body.get(field).is_some() {
                    body[field] = json!(5000);
                }
            }
            s.call(&format!("seed {seed}, version {version}"), api, version, body);
        }
    }
    s
}

struct Draw {
    state: u64,
}

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % bound
    }

    fn structure(&mut self, message: &Message, name: &str, version: i16) -> Value {
        let fields = &message.struct_named(name).fields;
        let present = fields.iter().filter(|field| field.versions.contains(version));
        let mut out = Map::new();
        for field in present {
            out.insert(field.name.clone(), self.field(message, field, version));
        }
        Value::Object(out)
    }

    fn field(&mut self, message: &Message, field: &Field, version: i16) -> Value {
        let nullable = field.nullable.is_some_and(|versions| versions.contains(version));
        if nullable && self.below(4) == 0 {
            return Value::Null;
        }
        self.value(message, &field.ty, version)
    }

    fn value(&mut self, message: &Message, ty: &Type, version: i16) -> Value {
        match ty {
            Type::Bool => json!(self.below(2) == 1),
            Type::String => {
                json!(["", "drawn", "a/b", "1", "retention.ms", "__cluster_metadata"][self.below(6)])
            }
            Type::Struct(name) => self.structure(message, name, version),
            Type::Array(element) => {
                let count = self.below(3);
                (0..count).map(|_| self.value(message, element, version)).collect()
            }
            Type::Uuid | Type::Bytes | Type::Records | Type::Float64 => Value::Null,
            _ => json!([0, 1, 2, -1, -2, 4, 99][self.below(7)]),
        }
    }
}

//! Writes the `ApiKey` enum and the table of what Kafka knows about each key.

use std::fmt::Write;

use crate::schema::{Kind, Message};

pub fn text(messages: &[Message]) -> String {
    let mut requests: Vec<&Message> = messages.iter().filter(|m| m.kind == Kind::Request).collect();
    requests.sort_by_key(|m| m.key);
    let mut out = String::new();
    let mut rows = String::new();
    let mut from = String::new();
    out.push_str("/// What a request asks for. Keys 4 to 7 have no versions any more.\n");
    out.push_str("#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\n");
    out.push_str("pub enum ApiKey {\n");
    for (index, message) in requests.iter().enumerate() {
        let name = message.name.strip_suffix("Request").expect("a request's name ends so");
        let key = message.key.expect("a request has a key");
        assert_eq!(usize::try_from(key), Ok(index), "API keys are numbered without gaps");
        let _ = writeln!(out, "{name} = {key},");
        let _ = writeln!(from, "{key} => ApiKey::{name},");
        let versions = match message.versions {
            Some(v) => format!("Some(({}, {}))", v.first, v.last),
            None => "None".into(),
        };
        let _ = writeln!(
            rows,
            "ApiInfo {{ key: ApiKey::{name}, name: {name:?}, versions: {versions}, flexible_from: {:?}, \
             latest_version_unstable: {}, listeners: &{:?} }},",
            message.flexible_from, message.unstable, message.listeners
        );
    }
    out.push_str("}\n\n/// One row per key, in the order of the keys.\n");
    let _ = writeln!(out, "pub static APIS: [ApiInfo; {}] = [\n{rows}];", requests.len());
    out.push_str("fn from_number(key: i16) -> Option<ApiKey> {\nSome(match key {\n");
    out.push_str(&from);
    out.push_str("_ => return None,\n})\n}\n");
    out
}

//! Writes the `ApiKey` enum and the table of what Kafka knows about each key.

use std::fmt::Write;

use crate::schema::{Kind, Message};

/// Keys from here on are ours alone; between Kafka's last and this one there are none.
const PRIVATE_FROM: i16 = 120;

pub fn text(messages: &[Message]) -> String {
    let mut requests: Vec<&Message> = messages.iter().filter(|m| m.kind == Kind::Request).collect();
    requests.sort_by_key(|m| m.key);
    let mut out = String::new();
    let mut rows = String::new();
    let mut from = String::new();
    let public = requests.iter().filter(|m| m.key.is_some_and(|key| key < PRIVATE_FROM)).count();
    out.push_str("/// What a request asks for. Keys 4 to 7 have no versions any more, those from 120 on are not Kafka's.\n");
    out.push_str("#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\n");
    out.push_str("pub enum ApiKey {\n");
    for (index, message) in requests.iter().enumerate() {
        let name = message.name.strip_suffix("Request").expect("a request's name ends so");
        let key = message.key.expect("a request has a key");
        let wanted =
            if index < public { index } else { usize::from(PRIVATE_FROM.unsigned_abs()) + index - public };
        assert_eq!(usize::try_from(key), Ok(wanted), "API keys are numbered without gaps");
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
    out.push_str("}\n\n");
    let _ = writeln!(out, "const PRIVATE_FROM: i16 = {PRIVATE_FROM};\nconst PUBLIC_KEYS: usize = {public};");
    out.push_str("/// One row per key, in the order of the keys.\n");
    let _ = writeln!(out, "pub static APIS: [ApiInfo; {}] = [\n{rows}];", requests.len());
    out.push_str("fn from_number(key: i16) -> Option<ApiKey> {\nSome(match key {\n");
    out.push_str(&from);
    out.push_str("_ => return None,\n})\n}\n");
    out
}

//! Generates the messages and the API keys from the tables in `schema/` into `OUT_DIR`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[path = "build/api_keys.rs"]
mod api_keys;
#[path = "build/decode.rs"]
mod decode;
#[path = "build/emit.rs"]
mod emit;
#[path = "build/encode.rs"]
mod encode;
#[path = "build/names.rs"]
mod names;
#[path = "build/schema.rs"]
mod schema;

use emit::Emitter;
use schema::{Kind, Message};

fn main() {
    println!("cargo::rerun-if-changed=schema");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=build.rs");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let messages = schema::read_folder(&root.join("schema"));
    write(&out.join("messages.rs"), &messages_text(&messages));
    write(&out.join("api_keys.rs"), &api_keys::text(&messages));
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("cargo's output folder can be written");
}

fn messages_text(messages: &[Message]) -> String {
    let mut out = String::new();
    let emitters: BTreeMap<&str, Emitter<'_>> =
        messages.iter().filter_map(|m| Some((m.name.as_str(), Emitter::new(m, m.versions?)))).collect();
    for emitter in emitters.values() {
        emitter.module(&mut out);
    }
    for message in messages.iter().filter(|m| m.kind == Kind::Request) {
        let response = message.name.replace("Request", "Response");
        if let (Some(request), Some(response)) =
            (emitters.get(message.name.as_str()), emitters.get(response.as_str()))
        {
            request.request_trait(&mut out, response);
        }
    }
    // Tests dispatch by name through this list; the library itself pays only for reading it.
    out.push_str("/// Calls `$callback!` once with the names of all message structs, comma separated.\n");
    out.push_str("#[macro_export]\nmacro_rules! for_each_message {\n($callback:ident) => { $callback! {\n");
    for name in emitters.keys() {
        let _ = writeln!(out, "{name},");
    }
    out.push_str("} };\n}\n");
    out
}

#![no_main]
//! Valid bytes of any message at any version survive decoding and encoding unchanged.
//!
//! The valid bytes come from the interpreter of the schema tables that the tests of `milena-protocol` have; it shares
//! no code with the generated decoders. Input: two bytes for the message, one for its
//! version, then the interpreter's choices.

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use milena_fuzz::messages;

#[path = "../../broker/protocol/tests/support/interpreter.rs"]
mod interpreter;
#[path = "../../broker/protocol/build/schema.rs"]
#[allow(dead_code)]
mod schema;

use interpreter::{Choices, bytes_of};

/// The tables of all messages, in the order of [`messages::all`].
static TABLES: LazyLock<Vec<schema::Message>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker/protocol/schema");
    let tables = schema::read_folder(&folder);
    let table = |entry: &messages::Entry| {
        tables.iter().find(|table| table.name == entry.name).expect("every message has a table").clone()
    };
    messages::all().iter().map(table).collect()
});

fuzz_target!(|input: &[u8]| {
    let [message_0, message_1, version, choices @ ..] = input else { return };
    let place = usize::from(u16::from_be_bytes([*message_0, *message_1])) % messages::all().len();
    let entry = &messages::all()[place];
    let version = entry.version(*version);
    let bytes = bytes_of(&TABLES[place], version, &mut Choices::new(choices));
    entry.decode(&bytes, version).expect("the interpreter makes valid bytes");
    let encoded = entry.round_trip(&bytes, version);
    assert_eq!(encoded, Some(bytes), "{} {version}", entry.name);
});

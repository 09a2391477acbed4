//! The messages of the protocol's schema tables, by name and by key.

use std::collections::BTreeMap;
use std::path::Path;

use milena_protocol::ApiKey;

use crate::schema::{self, Message};

pub struct Catalogue {
    messages: BTreeMap<String, Message>,
}

impl Catalogue {
    pub fn read() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker/protocol/schema");
        let messages = schema::read_folder(&folder);
        Self { messages: messages.into_iter().map(|message| (message.name.clone(), message)).collect() }
    }

    pub fn message(&self, name: &str) -> &Message {
        self.messages.get(name).unwrap_or_else(|| panic!("the schema has no {name}"))
    }

    pub fn request(&self, api: ApiKey) -> &Message {
        self.message(&format!("{}Request", api.name()))
    }

    pub fn response(&self, api: ApiKey) -> &Message {
        self.message(&format!("{}Response", api.name()))
    }
}

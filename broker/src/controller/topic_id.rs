//! Random topic ids. Drawn here because decisions draw nothing.

use milena_protocol::types::Uuid;

/// A random id that is neither reserved nor begins with a dash, which command lines take for an option (as Kafka).
pub fn random() -> Uuid {
    loop {
        let id = Uuid::from_bytes(*uuid::Uuid::new_v4().as_bytes());
        if id != Uuid::ZERO && id != Uuid::METADATA_TOPIC && !id.to_string().starts_with('-') {
            return id;
        }
    }
}

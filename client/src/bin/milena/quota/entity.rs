//! Whom a quota is for, as options and as text.

use milena_client::admin::{QuotaEntity, QuotaName};
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// A user; without authentication every client is ANONYMOUS
    #[arg(long, value_name = "USER", conflicts_with = "user_default")]
    user: Option<String>,
    /// All users without a quota of their own
    #[arg(long)]
    user_default: bool,
    /// A client id; with --user, that client of that user
    #[arg(long, value_name = "ID", conflicts_with = "client_id_default")]
    client_id: Option<String>,
    /// All client ids without a quota of their own
    #[arg(long)]
    client_id_default: bool,
    /// An address of clients
    #[arg(long, value_name = "ADDRESS", conflicts_with = "ip_default")]
    ip: Option<String>,
    /// All addresses without a quota of their own
    #[arg(long)]
    ip_default: bool,
}

impl Options {
    pub fn entity(self) -> QuotaEntity {
        let name = |exactly: Option<String>, is_default: bool| match exactly {
            Some(name) => Some(QuotaName::Exactly(name)),
            None => is_default.then_some(QuotaName::Default),
        };
        let parts = [
            ("user", name(self.user, self.user_default)),
            ("client-id", name(self.client_id, self.client_id_default)),
            ("ip", name(self.ip, self.ip_default)),
        ];
        parts.into_iter().filter_map(|(kind, name)| Some((kind.to_owned(), name?))).collect()
    }
}

/// `user=alice client-id=<default>`: users first, as the quota of a user beats that of a client id.
pub fn text(entity: &QuotaEntity) -> String {
    let parts = entity.iter().rev().map(|(kind, name)| format!("{kind}={name}"));
    parts.collect::<Vec<_>>().join(" ")
}

/// The default is null, as in the protocol: a user may be called `<default>`.
pub fn as_json(entity: &QuotaEntity) -> Value {
    let parts = entity.iter().map(|(kind, name)| {
        let name = match name {
            QuotaName::Exactly(name) => json!(name),
            QuotaName::Default => Value::Null,
        };
        (kind.clone(), name)
    });
    Value::Object(parts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_an_entity() {
        let options = Options {
            user: Some("alice".to_owned()),
            user_default: false,
            client_id: None,
            client_id_default: true,
            ip: None,
            ip_default: false,
        };
        let entity = options.entity();
        assert_eq!(text(&entity), "user=alice client-id=<default>");
        assert_eq!(as_json(&entity), json!({ "user": "alice", "client-id": null }));
    }
}

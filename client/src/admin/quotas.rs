//! Client quotas (KIP-546): what users, client ids and addresses may use.

use std::collections::BTreeMap;
use std::fmt;

use milena_protocol::messages::alter_client_quotas_request as alter;
use milena_protocol::messages::alter_client_quotas_request::AlterClientQuotasRequest;
use milena_protocol::messages::describe_client_quotas_request::{ComponentData, DescribeClientQuotasRequest};

use super::Admin;
use crate::error::{Error, Result};

/// Whom a quota is for, by type: `user`, `client-id`, `ip`.
pub type QuotaEntity = BTreeMap<String, QuotaName>;

/// One, or all that have no quota of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuotaName {
    Exactly(String),
    Default,
}

/// Which quotas are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaFilter {
    pub entity: QuotaEntity,
    /// Only those of just these types, not of a combination with others.
    pub is_strict: bool,
}

/// The quotas of one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Quota {
    pub entity: QuotaEntity,
    pub values: BTreeMap<String, f64>,
}

/// What becomes of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QuotaChange {
    Set(f64),
    Remove,
}

/// Match types of DescribeClientQuotas.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;

impl QuotaName {
    /// As the protocol has it: null is the default.
    fn named(&self) -> Option<&str> {
        match self {
            QuotaName::Exactly(name) => Some(name),
            QuotaName::Default => None,
        }
    }

    fn from_name(name: Option<&str>) -> Self {
        name.map_or(QuotaName::Default, |name| QuotaName::Exactly(name.to_owned()))
    }
}

impl fmt::Display for QuotaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.named().unwrap_or("<default>"))
    }
}

impl Admin {
    /// The quotas that a filter lets through.
    pub async fn describe_client_quotas(&self, filter: &QuotaFilter) -> Result<Vec<Quota>> {
        let components = filter.entity.iter().map(|(entity_type, name)| ComponentData {
            entity_type: entity_type.as_str().into(),
            match_type: if *name == QuotaName::Default { DEFAULT } else { EXACT },
            r#match: name.named().map(Into::into),
        });
        let request =
            DescribeClientQuotasRequest { components: components.collect(), strict: filter.is_strict };
        let response = self.cluster.call_any(&request).await?;
        let response = response.decode::<DescribeClientQuotasRequest<'_>>()?;
        Error::check(response.error_code, response.error_message.as_deref(), || "client quotas".to_owned())?;
        let quotas = response.entries.iter().flatten().map(|entry| {
            let entity = entry.entity.iter().map(|part| {
                (part.entity_type.to_string(), QuotaName::from_name(part.entity_name.as_deref()))
            });
            let values = entry.values.iter().map(|value| (value.key.to_string(), value.value));
            Quota { entity: entity.collect(), values: values.collect() }
        });
        Ok(quotas.collect())
    }

    /// Changes quotas of one entity, all or none; with `validate_only` asks whether they could be.
    pub async fn alter_client_quotas(
        &self,
        entity: &QuotaEntity,
        changes: &[(String, QuotaChange)],
        validate_only: bool,
    ) -> Result<()> {
        let parts = entity.iter().map(|(entity_type, name)| alter::EntityData {
            entity_type: entity_type.as_str().into(),
            entity_name: name.named().map(Into::into),
        });
        let ops = changes.iter().map(|(key, change)| {
            let (value, remove) = match change {
                QuotaChange::Set(value) => (*value, false),
                QuotaChange::Remove => (0.0, true),
            };
            alter::OpData { key: key.as_str().into(), value, remove }
        });
        let entry = alter::EntryData { entity: parts.collect(), ops: ops.collect() };
        let request = AlterClientQuotasRequest { entries: vec![entry], validate_only };
        let response = self.cluster.call_any(&request).await?;
        let response = response.decode::<AlterClientQuotasRequest<'_>>()?;
        let result = response
            .entries
            .first()
            .ok_or_else(|| Error::Corrupt("AlterClientQuotas answered nothing".to_owned()))?;
        Error::check(result.error_code, result.error_message.as_deref(), || "changing quotas".to_owned())
    }
}

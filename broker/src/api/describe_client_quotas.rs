//! DescribeClientQuotas (key 48), versions 0–1 (KIP-546).
//!
//! The quotas that are set on the entities that the filter finds: each of its parts wants a name of one type, the default
//! of that type, or any. A strict filter finds only entities that have no other types besides. A filter without parts
//! finds everything, a strict one nothing. v1 is only the flexible encoding.

use milena_protocol::messages::describe_client_quotas_request::{ComponentData, DescribeClientQuotasRequest};
use milena_protocol::messages::describe_client_quotas_response::{
    DescribeClientQuotasResponse, EntityData, EntryData, ValueData,
};
use milena_state::metadata::client_quotas::{Component, Filter};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: DescribeClientQuotasRequest<'_>) -> Reply {
    let components: Vec<_> = request.components.iter().map(component).collect();
    let filter = match Filter::new(&components, request.strict) {
        Ok(filter) => filter,
        Err(error) => {
            return cx.reply(&DescribeClientQuotasResponse {
                error_code: error.code.into(),
                error_message: Some(error.message.into()),
                entries: None,
                ..Default::default()
            });
        }
    };
    let image = cx.node.metadata.image_arc();
    let found = image.client_quotas().filter(|(entity, _)| filter.matches(entity));
    let entries = found.map(|(entity, quotas)| {
        let parts = entity.parts().map(|(entity_type, name)| EntityData {
            entity_type: entity_type.name().into(),
            entity_name: name.as_option().map(Into::into),
        });
        let values =
            quotas.iter().map(|(key, value)| ValueData { key: key.name().into(), value: value.get() });
        EntryData { entity: parts.collect(), values: values.collect() }
    });
    cx.reply(&DescribeClientQuotasResponse {
        // Kafka has no null here.
        error_message: Some("".into()),
        entries: Some(entries.collect()),
        ..Default::default()
    })
}

fn component(asked: &ComponentData<'_>) -> Component {
    Component {
        entity_type: asked.entity_type.to_string(),
        match_type: asked.match_type,
        name: asked.r#match.as_deref().map(str::to_owned),
    }
}

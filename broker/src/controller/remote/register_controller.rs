//! ControllerRegistration as a controller asks it of the active one.

use milena_protocol::messages::controller_registration_request::{
    ControllerRegistrationRequest, Feature, Listener,
};
use milena_state::metadata::Reply;
use milena_state::metadata::record::RegisterController;
use tokio::time::Instant;

use super::requests::{checked, decoded};
use super::{Refused, Remote};
use crate::controller::client::Committed;

impl Remote {
    pub(super) async fn register_controller(
        &self,
        c: &RegisterController,
        deadline: Instant,
    ) -> Result<Committed, Refused> {
        let listeners = c.endpoints.iter().map(|endpoint| Listener {
            name: endpoint.name.as_str().into(),
            host: endpoint.host.as_str().into(),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
        });
        let features = c.features.iter().map(|feature| Feature {
            name: feature.name.as_str().into(),
            min_supported_version: feature.min,
            max_supported_version: feature.max,
        });
        let request = ControllerRegistrationRequest {
            controller_id: c.controller_id,
            incarnation_id: c.incarnation_id,
            listeners: listeners.collect(),
            features: features.collect(),
            ..Default::default()
        };
        let answered = self.ask(&self.commands, &request, deadline).await?;
        let response = decoded::<ControllerRegistrationRequest<'_>>(&answered)?;
        Ok(Committed { reply: Reply::RegisterController(checked(response.error_code)?), index: -1 })
    }
}

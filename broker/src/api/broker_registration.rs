//! BrokerRegistration (key 62), versions 0–4 (KIP-631), on the listeners of controllers.
//!
//! A broker introduces itself to the active controller and gets its epoch. A node of another cluster is refused with
//! INCONSISTENT_CLUSTER_ID. v2 brings the log directories (KIP-858), v3 the epoch of the last clean stop (KIP-966).

use milena_protocol::ErrorCode;
use milena_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use milena_protocol::messages::broker_registration_response::BrokerRegistrationResponse;
use milena_state::metadata::brokers::RegisterBroker;
use milena_state::metadata::record::{Endpoint, SupportedFeature};
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: BrokerRegistrationRequest<'_>) -> Reply {
    let (error, broker_epoch) = match register(cx, &request).await {
        Ok(epoch) => (ErrorCode::None, epoch),
        Err(error) => (error, -1),
    };
    cx.reply(&BrokerRegistrationResponse { error_code: error.into(), broker_epoch, ..Default::default() })
}

async fn register(cx: &RequestContext, request: &BrokerRegistrationRequest<'_>) -> Result<i64, ErrorCode> {
    if *request.cluster_id != *cx.node.cluster_id {
        tracing::warn!(
            broker = request.broker_id,
            its_cluster = crate::server::quiet::printable(&request.cluster_id),
            our_cluster = &*cx.node.cluster_id,
            "a broker of another cluster wants to register"
        );
        return Err(ErrorCode::InconsistentClusterId);
    }
    if request.is_migrating_zk_broker || request.broker_id < 0 {
        return Err(ErrorCode::InvalidRegistration);
    }
    let committed = controller_call::decide_here(cx, Command::RegisterBroker(asked(request))).await?;
    match committed.reply {
        Decided::RegisterBroker(Ok(registered)) => Ok(registered.epoch_at(committed.index)),
        Decided::RegisterBroker(Err(error)) => {
            tracing::info!(broker = request.broker_id, reason = %error, "registration of a broker is refused");
            Err(error.code)
        }
        _ => Err(ErrorCode::UnknownServerError),
    }
}

fn asked(request: &BrokerRegistrationRequest<'_>) -> RegisterBroker {
    let endpoints = request.listeners.iter().map(|listener| Endpoint {
        name: listener.name.to_string(),
        host: listener.host.to_string(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    let features = request.features.iter().map(|feature| SupportedFeature {
        name: feature.name.to_string(),
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    RegisterBroker {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        endpoints: endpoints.collect(),
        features: features.collect(),
        rack: request.rack.as_deref().map(str::to_owned),
        log_dirs: request.log_dirs.clone(),
        previous_broker_epoch: request.previous_broker_epoch,
        session_is_live: false,
    }
}

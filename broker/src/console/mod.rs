//! The console: a page to look at the cluster with, and the JSON that it is made from.
//!
//! The page is plain files in the program ([`assets`]); everything it shows comes from `/api/v1/…`, one file
//! here for each. All of it is read-only: there is no method but GET and HEAD, and no answer changes anything.
//! [`guard`] says which browsers may ask, and what a browser may do with the answer.

mod answer;
mod assets;
mod assignment;
mod cluster;
mod configs;
mod group;
mod groups;
mod guard;
mod page;
mod quorum;
mod topic;
mod topics;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::get;

use crate::admin::Admin;

/// The page and its API, to be merged into the routes of the HTTP port.
pub fn routes(admin: &Admin) -> Router<Admin> {
    let mut routes = Router::new()
        // Relative, so that the console can stand below a path of a reverse proxy.
        .route("/", get(async || Redirect::temporary("console")))
        .route("/console/", get(async || Redirect::temporary("../console")))
        .route("/api/v1/cluster", get(cluster::answer))
        .route("/api/v1/topics", get(topics::answer))
        .route("/api/v1/topic", get(topic::answer))
        .route("/api/v1/groups", get(groups::answer))
        .route("/api/v1/group", get(group::answer))
        .route("/api/v1/broker", get(configs::answer))
        .route("/api/v1/quorum", get(quorum::answer));
    for asset in assets::ALL {
        routes = routes.route(asset.path, get(async |headers| asset.answer(&headers)));
    }
    let guard = guard::Guard::of(&admin.node.settings);
    routes.route_layer(from_fn_with_state(guard, guard::check))
}

//! Which browsers may ask, and what they may do with the answer.
//!
//! The console has no login of its own: whoever reaches the HTTP port may read. A browser on the same machine is
//! more than its user, though: a page from elsewhere can have its own name resolve to 127.0.0.1 (DNS rebinding)
//! and would then read the answers as its own. Such a request carries that page's name in `Host`, so a name that
//! is not ours is refused; addresses cannot be rebound. Without CORS headers no other page can read an answer,
//! and one that says where it comes from and is not us gets none.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use milena_state::config::broker::Settings;

/// The names under which the console may be asked, in lower case.
#[derive(Debug, Clone)]
pub struct Guard(Arc<[String]>);

/// Nothing but files of ours is loaded or run, and nobody shows the console in a frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Guard {
    pub fn of(settings: &Settings) -> Self {
        let own = settings.http_listener.iter().map(|http| http.host.as_str());
        let advertised = settings.advertised_listeners.iter().map(|listener| listener.host.as_str());
        let machine = gethostname::gethostname().to_string_lossy().into_owned();
        let names = own.chain(advertised).chain([machine.as_str(), "localhost"]);
        Self(names.filter(|name| !name.is_empty()).map(str::to_lowercase).collect())
    }

    /// Why a request is refused.
    fn refusal(&self, headers: &HeaderMap) -> Option<&'static str> {
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
        let host = text(header::HOST).unwrap_or_default();
        if !self.is_ours(name_of(host)) {
            return Some("the console answers to addresses, localhost and the advertised names only\n");
        }
        let origin = text(header::ORIGIN)?;
        let asked_by = origin.split_once("://").map_or("", |(_, asked_by)| asked_by);
        (!asked_by.eq_ignore_ascii_case(host)).then_some("the console answers no page but its own\n")
    }

    fn is_ours(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_lowercase();
        name.parse::<IpAddr>().is_ok() || self.0.contains(&name)
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn name_of(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or("", |(address, _)| address);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

/// Refuses requests from elsewhere, and says in every answer how a browser is to treat it.
pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.refusal(request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_rebound_and_other_pages_are_refused() {
        let guard = Guard(["localhost", "broker-1.example"].map(str::to_owned).into());
        let check = |host: Option<&'static str>, origin: Option<&'static str>, allowed: bool| {
            let mut headers = HeaderMap::new();
            host.map(|host| headers.insert(header::HOST, HeaderValue::from_static(host)));
            origin.map(|origin| headers.insert(header::ORIGIN, HeaderValue::from_static(origin)));
            assert_eq!(guard.refusal(&headers).is_none(), allowed, "{host:?} {origin:?}");
        };
        for host in ["127.0.0.1:9464", "[::1]:9464", "10.1.2.3", "LocalHost:9464", "broker-1.example.:80"] {
            check(Some(host), None, true);
        }
        for host in
            ["evil.example:9464", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "[x]"]
        {
            check(Some(host), None, false);
        }
        check(None, None, false);
        check(Some("127.0.0.1:9464"), Some("http://127.0.0.1:9464"), true);
        check(Some("localhost"), Some("https://localhost"), true);
        for origin in ["http://evil.example", "http://127.0.0.1:8080", "null", "http://127.0.0.1:9464.evil"] {
            check(Some("127.0.0.1:9464"), Some(origin), false);
        }
    }
}

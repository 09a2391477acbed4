//! JSON answers of the API.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use milena_protocol::ErrorCode;
use serde::Serialize;

/// An answer that is no data: a status and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(StatusCode, String);

impl Refused {
    pub fn bad_request(reason: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.into())
    }

    pub fn not_found(what: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// What a coordinator says instead of showing a group.
    pub fn by_coordinator(error: ErrorCode) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, format!("the group's coordinator says {error:?}"))
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
}

/// What was asked for, or why not. Nobody keeps it: the next answer is another one.
pub fn json<T: Serialize>(found: Result<T, Refused>) -> Response {
    let (status, body) = match &found {
        Ok(value) => (StatusCode::OK, serde_json::to_string(value)),
        Err(Refused(status, error)) => (*status, serde_json::to_string(&Failure { error })),
    };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    match body {
        Ok(body) => (status, headers, body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

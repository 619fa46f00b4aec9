//! The one form of every error that a client sees: problem details (RFC 9457) with a code for programs.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;

/// Most problems of sessions that are told of one request; further ones are counted.
pub(crate) const PROBLEMS_MAX: usize = 100;

/// What is wrong with a request, or with us.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    /// One phrase for the status.
    title: &'static str,
    #[serde(serialize_with = "status_number")]
    status: StatusCode,
    /// What programs go by.
    code: &'static str,
    /// What is wrong this time. Values of fields are personal data and have no place in it.
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<SessionProblem>,
    #[serde(skip_serializing_if = "is_zero")]
    problems_left_out: usize,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// One problem of one session of a request.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SessionProblem {
    /// Place of the session in the request, from 0.
    pub(crate) index: usize,
    /// Dotted path of the field; empty for the whole session.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What was perhaps meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suggestion: Option<String>,
    /// What else helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<&'static str>,
    /// Line of the body, from 1, where the text is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// Column of that line in bytes, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let detail = detail.into();
        Self { title, status, code, detail, problems: Vec::new(), problems_left_out: 0, retry_after: None }
    }

    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// Tells that the same request may succeed later.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
    }

    /// Tells that there are too many requests at a time.
    pub(crate) fn busy(code: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail) }
    }

    /// Tells that a request was not understood for what its sessions say.
    pub(crate) fn invalid_sessions(mut problems: Vec<SessionProblem>, mut problems_left_out: usize) -> Self {
        problems_left_out += problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        let detail = "nothing of this request was published";
        Self { problems, problems_left_out, ..Self::bad_request("invalid_sessions", detail) }
    }

    pub(crate) fn internal(detail: &'static str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(retry_after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
        }
        // A body that was not read to its end cannot be followed by another request.
        if self.status == StatusCode::PAYLOAD_TOO_LARGE || self.status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn status_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

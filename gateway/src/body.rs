//! Bodies of requests, read within a limit for each, a limit for all of them together, and a deadline.

use crate::problem::Problem;
use crate::settings::GatewaySettings;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt as _;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room that is reserved before a body's length is known.
const CAPACITY_BYTES: usize = 16 << 10;

/// A body, with its share of what all bodies may have.
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) share: Option<OwnedSemaphorePermit>,
}

/// Reads bodies.
pub(crate) struct Bodies {
    /// Bytes that are left for bodies.
    budget: Arc<Semaphore>,
}

impl Bodies {
    pub(crate) fn new(settings: &GatewaySettings) -> Self {
        Self { budget: Arc::new(Semaphore::new(settings.bodies_bytes_max.min(Semaphore::MAX_PERMITS))) }
    }

    /// Reads a body of at most so many bytes to its end.
    pub(crate) async fn read(
        &self,
        settings: &GatewaySettings,
        bytes_max: usize,
        headers: &HeaderMap,
        body: axum::body::Body,
    ) -> Result<Body, Problem> {
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        // Refused before it is sent, where the length is told.
        if length.is_some_and(|length| length > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let late = |_| {
            let detail = format!("the body did not arrive within {} s", settings.body_wait_max.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail)
        };
        tokio::time::timeout(settings.body_wait_max, self.collect(settings, bytes_max, body))
            .await
            .map_err(late)?
    }

    async fn collect(
        &self,
        settings: &GatewaySettings,
        bytes_max: usize,
        body: axum::body::Body,
    ) -> Result<Body, Problem> {
        let mut chunks = body.into_data_stream();
        let mut bytes = Vec::with_capacity(CAPACITY_BYTES);
        let mut share: Option<OwnedSemaphorePermit> = None;
        while let Some(chunk) = chunks.next().await {
            let Ok(chunk) = chunk else {
                return Err(Problem::bad_request(
                    "truncated_body",
                    "the body ended before its end, or is not well formed",
                ));
            };
            if bytes.len() + chunk.len() > bytes_max {
                return Err(too_large(bytes_max));
            }
            let piece = self.take(chunk.len()).ok_or_else(|| {
                Problem::busy(
                    "bodies_too_large",
                    "too many bytes of requests are under way",
                    settings.retry_after,
                )
            })?;
            match &mut share {
                Some(share) => share.merge(piece),
                None => share = Some(piece),
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Body { bytes, share })
    }

    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.budget).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body has more than {bytes_max} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

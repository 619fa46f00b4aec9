//! `GET /v1/decisions/{session_id}`: the last decision of a session, now or when it comes.

use crate::DEFAULT_TENANT;
use crate::feed::Event;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::state::GatewayState;
use crate::telemetry;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemas::key::ID_BYTES_MAX;
use schemas::{Key, topic};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Names of the parameters.
pub(crate) const PARAMETERS: &[&str] = &["tenant", "wait", "revision_min"];

/// Returns the last decision of a session, waiting for one where there is none yet.
pub(crate) async fn get(
    State(state): State<Arc<GatewayState>>,
    session_id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let Ok(Path(session_id)) = session_id else {
        return Err(Problem::bad_request(
            "invalid_session_id",
            "the session id is not UTF-8 once its percents are decoded",
        ));
    };
    if session_id.len() > ID_BYTES_MAX {
        let detail = format!("the session id has more than {ID_BYTES_MAX} bytes");
        return Err(Problem::bad_request("invalid_session_id", detail));
    }
    let parameters = Parameters::of(&uri, PARAMETERS)?;
    let key = Key::of_session(parameters.tenant()?.unwrap_or(DEFAULT_TENANT), &session_id);
    let wait = parameters.duration("wait")?.unwrap_or(Duration::ZERO).min(state.settings.wait_max);
    let revision_min = parameters.positive("revision_min")?.unwrap_or(1);
    let event = find(&state, &key, revision_min, wait).await?;
    let Some(decision) = event.rendered(&state.codec) else {
        return Err(Problem::internal("the decision cannot be read"));
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, decision.json.clone()).into_response())
}

/// Returns the last decision of at least a revision.
async fn find(
    state: &Arc<GatewayState>,
    key: &Key,
    revision_min: i32,
    wait: Duration,
) -> Result<Arc<Event>, Problem> {
    let deadline = Instant::now() + wait;
    let mut closing = state.closing.subscribe();
    let _waiter = if wait.is_zero() { None } else { Some(take_waiter(state)?) };
    loop {
        // The wait begins before the look, so that a decision between the two is not missed.
        let waiting = (!wait.is_zero()).then(|| state.feed.wait(key, revision_min));
        let found = match state.feed.last(key).filter(|event| event.revision >= revision_min) {
            Some(event) => Some(event),
            None => look_up(state, key).await?,
        };
        let revision = found.as_ref().map(|event| event.revision);
        if let Some(event) = found.filter(|event| event.revision >= revision_min) {
            return Ok(event);
        }
        let Some(mut waiting) = waiting else { return Err(not_found(revision)) };
        tokio::select! {
            event = waiting.event() => {
                if let Some(event) = event {
                    return Ok(event);
                }
            }
            () = tokio::time::sleep_until(deadline) => return Err(not_found(revision)),
            _ = closing.wait_for(|closing| *closing) => {
                return Err(Problem::unavailable("stopping", "the gateway is stopping", state.settings.retry_after));
            }
        }
    }
}

fn take_waiter(state: &GatewayState) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
    let busy = |_| {
        Problem::busy("too_many_waits", "too many requests wait for decisions", state.settings.retry_after)
    };
    state.waiters.try_acquire().map_err(busy)
}

/// Returns the last decision that the log has of a session.
async fn look_up(state: &Arc<GatewayState>, key: &Key) -> Result<Option<Arc<Event>>, Problem> {
    let unavailable =
        || Problem::unavailable("log_unavailable", "the log cannot be read", state.settings.retry_after);
    let look = async {
        // The semaphore is never closed; if it were, the look would be refused as any other.
        let _permit = state.lookups.acquire().await.ok()?;
        let (looking, key) = (Arc::clone(state), key.clone());
        let look = move || {
            let record = looking.edge.find_compacted(&topic::DECISIONS_LATEST, key.as_bytes())?;
            Ok(record.and_then(|record| Event::of(record, &looking.codec)).map(Arc::new))
        };
        tokio::task::spawn_blocking(look).await.ok()
    };
    match tokio::time::timeout(state.settings.lookup_wait_max, look).await {
        Ok(Some(Ok(event))) => Ok(event),
        Ok(Some(Err(error))) => {
            telemetry::look_up_failed(&error);
            Err(unavailable())
        }
        Ok(None) | Err(_) => Err(unavailable()),
    }
}

fn not_found(revision: Option<i32>) -> Problem {
    match revision {
        Some(revision) => {
            let detail = format!("the last decision of this session is of revision {revision}");
            Problem::new(StatusCode::NOT_FOUND, "revision_not_found", detail)
        }
        None => {
            let detail =
                "this tenant has no decision of this session yet; with ?wait=2s the answer waits for one";
            Problem::new(StatusCode::NOT_FOUND, "decision_not_found", detail)
        }
    }
}

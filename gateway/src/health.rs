//! `GET /health/live` and `GET /health/ready`, for whoever starts the gateway and whoever sends it requests.

use crate::problem::Problem;
use crate::state::GatewayState;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;

/// Tells that the process answers.
pub(crate) async fn live() -> axum::Json<Value> {
    axum::Json(json!({ "status": "live" }))
}

/// Tells whether requests should come here.
pub(crate) async fn ready(State(state): State<Arc<GatewayState>>) -> Result<axum::Json<Value>, Problem> {
    if state.is_ready() {
        return Ok(axum::Json(json!({ "status": "ready" })));
    }
    let detail = if *state.closing.borrow() {
        "the gateway is stopping"
    } else if !state.feed.is_following() {
        "decisions cannot be read"
    } else {
        "sessions could not be published a moment ago"
    };
    Err(Problem::unavailable("not_ready", detail, state.settings.retry_after))
}

//! What is served, in one table; the OpenAPI document is held to it by a test.

use crate::problem::Problem;
use crate::state::GatewayState;
use crate::{decisions, health, openapi, registry, sessions, stream, telemetry};
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use std::sync::Arc;
use std::time::Instant;

type Handler = fn() -> MethodRouter<Arc<GatewayState>>;

/// Path of each route, its methods, and who answers.
const ROUTES: &[(&str, &[&str], Handler)] = &[
    ("/v1/sessions", &["post"], || post(sessions::post)),
    ("/v1/decisions", &["get"], || get(stream::get)),
    ("/v1/decisions/{session_id}", &["get"], || get(decisions::get)),
    ("/v1/openapi.json", &["get"], || get(openapi::get)),
    ("/health/live", &["get"], || get(health::live)),
    ("/health/ready", &["get"], || get(health::ready)),
    ("/schemas/types", &["get"], || get(registry::types)),
    ("/schemas/ids/{id}", &["get"], || get(registry::schema)),
    ("/schemas/ids/{id}/schema", &["get"], || get(registry::schema_text)),
    ("/schemas/ids/{id}/versions", &["get"], || get(registry::schema_versions)),
    ("/subjects", &["get"], || get(registry::subjects)),
    ("/subjects/{subject}", &["post"], || post(registry::look_up)),
    ("/subjects/{subject}/versions", &["get", "post"], || get(registry::versions).post(registry::register)),
    ("/subjects/{subject}/versions/{version}", &["get"], || get(registry::version)),
    ("/subjects/{subject}/versions/{version}/schema", &["get"], || get(registry::version_text)),
    ("/config", &["get"], || get(registry::config)),
    ("/mode", &["get"], || get(registry::mode)),
];

/// Returns every path that is served, with its methods in lower case.
pub fn paths() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    ROUTES.iter().map(|(path, methods, _)| (*path, *methods))
}

/// Makes the router of all routes.
pub fn router(state: Arc<GatewayState>) -> Router {
    let routes =
        ROUTES.iter().fold(Router::new(), |router, (path, _, handler)| router.route(path, handler()));
    let not_found = || async {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "see /v1/openapi.json for what there is")
    };
    let wrong_method = || async {
        let detail = "this path has other methods, see the header allow";
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    };
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(observe))
        .with_state(state)
}

/// Counts and traces a request, by its route as the table has it: the path as it was sent names sessions.
async fn observe(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route =
        route.and_then(|route| paths().find(|(path, _)| *path == route)).map_or("other", |(path, _)| path);
    let (method, started) = (request.method().clone(), Instant::now());
    let response = next.run(request).await;
    telemetry::answered(method.as_str(), route, response.status(), started.elapsed());
    response
}

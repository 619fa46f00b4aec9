//! Health and metrics of a process over HTTP: `/metrics`, `/health/live`, `/health/ready`.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Buckets of every histogram of seconds: from a fast commit to a slow restore.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Whether the workers of a process do their work.
#[derive(Debug, Default)]
pub struct Health {
    workers: AtomicUsize,
    ready: AtomicUsize,
    failed: AtomicBool,
}

impl Health {
    /// Makes the health of a process with so many workers.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { workers: AtomicUsize::new(workers), ..Self::default() })
    }

    /// Notes that a worker has its partitions for the first time.
    pub fn worker_ready(&self) {
        self.ready.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that a worker has failed for good.
    pub fn worker_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Tells whether no worker has failed.
    pub fn is_live(&self) -> bool {
        !self.failed.load(Ordering::Acquire)
    }

    /// Tells whether every worker has its partitions.
    pub fn is_ready(&self) -> bool {
        self.is_live() && self.ready.load(Ordering::Acquire) >= self.workers.load(Ordering::Acquire)
    }
}

/// Installs the recorder of metrics; once a process.
pub fn install_metrics() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let handle = PrometheusBuilder::new().set_buckets(SECONDS)?.install_recorder()?;
    crate::telemetry::describe();
    Ok(handle)
}

#[derive(Clone)]
struct Served {
    health: Arc<Health>,
    metrics: PrometheusHandle,
}

/// Returns the routes.
pub fn router(health: Arc<Health>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/metrics", get(render))
        .route(
            "/health/live",
            get(|State(served): State<Served>| async move { answer(served.health.is_live()) }),
        )
        .route(
            "/health/ready",
            get(|State(served): State<Served>| async move { answer(served.health.is_ready()) }),
        )
        .with_state(Served { health, metrics })
}

async fn render(State(served): State<Served>) -> Response {
    served.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], served.metrics.render()).into_response()
}

fn answer(well: bool) -> Response {
    if well {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

//! Every metric and log event of the gateway, each a function: nothing else in this crate names a metric.
//!
//! Labels and fields hold routes, statuses and causes; never an address as it was sent, a tenant or a session, since
//! those are personal data.

use axum::http::StatusCode;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use pipeline::BusError;
use pipeline::telemetry::describe_error;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Names and meanings of the metrics, for the documentation and for the check of the dashboards.
pub const METRICS: &[(&str, &str)] = &[
    ("tamiz_http_requests_total", "requests answered, by route and status"),
    ("tamiz_http_request_seconds", "time from a request's head to its answer's head, by route"),
    ("tamiz_http_publish_seconds", "time to publish one group of records"),
    ("tamiz_http_publish_group_requests", "requests whose records were published together"),
    ("tamiz_http_publish_queue_requests", "requests that wait to be published"),
    ("tamiz_http_published_records_total", "records published"),
    ("tamiz_http_publish_failures_total", "groups of records that could not be published"),
    ("tamiz_http_stream_clients", "streams of decisions that are open"),
];

/// Registers what the metrics mean.
pub fn describe() {
    for (name, meaning) in METRICS {
        match *name {
            name if name.ends_with("_seconds") => describe_histogram!(name, Unit::Seconds, *meaning),
            name if name.ends_with("_total") => describe_counter!(name, Unit::Count, *meaning),
            name if name.ends_with("_clients") || name.ends_with("_queue_requests") => {
                describe_gauge!(name, Unit::Count, *meaning)
            }
            name => describe_histogram!(name, Unit::Count, *meaning),
        }
    }
}

/// Notes a request by its route as the gateway names it.
pub(crate) fn answered(method: &str, route: &'static str, status: StatusCode, taken: Duration) {
    counter!("tamiz_http_requests_total", "route" => route, "status" => status.as_str().to_owned())
        .increment(1);
    histogram!("tamiz_http_request_seconds", "route" => route).record(taken.as_secs_f64());
    tracing::trace!(
        method,
        route,
        status = status.as_u16(),
        taken_us = taken.as_micros() as u64,
        "request answered"
    );
}

pub(crate) fn publish_queue(requests: usize) {
    gauge!("tamiz_http_publish_queue_requests").set(requests as f64);
}

pub(crate) fn published(records: usize, requests: usize, taken: Duration, succeeded: bool) {
    histogram!("tamiz_http_publish_seconds").record(taken.as_secs_f64());
    histogram!("tamiz_http_publish_group_requests").record(requests as f64);
    if succeeded {
        counter!("tamiz_http_published_records_total").increment(records as u64);
    }
}

pub(crate) fn publish_failed(error: &BusError) {
    counter!("tamiz_http_publish_failures_total").increment(1);
    tracing::warn!(error = describe_error(error), "records not published, their senders were told");
}

pub(crate) fn follow_failed(error: &BusError) {
    tracing::warn!(error = describe_error(error), "decisions cannot be read, trying again");
}

pub(crate) fn look_up_failed(error: &BusError) {
    tracing::warn!(error = describe_error(error), "a decision could not be looked up, its reader was told");
}

pub(crate) fn decision_unreadable(error: &dyn Error) {
    tracing::error!(error = describe_error(error), "a decision in the log cannot be decoded");
}

pub(crate) fn accept_failed(error: &dyn Error) {
    tracing::warn!(error = describe_error(error), "a connection could not be accepted, waiting a moment");
}

pub(crate) fn thread_failed(error: &dyn Error) {
    tracing::warn!(error = describe_error(error), "a stream could not be opened, its client was told");
}

pub(crate) fn thread_panicked(name: &'static str) {
    tracing::error!(thread = name, "a thread panicked");
}

pub(crate) fn listening(address: SocketAddr) {
    tracing::info!(%address, "gateway listening");
}

pub(crate) fn stopped(in_time: bool) {
    if in_time {
        tracing::info!("gateway stopped, every request was answered");
    } else {
        tracing::warn!("gateway stopped, requests that took too long were cut");
    }
}

/// A stream that is open, counted until it is dropped.
pub(crate) struct StreamClient {
    _permit: OwnedSemaphorePermit,
}

impl StreamClient {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Self {
        gauge!("tamiz_http_stream_clients").increment(1.0);
        Self { _permit: permit }
    }
}

impl Drop for StreamClient {
    fn drop(&mut self) {
        gauge!("tamiz_http_stream_clients").decrement(1.0);
    }
}

//! Every metric and log event of the runtime, each a function: nothing else in this crate names a metric.
//!
//! Labels hold names of operators, topics, partitions and codes; never a tenant's data.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use schemas::TimeMs;
use std::time::Duration;

/// Names and meanings of the metrics, for the documentation and for the check of the dashboards.
pub const METRICS: &[(&str, &str)] = &[
    ("tamiz_records_read_total", "records read from input topics, by partition"),
    ("tamiz_records_written_total", "records written, by topic"),
    ("tamiz_records_rejected_total", "records sent to the dead letters, by operator and reason"),
    ("tamiz_steps_total", "steps committed"),
    ("tamiz_steps_undone_total", "steps undone and done again"),
    ("tamiz_step_seconds", "time to work a step out, without the commit"),
    ("tamiz_commit_seconds", "time to commit a step"),
    ("tamiz_lag_records", "records still to be read, by topic and partition"),
    ("tamiz_operator_delay_seconds", "wall clock less the operator's time, by operator and partition"),
    ("tamiz_partitions_assigned", "partitions that this worker has, by worker"),
    ("tamiz_restore_seconds", "time to bring the tables of an assignment up to date"),
    ("tamiz_decisions_total", "decisions, by outcome and cause"),
    ("tamiz_decision_seconds", "from the append of what made a decision due to its commit"),
];

/// Registers what the metrics mean.
pub fn describe() {
    for (name, meaning) in METRICS {
        match *name {
            name if name.ends_with("_seconds") && !name.contains("delay") => {
                describe_histogram!(name, Unit::Seconds, *meaning);
            }
            name if name.ends_with("_total") => describe_counter!(name, Unit::Count, *meaning),
            name => describe_gauge!(name, *meaning),
        }
    }
}

pub(crate) fn records_read(partition: u32, count: usize) {
    counter!("tamiz_records_read_total", "partition" => partition.to_string()).increment(count as u64);
}

pub(crate) fn records_written(topic: &'static str, count: u64) {
    counter!("tamiz_records_written_total", "topic" => topic).increment(count);
}

pub(crate) fn rejected(operator: &'static str, reason: &'static str) {
    counter!("tamiz_records_rejected_total", "operator" => operator, "reason" => reason).increment(1);
    tracing::debug!(operator, reason, "record rejected");
}

pub(crate) fn decisions(outcome: &str, cause: &str, count: u64) {
    counter!("tamiz_decisions_total", "outcome" => outcome.to_owned(), "cause" => cause.to_owned())
        .increment(count);
}

pub(crate) fn decided(now: TimeMs, due_at: &[TimeMs]) {
    let seconds = histogram!("tamiz_decision_seconds");
    for time in due_at {
        seconds.record((now - time).max(0) as f64 / 1_000.0);
    }
}

pub(crate) fn step(worked: Duration, committed: Duration) {
    counter!("tamiz_steps_total").increment(1);
    histogram!("tamiz_step_seconds").record(worked.as_secs_f64());
    histogram!("tamiz_commit_seconds").record(committed.as_secs_f64());
}

pub(crate) fn step_undone(error: &dyn std::error::Error) {
    counter!("tamiz_steps_undone_total").increment(1);
    tracing::warn!(error = describe_error(error), "step undone, its records are read again");
}

pub(crate) fn retried(error: &dyn std::error::Error, attempt: u32) {
    tracing::warn!(error = describe_error(error), attempt, "the bus failed, trying again");
}

pub(crate) fn assigned(worker: usize, partitions: &[u32], restored: Duration) {
    gauge!("tamiz_partitions_assigned", "worker" => worker.to_string()).set(partitions.len() as f64);
    histogram!("tamiz_restore_seconds").record(restored.as_secs_f64());
    tracing::info!(worker, ?partitions, restored_ms = restored.as_millis() as u64, "partitions assigned");
}

pub(crate) fn lag(topic: &'static str, partition: u32, records: u64) {
    gauge!("tamiz_lag_records", "topic" => topic, "partition" => partition.to_string()).set(records as f64);
}

pub(crate) fn delay(operator: &'static str, partition: u32, delay_ms: TimeMs) {
    gauge!("tamiz_operator_delay_seconds", "operator" => operator, "partition" => partition.to_string())
        .set(delay_ms.max(0) as f64 / 1_000.0);
}

pub(crate) fn worker_stopped(worker: usize) {
    tracing::info!(worker, "worker stopped, everything it began is committed");
}

pub(crate) fn worker_failed(worker: usize, error: &dyn std::error::Error) {
    tracing::error!(worker, error = describe_error(error), "worker failed, the process stops");
}

pub(crate) fn services_cut_off() {
    tracing::warn!("services had not stopped by the deadline and were cut off");
}

/// Returns an error with its causes, each once.
pub fn describe_error(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

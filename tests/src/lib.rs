//! Tests of the whole: the operators as they are, on every bus, with everything that may go wrong between them.
//!
//! One workload is run in many ways, and the outcome must be the same to the byte. Reading order: [`workload`] (what
//! producers send, and a model of what must come of it), [`hostile`] (what nobody should send), [`deployment`] (how the
//! operators are hosted), [`buses`] (where they run, and the time there), [`kafka`] (real brokers), [`interference`] (what goes wrong), [`fleet`]
//! (the workers, turned one after the other), [`outcome`] (what a reader sees, and what must hold of it), [`random`]
//! (seeds), [`data`] (small reference data).

pub mod buses;
pub mod data;
pub mod deployment;
pub mod fleet;
pub mod hostile;
pub mod interference;
pub mod kafka;
pub mod outcome;
pub mod random;
pub mod workload;

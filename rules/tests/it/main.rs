//! Tests of the crate through its public interface.
#![allow(clippy::unwrap_used)]

mod cases;
mod cel_peer;
mod default_set;
mod evaluate;
mod frame;
mod hostile;
mod kleene;
mod load;
mod tenants;
mod texts;

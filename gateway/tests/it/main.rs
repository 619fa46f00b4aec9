//! The gateway over real HTTP on this machine, on the local log in memory.

#![allow(clippy::unwrap_used)]

mod decisions;
mod fixture;
mod hostile;
mod http;
mod openapi;
mod registry;
mod sessions;
mod stopping;
mod stream;

//! The runtime against real servers.

#![allow(clippy::unwrap_used)]

mod broker;
mod kafka;
mod registry;

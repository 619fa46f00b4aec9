//! The runtime against real servers.

#![allow(clippy::unwrap_used)]

mod registry;

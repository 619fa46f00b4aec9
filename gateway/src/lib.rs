//! The HTTP edge: producers post sessions, consumers read decisions, and clients of Kafka find the schemas of what they
//! read, without a broker or a registry of their own.
//!
//! Reading order: [`settings`] (every limit), [`server`] (connections, their deadlines, the drain), [`routes`] (what is
//! served), `sessions` with `batch`, `body` and `publisher` (from a request to safe records), `feed` (the decisions of the
//! last minutes), `decisions` and `stream` (how they are read), `catalogue` and `registry` (the read-only schema
//! registry), `openapi`, `health`, `problem` (the one form of every error), [`telemetry`].
//!
//! What is answered with 202 is in the log. Nobody is authenticated here yet: a tenant is what the request says, and only
//! [`GatewaySettings::tenants`] limits it. Until producers have keys, the gateway belongs behind something that knows them.

mod batch;
mod body;
mod catalogue;
mod decisions;
mod error;
mod feed;
mod health;
mod openapi;
mod problem;
mod publisher;
mod query;
mod registry;
pub mod routes;
pub mod server;
mod sessions;
pub mod settings;
mod socket;
mod state;
mod stream;
pub mod telemetry;

pub use error::GatewayError;
pub use routes::router;
pub use server::{Bound, bind, serve};
pub use settings::GatewaySettings;
pub use state::GatewayState;

/// Tenant of what names none.
pub(crate) const DEFAULT_TENANT: &str = "default";

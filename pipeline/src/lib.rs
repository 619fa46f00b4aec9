//! The runtime: it reads records, runs operators on them and commits what they do, whole or not at all.
//!
//! Reading order: [`operator`] (what an operator is), [`step`] (what it may do), [`clock`] (time that flows with the
//! data), [`task`] (one partition of the hosted operators), [`runner`] (the one loop), [`bus`] (where records come from
//! and effects go: Kafka, or the log on this machine over a [`store`] on disk or in memory), [`hosting`] (which
//! operators one process hosts), [`registry`] (schemas by their ids), [`config`] and [`telemetry`]. With the feature
//! `golden` there is also `golden`, which tests operators by data.

pub mod bus;
pub mod clock;
pub mod config;
pub mod error;
#[cfg(feature = "golden")]
pub mod golden;
pub mod health;
pub mod host;
pub mod hosting;
pub mod operator;
pub mod process;
pub mod record;
pub mod registry;
pub mod runner;
pub mod step;
pub mod store;
pub mod table;
pub mod task;
pub mod telemetry;

pub use bus::{Bus, Commit, Edge, Polled, Position, Start, SystemClock, Tail, WallClock};
pub use error::{BusError, RunnerError};
pub use host::{Built, Host, HostContext, HostError, Log, Registration};
pub use hosting::{Hosting, HostingOptions, Library};
pub use operator::{AnyOperator, Descriptor, Event, Operator, Port, Reject, SignalPort, TimeSource, Timer};
pub use record::{Header, LogRecord, NewRecord};
pub use registry::{RegistryClient, RegistryError};
pub use runner::{Runner, RunnerSettings, Stop, Stopwatch, Turn};
pub use step::{Step, Verdict};
pub use table::TableSpec;

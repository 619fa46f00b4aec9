//! Why a gateway could not start or go on. What goes wrong within a request is a `Problem`.

use std::io;
use std::net::SocketAddr;

/// A gateway could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// It cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A thread of its own cannot be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A published schema cannot be read.
    #[error("cannot serve schema {file}: {reason}")]
    Schema {
        /// Its file.
        file: &'static str,
        /// Why not.
        reason: String,
    },
}

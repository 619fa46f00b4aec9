//! What can go wrong while sampling.

use std::path::PathBuf;

/// Sampling failed.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// There is no such share.
    #[error("unknown share {name:?}{suggestion}; one of {known}")]
    UnknownShare { name: String, suggestion: String, known: String },
    /// A share is not written as it should be.
    #[error("cannot read share {text:?}: expected NAME=FRACTION, as in tor=0.02")]
    MalformedShare { text: String },
    /// A share is not between 0 and 1.
    #[error("share {name} is {fraction}, but a share is from 0 to 1")]
    ShareOutOfRange { name: &'static str, fraction: f64 },
    /// Shares that exclude each other are more than the whole.
    #[error("the shares {names} exclude each other, but are {sum} together, which is more than 1")]
    SharesAboveOne { names: String, sum: f64 },
    /// Sessions cannot arrive at this rate.
    #[error("a rate of {rate_per_s} sessions a second is not possible")]
    Rate { rate_per_s: f64 },
    /// Sessions cannot begin then.
    #[error("the first session cannot be at {time_ms} ms: the years 1970 to 9000 are possible")]
    Start { time_ms: i64 },
    /// No session could have this tenant.
    #[error("the tenant {tenant:?} is empty, too long, or has a control character")]
    Tenant { tenant: String },
    /// The networks of a country cannot be read.
    #[error("cannot read the networks of {country}")]
    Networks {
        country: String,
        #[source]
        source: geodata::Error,
    },
    /// Every city at home is without a position that is clear of prisons.
    #[error("no city of {country} has a position that is clear of the prisons in use")]
    NoHome { country: &'static str },
    /// The file cannot be made.
    #[error("cannot create {}", path.display())]
    Create {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A session or an expectation cannot be written.
    #[error("cannot write the samples")]
    Write {
        #[source]
        source: std::io::Error,
    },
    /// A session or the head of a container file cannot be written as Avro.
    #[error("cannot write the samples as Avro")]
    Avro {
        #[source]
        source: serde_avro_fast::ser::SerError,
    },
}

/// The result of sampling.
pub type Result<T> = std::result::Result<T, SampleError>;

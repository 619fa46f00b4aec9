//! The one error of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// Says which action on reference data failed, on which file, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} has {size_bytes} bytes, more than the {limit_bytes} that are read", path.display())]
    TooLarge { path: PathBuf, size_bytes: u64, limit_bytes: u64 },
    #[error("{} is empty", path.display())]
    Empty { path: PathBuf },
    #[error("{} is not a readable mmdb file", path.display())]
    Mmdb { path: PathBuf, source: maxminddb::MaxMindDbError },
    #[error("{} cannot serve {data_set}: {reason}", path.display())]
    Unfit { path: PathBuf, data_set: &'static str, reason: String },
    #[error("{} has no usable row: {reason}", path.display())]
    NoUsableRow { path: PathBuf, reason: String },
    #[error("{} is not valid: {reason}", path.display())]
    Invalid { path: PathBuf, reason: String },
    #[error("feature {index} of {} is not valid: {reason}", path.display())]
    Feature { path: PathBuf, index: usize, reason: String },
    #[error("line {line} of {} is not valid: {reason}", path.display())]
    Row { path: PathBuf, line: u64, reason: String },
    #[error("{} is not valid GeoJSON", path.display())]
    GeoJson { path: PathBuf, source: serde_json::Error },
    #[error("{} is not valid JSON", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{} is not valid CSV", path.display())]
    Csv { path: PathBuf, source: csv::Error },
    #[error("{} is not a valid manifest", path.display())]
    Manifest { path: PathBuf, source: Box<toml::de::Error> },
    #[error("the built-in country boundaries cannot be read: {reason}")]
    Boundaries { reason: String },
    #[error("unknown data set {name:?}{suggestion}")]
    UnknownDataSet { name: String, suggestion: String },
    #[error("data set {name} is not supported yet")]
    UnsupportedDataSet { name: &'static str },
    #[error("unknown format {name:?}; known are {known}")]
    UnknownFormat { name: String, known: String },
    #[error("{argument:?} does not name a data file; write NAME=FILE or NAME:FORMAT=FILE")]
    Override { argument: String },
    #[error("{client} is not installed; {advice}")]
    ClientMissing { client: &'static str, advice: &'static str },
    #[error("{command} failed{status}: {output}")]
    ClientFailed { command: String, status: String, output: String },
    #[error("cannot run {client}")]
    ClientBroken { client: &'static str, source: io::Error },
    #[error("{} has sha256 {found}, but {expected} is expected", path.display())]
    HashMismatch { path: PathBuf, expected: String, found: String },
    #[error("{package} does not contain {file}")]
    MissingInPackage { package: String, file: String },
    #[error("cannot unpack {}", path.display())]
    Unpack { path: PathBuf, source: io::Error },
}

impl Error {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Write { path: path.to_owned(), source }
    }

    pub(crate) fn mmdb(path: &Path) -> impl FnOnce(maxminddb::MaxMindDbError) -> Error + '_ {
        move |source| Error::Mmdb { path: path.to_owned(), source }
    }

    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Error {
        Error::Invalid { path: path.to_owned(), reason: reason.into() }
    }
}

/// The result of an action on reference data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

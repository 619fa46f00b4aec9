//! Reference data about addresses and places: reading it, asking it, and installing it.
//!
//! The data is loaded once, stamped with its hash and never changed, and a lookup is a pure function of it:
//! no clock, no network, no disk. What is not known is none, which is never the same as no.
//!
//! Read [`DataSets`] first, which opens everything; then [`IpData::lookup`] in `ip.rs` with the tables
//! behind it (`mmdb.rs`, `autonomous_system.rs`, `network_list.rs`, `ranges.rs`), and [`Places`] in
//! `places.rs` with the geometry behind it (`polygon.rs`, `distance.rs`, `prison_file.rs`). How data comes
//! onto a machine is in `manifest.rs`, `install.rs` and `client.rs`.

mod address;
mod autonomous_system;
mod client;
mod dataset;
mod distance;
mod error;
mod file;
mod install;
mod ip;
mod iporigin;
mod manifest;
mod mmdb;
mod name;
mod network_list;
mod places;
mod polygon;
mod prison_file;
mod ranges;
mod settings;

pub use address::{Embedding, reserved, unwrap_embedded};
pub use dataset::{DataConfig, DataOverride, DataSetInUse, DataSets, NetworkChoice};
pub use distance::{Position, distance_m};
pub use error::{Error, Result};
pub use install::{DataSetStatus, InstallReport, InstallState, Progress, Selection, install, status, verify};
pub use ip::{IpData, IpFacts};
pub use manifest::{Manifest, ManifestDataSet, ManifestFile, Source};
pub use name::{AddressClass, DataSetName, Format};
pub use network_list::RejectedRows;
pub use places::{
    NEAR_DISTANCE_M, POINT_ACCURACY_M_ASSUMED, POINT_ACCURACY_M_MAX, Places, PrisonFacts, PrisonHint,
    PrisonSite, SEARCH_DISTANCE_M,
};
pub use ranges::{AddressRange, RangeSet};

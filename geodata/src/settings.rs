//! From settings, as a configuration file has them, to the data sets to open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::dataset::{DataConfig, DataOverride};
use crate::error::Result;

impl DataConfig {
    /// Returns what to open: the installed data sets of a folder, and files in the place of some of them, by `NAME` or
    /// `NAME:FORMAT`.
    pub fn from_settings(assets_folder: &Path, files: &BTreeMap<String, Vec<PathBuf>>) -> Result<DataConfig> {
        let mut overrides = Vec::new();
        for (name, paths) in files {
            for path in paths {
                overrides.push(format!("{name}={}", path.display()).parse::<DataOverride>()?);
            }
        }
        Ok(DataConfig { assets_folder: Some(assets_folder.to_owned()), overrides })
    }
}

//! Tests of the crate through its public interface.
#![allow(clippy::unwrap_used)]

mod hostile;
mod install;
mod ip;
mod places;
mod reference;

use std::path::{Path, PathBuf};

use geodata::{DataConfig, DataSets, Result};

/// A file of `tests/data`.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Opens data sets from `NAME=FILE` arguments alone.
fn open(arguments: &[String]) -> Result<DataSets> {
    let overrides: Result<_> = arguments.iter().map(|argument| argument.parse()).collect();
    DataSets::open(&DataConfig { assets_folder: None, overrides: overrides? })
}

/// A folder with files of the given names and contents.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// The whole chain of an error's causes, as a user sees it.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

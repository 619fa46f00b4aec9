//! Opening the data sets of a deployment: what is installed, and files put in the place of some of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::{DataFile, sha256_of_bytes, sha256_of_file};
use crate::install::Record;
use crate::ip::IpData;
use crate::name::{AddressClass, DataSetName, Format};
use crate::network_list::RejectedRows;
use crate::places::Places;
use crate::ranges::AddressRange;

/// Where the data sets of a deployment are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataConfig {
    /// The folder into which data sets were installed; one that is not there has none.
    pub assets_folder: Option<PathBuf>,
    /// Files in the place of data sets; several of one name are used together.
    pub overrides: Vec<DataOverride>,
}

/// A file, or a folder of files, in the place of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataOverride {
    pub name: DataSetName,
    /// None where the format is to be told from the file.
    pub format: Option<Format>,
    pub path: PathBuf,
}

impl FromStr for DataOverride {
    type Err = Error;

    /// Reads `NAME=FILE` or `NAME:FORMAT=FILE`.
    fn from_str(text: &str) -> Result<DataOverride> {
        let bad = || Error::Override { argument: text.to_owned() };
        let (key, path) = text.split_once('=').ok_or_else(bad)?;
        if key.is_empty() || path.is_empty() {
            return Err(bad());
        }
        let (name, format) = match key.split_once(':') {
            Some((name, format)) => (name, Some(format.parse()?)),
            None => (key, None),
        };
        let name = name.parse::<DataSetName>()?.supported()?;
        Ok(DataOverride { name, format, path: PathBuf::from(path) })
    }
}

/// The data sets in use, ready for lookups; cheap to clone.
#[derive(Clone)]
pub struct DataSets {
    /// Facts about addresses.
    pub ip: Arc<IpData>,
    /// Facts about positions.
    pub places: Arc<Places>,
    /// The content hash of each data set in use, as `sha256:…` by name.
    pub hashes: BTreeMap<String, String>,
    in_use: Arc<[DataSetInUse]>,
}

/// One data set in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSetInUse {
    pub name: DataSetName,
    pub files: Vec<PathBuf>,
    /// `sha256:…` of the file, or of the hashes of several files in their order.
    pub hash: String,
    /// The day of the data; none for a file that was put in its place.
    pub date: Option<String>,
    /// After how many days from that date the data is stale; none where it does not age.
    pub age_days_max: Option<u32>,
    pub rejected_rows: RejectedRows,
}

impl DataSets {
    /// Opens everything that is installed or put in its place.
    ///
    /// A data set of which there is nothing is not configured, and lookups of it answer none. A file that
    /// is broken, empty or half-written is refused with its name and the reason. The hash of an installed
    /// file is taken from the record of the installation, as long as size and time of the file are the same.
    pub fn open(config: &DataConfig) -> Result<DataSets> {
        let record = match &config.assets_folder {
            Some(folder) => Record::read(folder)?,
            None => Record::default(),
        };
        let mut ip = IpData::default();
        let mut places = None;
        let mut in_use = Vec::new();
        for name in DataSetName::ALL {
            let Some(chosen) = choose(config, &record, name)? else { continue };
            let files: Vec<DataFile<'_>> = chosen
                .files
                .iter()
                .map(|(path, format)| DataFile { path, format: *format, is_verified: chosen.is_verified })
                .collect();
            let rejected_rows = match name.supported()? {
                DataSetName::PlacesPrisons => {
                    places = Some(Places::open(&files)?);
                    RejectedRows::default()
                }
                name => ip.load(name, &files)?,
            };
            in_use.push(DataSetInUse {
                name,
                hash: format!("sha256:{}", joined_hash(&chosen.hashes)),
                files: chosen.files.into_iter().map(|(path, _)| path).collect(),
                date: chosen.date,
                age_days_max: chosen.age_days_max,
                rejected_rows,
            });
        }
        let places = match places {
            Some(places) => places,
            None => Places::without_prisons()?,
        };
        let hashes = in_use.iter().map(|data_set| (data_set.name.to_string(), data_set.hash.clone()));
        Ok(DataSets {
            ip: Arc::new(ip),
            places: Arc::new(places),
            hashes: hashes.collect(),
            in_use: in_use.into(),
        })
    }

    /// Returns the data sets in use, in the order of their names' definition.
    pub fn in_use(&self) -> &[DataSetInUse] {
        &self.in_use
    }

    /// Returns whether a data set is in use.
    pub fn is_configured(&self, name: DataSetName) -> bool {
        self.in_use.iter().any(|data_set| data_set.name == name)
    }

    /// Returns what is doubtful about the data in use, in sentences for people.
    pub fn warnings(&self) -> Vec<String> {
        let rejected = self.in_use.iter().filter(|data_set| data_set.rejected_rows.count() > 0);
        let rejected = rejected.map(|data_set| format!("{}: {}", data_set.name, data_set.rejected_rows));
        rejected.chain(self.places.warnings().iter().cloned()).collect()
    }

    /// Returns real networks from which a sampler can draw addresses.
    pub fn networks(&self, choice: NetworkChoice<'_>) -> Result<Vec<AddressRange>> {
        match choice {
            NetworkChoice::Country(code) => self.ip.country_networks(code),
            NetworkChoice::Class(class) => Ok(self.ip.class_networks(class)),
        }
    }
}

/// Which networks are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkChoice<'a> {
    /// The IPv4 networks of a country, by ISO 3166-1 alpha-2.
    Country(&'a str),
    /// The networks of both families that a list names.
    Class(AddressClass),
}

struct Chosen {
    files: Vec<(PathBuf, Option<Format>)>,
    hashes: Vec<String>,
    is_verified: bool,
    date: Option<String>,
    age_days_max: Option<u32>,
}

/// Returns the files of a data set: those put in its place, or else those installed.
fn choose(config: &DataConfig, record: &Record, name: DataSetName) -> Result<Option<Chosen>> {
    let overrides: Vec<&DataOverride> =
        config.overrides.iter().filter(|choice| choice.name == name).collect();
    if !overrides.is_empty() {
        let mut files = Vec::new();
        for choice in overrides {
            files.extend(files_of(&choice.path)?.into_iter().map(|path| (path, choice.format)));
        }
        let hashes: Result<Vec<String>> = files.iter().map(|(path, _)| sha256_of_file(path)).collect();
        return Ok(Some(Chosen {
            files,
            hashes: hashes?,
            is_verified: false,
            date: None,
            age_days_max: None,
        }));
    }
    let (Some(folder), Some(entry)) = (&config.assets_folder, record.get(name)) else { return Ok(None) };
    let format = entry.format()?;
    let mut files = Vec::with_capacity(entry.file.len());
    for file in &entry.file {
        files.push((file.checked_path(folder)?, format));
    }
    let hashes = entry.file.iter().map(|file| file.sha256.clone()).collect();
    Ok(Some(Chosen {
        files,
        hashes,
        is_verified: true,
        date: Some(entry.date.clone()),
        age_days_max: entry.age_days_max,
    }))
}

/// Returns a file, or the files of a folder in the order of their names.
fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::read(path))? {
        let entry = entry.map_err(Error::read(path))?;
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !is_hidden && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    if files.is_empty() {
        return Err(Error::invalid(path, "the folder has no file"));
    }
    files.sort_unstable();
    Ok(files)
}

/// One file keeps its own hash, so that people can compare it.
fn joined_hash(hashes: &[String]) -> String {
    match hashes {
        [hash] => hash.clone(),
        hashes => sha256_of_bytes(hashes.concat().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn overrides_are_read_as_the_command_line_writes_them() {
        let parsed: DataOverride = "ip.tor=/data/tor=1.txt".parse().unwrap();
        assert_eq!(parsed.name, DataSetName::IpTor);
        assert_eq!((parsed.format, parsed.path), (None, PathBuf::from("/data/tor=1.txt")));
        let parsed: DataOverride = "ip.blacklist:counted=a:b.txt".parse().unwrap();
        assert_eq!((parsed.format, parsed.path), (Some(Format::Counted), PathBuf::from("a:b.txt")));

        let refuse = |text: &str| text.parse::<DataOverride>().unwrap_err();
        assert!(matches!(refuse("ip.tor"), Error::Override { .. }));
        assert!(matches!(refuse("ip.tor="), Error::Override { .. }));
        assert!(matches!(refuse("ip.torr=x"), Error::UnknownDataSet { .. }));
        assert!(matches!(refuse("ip.tor:excel=x"), Error::UnknownFormat { .. }));
        assert!(matches!(refuse("places.postal=x"), Error::UnsupportedDataSet { .. }));
    }
}

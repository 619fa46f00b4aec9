//! Fetching data sets with the ordinary clients of their registries, verifying and keeping them.
//!
//! A file comes to its place by rename, after its hash was found right, and the record of what is installed
//! is written after each data set: an installation that is cut off goes on where it was. Installed files are
//! never written in place, so a process that has one mapped keeps the bytes it opened.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use flate2::read::GzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::client::{self, Fetched};
use crate::error::{Error, Result};
use crate::file::{hexadecimal, sha256_of_file};
use crate::manifest::{Manifest, ManifestDataSet, ManifestFile, Source, bundled};
use crate::name::{DataSetName, Format};

const RECORD_NAME: &str = "installed.toml";

/// Which data sets of a manifest are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Those that the manifest marks as default.
    #[default]
    Default,
    /// All of them.
    All,
    /// These.
    Names(Vec<DataSetName>),
}

/// What an installation is doing, for those who watch it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The data set is there, and nothing is to be done.
    Present { name: DataSetName },
    /// A client fetches the source; `size_bytes` is the size of the files wanted from it, unpacked.
    Fetching { name: DataSetName, source: &'a Source, size_bytes: u64 },
    /// The client is still at work.
    Waiting { name: DataSetName, elapsed_s: u64 },
    /// A file is unpacked or read and its hash computed.
    Checking { name: DataSetName, file: &'a str },
    /// The data set is ready for use.
    Installed { name: DataSetName },
}

/// What an installation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallReport {
    pub installed: Vec<DataSetName>,
    pub present: Vec<DataSetName>,
    /// The size of the files of all data sets chosen, each counted once.
    pub size_bytes: u64,
}

/// How a data set of a manifest stands in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSetStatus {
    pub name: DataSetName,
    pub state: InstallState,
    /// The files that are in use, if any.
    pub files: Vec<PathBuf>,
}

/// Whether a data set can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallState {
    /// Nothing is installed.
    Missing,
    /// The files of the manifest are installed.
    Installed,
    /// Another version is installed, and can be used.
    OtherVersion { source: String },
    /// A file is gone, or is not as it was installed.
    Damaged { reason: String },
}

/// Installs the chosen data sets of a manifest into `folder`, which is created where it is missing.
///
/// What is there already is left alone, unless it is damaged or another version. Files that the record no
/// longer names are removed.
pub fn install(
    manifest: &Manifest,
    folder: &Path,
    selection: &Selection,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<InstallReport> {
    fs::create_dir_all(folder).map_err(Error::write(folder))?;
    let mut record = Record::read(folder)?;
    let mut report = InstallReport::default();
    let mut paths: Vec<PathBuf> = Vec::new();
    for data_set in chosen(manifest, selection)? {
        let name = data_set.name;
        for file in &data_set.files {
            let path = relative_path(data_set, file);
            if !paths.contains(&path) {
                report.size_bytes += file.size_bytes;
                paths.push(path);
            }
        }
        if record.state(folder, data_set, Check::Quick) == InstallState::Installed {
            progress(Progress::Present { name });
            report.present.push(name);
            continue;
        }
        // Several data sets may share a file, and an earlier run may have been cut off after placing it.
        if !are_files_right(folder, data_set, progress)? {
            place_files(folder, data_set, progress)?;
        }
        record.set(folder, data_set)?;
        record.write(folder)?;
        progress(Progress::Installed { name });
        report.installed.push(name);
    }
    record.remove_unused_files(folder);
    Ok(report)
}

/// Returns how each data set of the manifest stands, by size and time of the files: quick, and blind to
/// damage that keeps both.
pub fn status(manifest: &Manifest, folder: &Path) -> Result<Vec<DataSetStatus>> {
    states(manifest, folder, Check::Quick)
}

/// Returns how each data set of the manifest stands, by computing the hash of every file.
pub fn verify(manifest: &Manifest, folder: &Path) -> Result<Vec<DataSetStatus>> {
    states(manifest, folder, Check::Hash)
}

fn states(manifest: &Manifest, folder: &Path, check: Check) -> Result<Vec<DataSetStatus>> {
    let record = Record::read(folder)?;
    let status = |data_set: &ManifestDataSet| DataSetStatus {
        name: data_set.name,
        state: record.state(folder, data_set, check),
        files: record
            .get(data_set.name)
            .map_or_else(Vec::new, |entry| entry.file.iter().map(|file| folder.join(&file.path)).collect()),
    };
    Ok(manifest.data_sets().iter().map(status).collect())
}

fn chosen<'m>(manifest: &'m Manifest, selection: &Selection) -> Result<Vec<&'m ManifestDataSet>> {
    match selection {
        Selection::Default => {
            Ok(manifest.data_sets().iter().filter(|data_set| data_set.is_default).collect())
        }
        Selection::All => Ok(manifest.data_sets().iter().collect()),
        Selection::Names(names) => names
            .iter()
            .map(|name| {
                let name = name.supported()?;
                manifest.get(name).ok_or_else(|| Error::UnknownDataSet {
                    name: name.to_string(),
                    suggestion: "; the manifest has no source for it, give a file instead".to_owned(),
                })
            })
            .collect(),
    }
}

/// The place of a file below the folder: its own name in a folder named after the source.
fn relative_path(data_set: &ManifestDataSet, file: &ManifestFile) -> PathBuf {
    let source = match &data_set.source {
        Source::Npm { package, version } => format!("npm-{package}-{version}"),
        Source::Pypi { package, version } => format!("pypi-{package}-{version}"),
        Source::Url { .. } => format!("url-{}", &file.sha256[..12]),
        Source::File { .. } => format!("file-{}", &file.sha256[..12]),
        Source::Bundled => format!("bundled-{}", &file.sha256[..12]),
    };
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    let folder: String =
        source.chars().filter(|letter| *letter != '@').map(|c| if is_plain(c) { c } else { '-' }).collect();
    Path::new(&folder).join(file.file_name())
}

fn are_files_right(
    folder: &Path,
    data_set: &ManifestDataSet,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<bool> {
    for file in &data_set.files {
        let path = folder.join(relative_path(data_set, file));
        if !path.is_file() {
            return Ok(false);
        }
        progress(Progress::Checking { name: data_set.name, file: file.file_name() });
        if sha256_of_file(&path)? != file.sha256 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn place_files(
    folder: &Path,
    data_set: &ManifestDataSet,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    let size_bytes = data_set.files.iter().map(|file| file.size_bytes).sum();
    progress(Progress::Fetching { name: data_set.name, source: &data_set.source, size_bytes });
    let work = WorkFolder::new(folder)?;
    let mut waiting = |elapsed_s| progress(Progress::Waiting { name: data_set.name, elapsed_s });
    let fetched = client::fetch(&data_set.source, &work.path, &mut waiting)?;
    for file in &data_set.files {
        progress(Progress::Checking { name: data_set.name, file: file.file_name() });
        let place = folder.join(relative_path(data_set, file));
        let part = work.path.join(format!("{}.part", file.file_name()));
        let found = match &fetched {
            Fetched::Bundled => {
                let bytes = bundled(&file.path).ok_or_else(|| missing(data_set, file))?;
                write_part(bytes, file, &part)?
            }
            Fetched::Archive(archive) => unpack(archive, data_set, file, &part)?,
            Fetched::File(path) => write_part(File::open(path).map_err(Error::read(path))?, file, &part)?,
        };
        if found != file.sha256 {
            return Err(Error::HashMismatch { path: place, expected: file.sha256.clone(), found });
        }
        let parent = place.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(Error::write(parent))?;
        fs::rename(&part, &place).map_err(Error::write(&place))?;
    }
    Ok(())
}

fn missing(data_set: &ManifestDataSet, file: &ManifestFile) -> Error {
    Error::MissingInPackage { package: data_set.source.to_string(), file: file.path.clone() }
}

/// Writes one file of an archive to `part` and returns its hash.
fn unpack(archive: &Path, data_set: &ManifestDataSet, file: &ManifestFile, part: &Path) -> Result<String> {
    let broken = |source: io::Error| Error::Unpack { path: archive.to_owned(), source };
    let reader = File::open(archive).map_err(Error::read(archive))?;
    let is_zip = archive.extension().is_some_and(|extension| extension == "whl" || extension == "zip");
    if is_zip {
        let mut archive = zip::ZipArchive::new(reader).map_err(|error| broken(io::Error::other(error)))?;
        return match archive.by_name(&file.path) {
            Ok(entry) => write_part(entry, file, part),
            Err(zip::result::ZipError::FileNotFound) => Err(missing(data_set, file)),
            Err(error) => Err(broken(io::Error::other(error))),
        };
    }
    let mut archive = tar::Archive::new(GzDecoder::new(reader));
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        if entry.path_bytes().as_ref() == file.path.as_bytes() {
            return write_part(entry, file, part);
        }
    }
    Err(missing(data_set, file))
}

/// Writes at most one byte more than the file should have, so that a bomb is cut short and its hash wrong.
fn write_part(reader: impl Read, file: &ManifestFile, part: &Path) -> Result<String> {
    let mut reader = reader.take(file.size_bytes + 1);
    let mut output = File::create(part).map_err(Error::write(part))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = reader
            .read(&mut buffer)
            .map_err(|source| Error::Unpack { path: PathBuf::from(&file.path), source })?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        output.write_all(&buffer[..count]).map_err(Error::write(part))?;
    }
    output.sync_all().map_err(Error::write(part))?;
    Ok(hexadecimal(&hasher.finalize()))
}

/// A folder beside the data for what is half done; it goes when this is dropped.
struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    fn new(folder: &Path) -> Result<WorkFolder> {
        let path = folder.join(format!(".fetching-{}", std::process::id()));
        // What another process of the same number left behind is of no use.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(Error::write(&path))?;
        Ok(WorkFolder { path })
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // The data is in its place; a folder that cannot be removed costs space only.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    Quick,
    Hash,
}

/// What is installed in a folder, with the hashes found at that time.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    #[serde(default)]
    data_set: Vec<RecordedDataSet>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedDataSet {
    name: String,
    source: String,
    pub format: Option<String>,
    pub date: String,
    pub age_days_max: Option<u32>,
    pub file: Vec<RecordedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedFile {
    path: String,
    pub sha256: String,
    size_bytes: u64,
    /// With the size, what tells that the hash need not be computed again.
    modified_us: i64,
}

impl RecordedDataSet {
    pub(crate) fn format(&self) -> Result<Option<Format>> {
        self.format.as_deref().map(str::parse).transpose()
    }
}

impl RecordedFile {
    /// Returns the path, after making sure that the file is the one installed.
    ///
    /// A file of the recorded size and time is taken for it; of another time, its hash decides.
    pub(crate) fn checked_path(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(&self.path);
        let metadata = fs::metadata(&path).map_err(Error::read(&path))?;
        if metadata.len() != self.size_bytes {
            let reason = format!("it has {} bytes, but {} were installed", metadata.len(), self.size_bytes);
            return Err(Error::Invalid { path, reason });
        }
        if modified_us(&metadata) != self.modified_us {
            self.check_hash(&path)?;
        }
        Ok(path)
    }

    fn check_hash(&self, path: &Path) -> Result<()> {
        let found = sha256_of_file(path)?;
        if found == self.sha256 {
            return Ok(());
        }
        Err(Error::HashMismatch { path: path.to_owned(), expected: self.sha256.clone(), found })
    }
}

impl Record {
    /// Reads the record of a folder; where there is none, nothing is installed.
    pub(crate) fn read(folder: &Path) -> Result<Record> {
        let path = folder.join(RECORD_NAME);
        match fs::read_to_string(&path) {
            Ok(text) => {
                toml::from_str(&text).map_err(|source| Error::Manifest { path, source: Box::new(source) })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// Returns what is recorded of a data set.
    pub(crate) fn get(&self, name: DataSetName) -> Option<&RecordedDataSet> {
        self.data_set.iter().find(|entry| entry.name == name.as_str())
    }

    fn state(&self, folder: &Path, data_set: &ManifestDataSet, check: Check) -> InstallState {
        let Some(entry) = self.get(data_set.name) else { return InstallState::Missing };
        for file in &entry.file {
            let checked = file.checked_path(folder).and_then(|path| match check {
                Check::Quick => Ok(()),
                Check::Hash => file.check_hash(&path),
            });
            if let Err(error) = checked {
                return InstallState::Damaged { reason: with_cause(&error) };
            }
        }
        let is_same = entry.file.len() == data_set.files.len()
            && entry.file.iter().zip(&data_set.files).all(|(found, wanted)| found.sha256 == wanted.sha256);
        if is_same {
            return InstallState::Installed;
        }
        InstallState::OtherVersion { source: entry.source.clone() }
    }

    fn set(&mut self, folder: &Path, data_set: &ManifestDataSet) -> Result<()> {
        let mut files = Vec::with_capacity(data_set.files.len());
        for file in &data_set.files {
            let relative = relative_path(data_set, file);
            let path = folder.join(&relative);
            let metadata = fs::metadata(&path).map_err(Error::read(&path))?;
            files.push(RecordedFile {
                path: relative.to_string_lossy().into_owned(),
                sha256: file.sha256.clone(),
                size_bytes: metadata.len(),
                modified_us: modified_us(&metadata),
            });
        }
        self.data_set.retain(|entry| entry.name != data_set.name.as_str());
        self.data_set.push(RecordedDataSet {
            name: data_set.name.to_string(),
            source: data_set.source.to_string(),
            format: data_set.format.map(|format| format.to_string()),
            date: data_set.date.clone(),
            age_days_max: data_set.age_days_max,
            file: files,
        });
        Ok(())
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let mut root = toml::Table::new();
        let entries = self.data_set.iter().map(|entry| toml::Value::Table(entry.table()));
        root.insert("data_set".to_owned(), toml::Value::Array(entries.collect()));
        let path = folder.join(RECORD_NAME);
        let part = folder.join(format!(".{RECORD_NAME}-{}", std::process::id()));
        let text =
            format!("# Written by `tamiz assets install`; remove a data set by removing its entry.\n{root}");
        let mut output = File::create(&part).map_err(Error::write(&part))?;
        output.write_all(text.as_bytes()).map_err(Error::write(&part))?;
        output.sync_all().map_err(Error::write(&part))?;
        fs::rename(&part, &path).map_err(Error::write(&path))
    }

    /// Removes files of folders that installations made and that no entry names any more.
    fn remove_unused_files(&self, folder: &Path) {
        let used: Vec<PathBuf> =
            self.data_set.iter().flat_map(|entry| &entry.file).map(|file| folder.join(&file.path)).collect();
        let prefixes = ["npm-", "pypi-", "url-", "file-", "bundled-"];
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_ours = prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix));
            if is_ours && !used.iter().any(|path| path.starts_with(entry.path())) {
                // Old data that cannot be removed costs space only.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl RecordedDataSet {
    fn table(&self) -> toml::Table {
        let text = |text: &str| toml::Value::String(text.to_owned());
        let mut table = toml::Table::new();
        table.insert("name".to_owned(), text(&self.name));
        table.insert("source".to_owned(), text(&self.source));
        if let Some(format) = &self.format {
            table.insert("format".to_owned(), text(format));
        }
        table.insert("date".to_owned(), text(&self.date));
        if let Some(age_days_max) = self.age_days_max {
            table.insert("age_days_max".to_owned(), toml::Value::Integer(age_days_max.into()));
        }
        let files = self.file.iter().map(|file| {
            let mut table = toml::Table::new();
            table.insert("path".to_owned(), text(&file.path));
            table.insert("sha256".to_owned(), text(&file.sha256));
            // No file comes near the limit of a signed number.
            let size_bytes = i64::try_from(file.size_bytes).unwrap_or(i64::MAX);
            table.insert("size_bytes".to_owned(), toml::Value::Integer(size_bytes));
            table.insert("modified_us".to_owned(), toml::Value::Integer(file.modified_us));
            toml::Value::Table(table)
        });
        table.insert("file".to_owned(), toml::Value::Array(files.collect()));
        table
    }
}

/// Where the file system keeps no times, 0: the hash is then computed at each start only if it ever changes.
fn modified_us(metadata: &fs::Metadata) -> i64 {
    let since_epoch = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since_epoch.and_then(|since_epoch| i64::try_from(since_epoch.as_micros()).ok()).unwrap_or(0)
}

fn with_cause(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

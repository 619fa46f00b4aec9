//! Installing from archives of this machine, and opening what was installed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use geodata::{
    DataConfig, DataSetName, DataSets, Error, InstallState, Manifest, Progress, Selection, install, status,
    verify,
};
use sha2::{Digest, Sha256};

use crate::{Folder, chain, data};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tgz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, path, *bytes).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn wheel(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, bytes) in files {
        archive.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn entry(name: &str, source: &str, files: &[(&str, &[u8])]) -> String {
    let files: String = files
        .iter()
        .map(|(path, bytes)| {
            let (sha256, size) = (sha256(bytes), bytes.len());
            format!("[[data_set.file]]\npath = \"{path}\"\nsha256 = \"{sha256}\"\nsize_bytes = {size}\n")
        })
        .collect();
    format!(
        "[[data_set]]\nname = \"{name}\"\ntitle = \"t\"\ndefault = true\ndate = \"2026-06-01\"\nage_days_max = 30\n\
         licence = \"CC0-1.0\"\nattribution = \"a\"\nsource = {source}\n{files}"
    )
}

/// A folder with archives and a manifest of three data sets, of which two share a file.
struct Case {
    folder: Folder,
    country: Vec<u8>,
}

impl Case {
    fn new() -> Case {
        let folder = Folder::new();
        let country = fs::read(data("flat-country.mmdb")).unwrap();
        folder.file("country.tgz", tgz(&[("package/README", b"x"), ("package/c.mmdb", &country)]));
        folder.file("lists.whl", wheel(&[("lists/all.txt", LIST), ("lists/other", b"")]));
        let case = Case { folder, country };
        case.write_manifest(&case.manifest_text());
        case
    }

    fn manifest_text(&self) -> String {
        let archive = r#"{ kind = "file", path = "lists.whl" }"#;
        [
            "version = 1\n".to_owned(),
            entry(
                "ip.country",
                r#"{ kind = "file", path = "country.tgz" }"#,
                &[("package/c.mmdb", &self.country)],
            ),
            entry("ip.tor", archive, &[("lists/all.txt", LIST)]),
            entry("ip.vpn", archive, &[("lists/all.txt", LIST)]),
        ]
        .concat()
    }

    fn write_manifest(&self, text: &str) {
        self.folder.file("manifest.toml", text);
    }

    fn manifest(&self) -> Manifest {
        Manifest::read(&self.folder.path().join("manifest.toml")).unwrap()
    }

    fn assets(&self) -> std::path::PathBuf {
        self.folder.path().join("assets")
    }

    fn install(&self) -> Result<(geodata::InstallReport, Vec<String>), Error> {
        let mut told = Vec::new();
        let report = install(&self.manifest(), &self.assets(), &Selection::Default, &mut |progress| {
            told.push(match progress {
                Progress::Present { name } => format!("present {name}"),
                Progress::Fetching { name, size_bytes, .. } => format!("fetching {name} {size_bytes}"),
                Progress::Checking { name, file } => format!("checking {name} {file}"),
                Progress::Installed { name } => format!("installed {name}"),
                progress => format!("{progress:?}"),
            });
        })?;
        Ok((report, told))
    }

    fn open(&self) -> Result<DataSets, Error> {
        DataSets::open(&DataConfig { assets_folder: Some(self.assets()), overrides: Vec::new() })
    }

    fn state(&self, name: DataSetName) -> InstallState {
        let found = verify(&self.manifest(), &self.assets()).unwrap();
        found.into_iter().find(|status| status.name == name).unwrap().state
    }
}

const LIST: &[u8] = b"185.220.101.33\n45.61.187.0/24\n";

fn file_named(folder: &Path, name: &str) -> std::path::PathBuf {
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    folders.map(|folder| folder.join(name)).find(|path| path.is_file()).unwrap()
}

#[test]
fn what_is_installed_is_found_and_a_second_run_does_nothing() {
    let case = Case::new();
    assert!(case.open().unwrap().in_use().is_empty(), "nothing is configured before");
    assert_eq!(case.state(DataSetName::IpTor), InstallState::Missing);

    let (report, told) = case.install().unwrap();
    assert_eq!(report.installed, [DataSetName::IpCountry, DataSetName::IpTor, DataSetName::IpVpn]);
    assert_eq!(report.size_bytes, (case.country.len() + LIST.len()) as u64, "a shared file counts once");
    assert_eq!(
        told,
        [
            format!("fetching ip.country {}", case.country.len()),
            "checking ip.country c.mmdb".to_owned(),
            "installed ip.country".to_owned(),
            format!("fetching ip.tor {}", LIST.len()),
            "checking ip.tor all.txt".to_owned(),
            "installed ip.tor".to_owned(),
            // The file is there from the data set before.
            "checking ip.vpn all.txt".to_owned(),
            "installed ip.vpn".to_owned(),
        ]
    );

    let data_sets = case.open().unwrap();
    let found = data_sets.ip.lookup("45.61.187.248".parse().unwrap());
    assert_eq!((found.tor_exit, found.vpn, found.datacenter), (Some(true), Some(true), None));
    assert_eq!(data_sets.ip.lookup("201.141.5.9".parse().unwrap()).country_code, Some("MX"));
    assert_eq!(data_sets.hashes["ip.tor"], format!("sha256:{}", sha256(LIST)));
    let tor = &data_sets.in_use()[1];
    assert_eq!((tor.date.as_deref(), tor.age_days_max), (Some("2026-06-01"), Some(30)));

    let (report, told) = case.install().unwrap();
    assert_eq!((report.installed.len(), report.present.len()), (0, 3));
    assert_eq!(told, ["present ip.country", "present ip.tor", "present ip.vpn"]);
    let left: Vec<_> = fs::read_dir(case.assets()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn a_file_put_in_its_place_hides_what_is_installed() {
    let case = Case::new();
    case.install().unwrap();
    let own = case.folder.file("own.txt", "9.9.9.9\n");
    let data_sets = DataSets::open(&DataConfig {
        assets_folder: Some(case.assets()),
        overrides: vec![format!("ip.tor={}", own.display()).parse().unwrap()],
    })
    .unwrap();
    assert_eq!(data_sets.ip.lookup("185.220.101.33".parse().unwrap()).tor_exit, Some(false));
    assert_eq!(data_sets.ip.lookup("9.9.9.9".parse().unwrap()).tor_exit, Some(true));
    assert_eq!(data_sets.ip.lookup("185.220.101.33".parse().unwrap()).vpn, Some(true));
    assert_eq!(data_sets.hashes["ip.tor"], format!("sha256:{}", sha256(b"9.9.9.9\n")));
}

#[test]
fn damage_is_found_named_and_repaired() {
    let case = Case::new();
    case.install().unwrap();
    let path = file_named(&case.assets(), "c.mmdb");

    // Half-written: the size differs.
    fs::write(&path, &case.country[..case.country.len() / 2]).unwrap();
    let message = chain(&case.open().err().unwrap());
    assert!(message.contains("c.mmdb") && message.contains("were installed"), "{message}");
    assert!(matches!(case.state(DataSetName::IpCountry), InstallState::Damaged { .. }));
    assert_eq!(case.install().unwrap().0.installed, [DataSetName::IpCountry]);
    assert_eq!(case.state(DataSetName::IpCountry), InstallState::Installed);

    // Changed within its size: the time differs, so the hash is computed.
    let mut changed = case.country.clone();
    changed[10] ^= 1;
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, &changed).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(modified + std::time::Duration::from_secs(1)).unwrap();
    assert!(matches!(case.open(), Err(Error::HashMismatch { .. })));

    // With its time kept, only the full check sees it.
    file.set_modified(modified).unwrap();
    let quick = status(&case.manifest(), &case.assets()).unwrap();
    assert_eq!(quick[0].state, InstallState::Installed);
    assert!(matches!(case.state(DataSetName::IpCountry), InstallState::Damaged { .. }));

    // The same bytes at another time are the same file.
    fs::write(&path, &case.country).unwrap();
    assert_eq!(case.state(DataSetName::IpCountry), InstallState::Installed);
    assert!(case.open().is_ok());

    fs::remove_file(&path).unwrap();
    let message = chain(&case.open().err().unwrap());
    assert!(message.contains("cannot read") && message.contains("c.mmdb"), "{message}");
}

#[test]
fn a_wrong_hash_keeps_what_was_there() {
    let case = Case::new();
    case.install().unwrap();
    let other = fs::read(data("nested-city.mmdb")).unwrap();
    case.folder.file("country.tgz", tgz(&[("package/c.mmdb", &other)]));
    let wanted = sha256(b"something else");
    case.write_manifest(&case.manifest_text().replace(&sha256(&case.country), &wanted));

    let error = case.install().unwrap_err();
    assert!(matches!(&error, Error::HashMismatch { expected, .. } if *expected == wanted), "{error}");
    assert_eq!(case.open().unwrap().ip.lookup("201.141.5.9".parse().unwrap()).country_code, Some("MX"));
    assert!(matches!(case.state(DataSetName::IpCountry), InstallState::OtherVersion { .. }));
}

#[test]
fn a_new_version_replaces_the_old_and_its_files() {
    let case = Case::new();
    case.install().unwrap();
    let old = file_named(&case.assets(), "all.txt");
    let list = b"1.1.1.1\n";
    case.folder.file("lists.whl", wheel(&[("lists/all.txt", list)]));
    let text = case.manifest_text().replace(&sha256(LIST), &sha256(list));
    case.write_manifest(&text.replace(&format!("size_bytes = {}\n", LIST.len()), "size_bytes = 8\n"));
    let (report, _) = case.install().unwrap();
    assert_eq!(report.installed, [DataSetName::IpTor, DataSetName::IpVpn]);
    assert!(!old.exists());
    assert_eq!(case.open().unwrap().ip.lookup("1.1.1.1".parse().unwrap()).tor_exit, Some(true));
}

#[test]
fn an_installation_cut_off_goes_on_where_it_was() {
    let case = Case::new();
    fs::rename(case.folder.path().join("lists.whl"), case.folder.path().join("away")).unwrap();
    let message = chain(&case.install().unwrap_err());
    assert!(message.contains("lists.whl"), "{message}");
    assert_eq!(case.open().unwrap().in_use().len(), 1);
    // A process that died left its work behind.
    fs::create_dir_all(case.assets().join(".fetching-0")).unwrap();

    fs::rename(case.folder.path().join("away"), case.folder.path().join("lists.whl")).unwrap();
    let (report, _) = case.install().unwrap();
    assert_eq!((report.present.len(), report.installed.len()), (1, 2));
}

#[test]
fn archives_that_are_not_what_they_should_be_are_refused() {
    let case = Case::new();
    case.folder.file("country.tgz", tgz(&[("package/other", b"x")]));
    assert!(matches!(case.install().unwrap_err(), Error::MissingInPackage { .. }));
    case.folder.file("country.tgz", b"not an archive");
    assert!(matches!(case.install().unwrap_err(), Error::Unpack { .. }));
    // A file larger than it should be is cut one byte after its end, whatever its true size.
    let bomb = vec![0; 50_000_000];
    case.folder.file("country.tgz", tgz(&[("package/c.mmdb", &bomb)]));
    let found = case.install().unwrap_err();
    let cut = sha256(&bomb[..=case.country.len()]);
    assert!(matches!(&found, Error::HashMismatch { found, .. } if *found == cut), "{found}");
}

#[test]
fn a_broken_record_is_named() {
    let case = Case::new();
    case.install().unwrap();
    fs::write(case.assets().join("installed.toml"), "data_set = 7").unwrap();
    let message = chain(&case.open().err().unwrap());
    assert!(message.contains("installed.toml"), "{message}");
}

#[test]
fn only_what_the_manifest_has_can_be_chosen() {
    let case = Case::new();
    let choose = |name| {
        install(&case.manifest(), &case.assets(), &Selection::Names(vec![name]), &mut |_| {}).unwrap_err()
    };
    assert!(matches!(choose(DataSetName::IpProxy), Error::UnknownDataSet { .. }));
    assert!(matches!(choose(DataSetName::PlacesPostal), Error::UnsupportedDataSet { .. }));
}

#[test]
fn the_bundled_prisons_install_without_a_network_and_give_hints() {
    let folder = Folder::new();
    let names = Selection::Names(vec![DataSetName::PlacesPrisons]);
    install(&Manifest::built_in().unwrap(), folder.path(), &names, &mut |_| {}).unwrap();
    let config = DataConfig { assets_folder: Some(folder.path().to_owned()), overrides: Vec::new() };
    let data_sets = DataSets::open(&config).unwrap();
    assert!(data_sets.places.prison_count() > 10);
    let altiplano = geodata::Position::new(19.420583, -99.748747).unwrap();
    let found = data_sets.places.prison(altiplano);
    assert_eq!(found.inside, None, "a point of 100 m accuracy proves nothing");
    assert!(found.low_confidence_hint.unwrap().name.contains("Altiplano"));
    let closed = geodata::Position::new(25.725033, -100.344700).unwrap();
    assert_eq!(data_sets.places.prison(closed).low_confidence_hint, None);
    for site in data_sets.places.prisons() {
        assert_eq!(data_sets.places.country(site.position), Some("MX"), "{}", site.name);
    }
}

#[test]
fn an_address_is_fetched_by_curl() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("curl is not installed, nothing to test");
        return;
    }
    let case = Case::new();
    let url = format!("{{ kind = \"url\", url = \"file://{}/lists.whl\" }}", case.folder.path().display());
    case.write_manifest(&format!("version = 1\n{}", entry("ip.tor", &url, &[("lists/all.txt", LIST)])));
    assert_eq!(case.install().unwrap().0.installed, [DataSetName::IpTor]);

    let gone = format!("{{ kind = \"url\", url = \"file://{}/gone\" }}", case.folder.path().display());
    case.write_manifest(&format!("version = 1\n{}", entry("ip.vpn", &gone, &[("gone", LIST)])));
    let message = chain(&case.install().unwrap_err());
    assert!(message.contains("curl") && message.contains("failed with exit status"), "{message}");
}

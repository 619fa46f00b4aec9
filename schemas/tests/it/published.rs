//! Every version ever published stays in `published/`, and new readers read what old writers wrote.

use apache_avro::schema_compatibility::SchemaCompatibility;
use schemas::PUBLISHED;
use schemas::codec::VERSIONS;
use std::path::Path;

/// With `TAMIZ_PUBLISH=1` a version not published yet is written; one that is published is never changed.
#[test]
fn the_newest_versions_are_published_as_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("published");
    for schema in PUBLISHED {
        let path = folder.join(format!("{}.avsc", schema.file));
        if !path.exists() && std::env::var_os("TAMIZ_PUBLISH").is_some() {
            std::fs::write(&path, schema.json).unwrap();
        }
        let published = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; publish it with TAMIZ_PUBLISH=1", path.display()));
        assert_eq!(
            published, schema.json,
            "{} differs from what was published: give the change a new version",
            schema.file
        );
    }
}

#[test]
fn new_readers_read_what_every_old_version_wrote() {
    let name = |file: &str| file.rsplit_once(".v").map(|(name, _)| name.to_owned());
    for old in VERSIONS {
        let new = PUBLISHED.iter().find(|new| name(new.file) == name(old.file));
        let new = new.unwrap_or_else(|| panic!("{} has no reader any more", old.file));
        let [writer, reader] = [old.json, new.json].map(|json| apache_avro::Schema::parse_str(json).unwrap());
        SchemaCompatibility::can_read(&writer, &reader)
            .unwrap_or_else(|error| panic!("{} cannot read {}: {error}", new.file, old.file));
    }
    assert!(VERSIONS.len() >= PUBLISHED.len());
}

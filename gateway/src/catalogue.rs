//! The schemas of what is on the topics, by id and by subject, as a schema registry names them.

use crate::error::GatewayError;
use apache_avro::Schema;
use pipeline::registry::subjects;
use schemas::codec::{VERSIONS, default_id};
use schemas::{Codec, Published};
use std::collections::BTreeMap;

/// Every schema that a record of ours may have been written with.
pub(crate) struct Catalogue {
    by_id: BTreeMap<u32, &'static Published>,
    subjects: BTreeMap<String, Vec<Version>>,
}

/// A version of a subject; its number is its place in the list, from 1.
#[derive(Clone, Copy)]
pub(crate) struct Version {
    pub(crate) id: u32,
    pub(crate) schema: &'static Published,
    /// Depends on nothing but what the schema says; two texts of one schema have the same.
    fingerprint: u32,
}

impl Catalogue {
    /// Makes the catalogue of a codec's schemas in all their versions.
    pub(crate) fn of(codec: &Codec, topic_prefix: &str) -> Result<Self, GatewayError> {
        let mut catalogue = Self { by_id: BTreeMap::new(), subjects: BTreeMap::new() };
        for (id, newest) in codec.schemas() {
            let mut versions = older_versions(newest)?;
            versions.push(Version { id, schema: newest, fingerprint: fingerprint(newest)? });
            catalogue.by_id.extend(versions.iter().map(|version| (version.id, version.schema)));
            for subject in subjects(topic_prefix, newest) {
                catalogue.subjects.insert(subject, versions.clone());
            }
        }
        Ok(catalogue)
    }

    /// Returns a schema.
    pub(crate) fn schema(&self, id: u32) -> Option<&'static Published> {
        self.by_id.get(&id).copied()
    }

    /// Returns the names of the subjects, in order.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &str> {
        self.subjects.keys().map(String::as_str)
    }

    /// Returns the versions of a subject, the oldest first.
    pub(crate) fn versions(&self, subject: &str) -> Option<&[Version]> {
        self.subjects.get(subject).map(Vec::as_slice)
    }

    /// Returns where a schema stands, as subjects with the numbers of versions.
    pub(crate) fn places(&self, id: u32) -> impl Iterator<Item = (&str, usize)> {
        self.subjects.iter().filter_map(move |(subject, versions)| {
            let place = versions.iter().position(|version| version.id == id)?;
            Some((subject.as_str(), place + 1))
        })
    }
}

impl Version {
    /// Tells whether a text is of this schema.
    pub(crate) fn is(&self, schema: &Schema) -> bool {
        self.fingerprint == default_id(schema)
    }
}

/// Returns the versions before the newest one. They have the ids that depend on nothing but the schema, by which the
/// codec reads them.
fn older_versions(newest: &'static Published) -> Result<Vec<Version>, GatewayError> {
    let (name, newest_number) = name_and_number(newest.file);
    let mut older = Vec::new();
    for schema in VERSIONS {
        let (other, number) = name_and_number(schema.file);
        if other == name && number < newest_number {
            let fingerprint = fingerprint(schema)?;
            older.push((number, Version { id: fingerprint, schema, fingerprint }));
        }
    }
    older.sort_by_key(|(number, _)| *number);
    Ok(older.into_iter().map(|(_, version)| version).collect())
}

/// Returns `session` and 1 of `session.v1`.
fn name_and_number(file: &str) -> (&str, u32) {
    let parts = file.rsplit_once(".v");
    parts.and_then(|(name, number)| Some((name, number.parse().ok()?))).unwrap_or((file, 0))
}

fn fingerprint(schema: &Published) -> Result<u32, GatewayError> {
    let parsed = Schema::parse_str(schema.json);
    parsed.map(|parsed| default_id(&parsed)).map_err(|error| {
        let reason = error.to_string();
        GatewayError::Schema { file: schema.file, reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbered_by_their_files() {
        assert_eq!(name_and_number("session.v1"), ("session", 1));
        assert_eq!(name_and_number("dead-letter.v12"), ("dead-letter", 12));
        assert_eq!(name_and_number("session"), ("session", 0));
    }

    #[test]
    fn every_schema_is_found_by_its_id_and_under_a_subject() {
        let codec = Codec::new();
        let catalogue = Catalogue::of(&codec, "eu.").expect("the schemas are readable");
        for (id, schema) in codec.schemas() {
            assert_eq!(catalogue.schema(id).map(|found| found.file), Some(schema.file));
            assert!(catalogue.places(id).count() > 0, "{} has no subject", schema.file);
        }
        assert!(catalogue.versions("eu.sessions-value").is_some());
        assert!(catalogue.versions("sessions-value").is_none());
    }
}

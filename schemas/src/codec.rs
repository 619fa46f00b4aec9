//! Between bytes and types, in the registry's wire format: a zero byte, the schema's id in four bytes (big endian),
//! and the Avro binary encoding.
//!
//! A record written with our own newest schema is read straight into its type (`serde_avro_fast`); one written with
//! any other known schema (an older version of ours, or a producer's from the registry) is resolved into ours by the
//! rules of the Avro specification (`apache-avro`).

use crate::{PUBLISHED, Published, Record};
use apache_avro::rabin::Rabin;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

include!(concat!(env!("OUT_DIR"), "/versions.rs"));

/// First byte of the wire format.
pub(crate) const MAGIC: u8 = 0;
/// Bytes before the Avro encoding.
pub(crate) const HEADER_BYTES: usize = 5;
/// Longest array or map that a record may hold.
const SEQUENCE_ITEMS_MAX: usize = 100_000;

/// Encodes and decodes records; knows the ids of schemas.
pub struct Codec {
    /// Wire id of each schema in [`PUBLISHED`].
    ids: Vec<u32>,
    by_id: HashMap<u32, usize>,
    writers: RwLock<HashMap<u32, Arc<apache_avro::Schema>>>,
    source: Option<Box<dyn SchemaSource>>,
}

/// Where a schema is found by its id: a schema registry.
pub trait SchemaSource: Send + Sync {
    /// Looks a schema up.
    fn schema(&self, id: u32) -> SchemaAnswer;
}

/// What a registry says of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaAnswer {
    /// The schema's JSON.
    Found(String),
    /// There is no such schema, or none that can be used, and why.
    Unknown(String),
    /// That cannot be told now, and why.
    Unavailable(String),
}

/// A record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It does not begin as the wire format does.
    #[error("not in the registry's wire format: {0}")]
    Framing(String),
    /// No schema with this id is known.
    #[error("schema id {id} is not known: {reason}")]
    UnknownSchema {
        /// The id.
        id: u32,
        /// What the registry said.
        reason: String,
    },
    /// Whether the schema is known cannot be told now: the registry does not answer.
    #[error("schema id {id} cannot be looked up: {reason}")]
    RegistryUnavailable {
        /// The id.
        id: u32,
        /// What the registry's client said.
        reason: String,
    },
    /// The bytes do not fit the schema.
    #[error("the bytes do not fit schema {schema}: {reason}")]
    Malformed {
        /// Name of the schema.
        schema: String,
        /// Where they cease to fit.
        reason: String,
    },
    /// The record is of a type that has no place there.
    #[error("a record of type {found} has no place in topic {topic}")]
    Misplaced {
        /// The type.
        found: String,
        /// The topic.
        topic: String,
    },
}

/// A record could not be written: it breaks its own schema.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode a record of schema {schema}: {reason}")]
pub struct EncodeError {
    schema: &'static str,
    reason: String,
}

/// A schema parsed once, for both libraries.
struct Loaded {
    fast: serde_avro_fast::Schema,
    full: apache_avro::Schema,
    default_id: u32,
}

static LOADED: LazyLock<Vec<Loaded>> = LazyLock::new(|| PUBLISHED.iter().map(load).collect());

fn load(published: &Published) -> Loaded {
    // The schemas are compiled in, and a test parses each of them.
    let fast = published.json.parse().unwrap_or_else(|error| panic!("schema {}: {error}", published.file));
    let full = parse(published.json).unwrap_or_else(|error| panic!("schema {}: {error}", published.file));
    let default_id = default_id(&full);
    Loaded { fast, full, default_id }
}

/// Returns a schema of [`PUBLISHED`] as `apache-avro` has it.
pub(crate) fn full_schema(index: usize) -> &'static apache_avro::Schema {
    &LOADED[index].full
}

fn parse(json: &str) -> Result<apache_avro::Schema, String> {
    apache_avro::Schema::parse_str(json).map_err(|error| error.to_string())
}

/// Returns the id of a schema where no registry gives one: the first 31 bits of the Rabin fingerprint of its parsing
/// canonical form (Avro specification, "Schema Fingerprints"), so that it depends on nothing but the schema.
pub fn default_id(schema: &apache_avro::Schema) -> u32 {
    let fingerprint = schema.fingerprint::<Rabin>();
    let mut first = [0; 4];
    first.copy_from_slice(&fingerprint.bytes[..4]);
    u32::from_be_bytes(first) & 0x7fff_ffff
}

impl Default for Codec {
    fn default() -> Self {
        Self::new()
    }
}

impl Codec {
    /// Makes a codec whose ids depend on nothing but the schemas.
    pub fn new() -> Self {
        Self::with_ids(LOADED.iter().map(|loaded| loaded.default_id).collect(), None)
    }

    /// Makes a codec with the ids that a registry gave to [`PUBLISHED`], in that order.
    pub fn with_registry(ids: Vec<u32>, source: Box<dyn SchemaSource>) -> Self {
        assert_eq!(ids.len(), PUBLISHED.len(), "every published schema has an id");
        Self::with_ids(ids, Some(source))
    }

    fn with_ids(ids: Vec<u32>, source: Option<Box<dyn SchemaSource>>) -> Self {
        let by_id = ids.iter().enumerate().map(|(index, id)| (*id, index)).collect();
        let writers = VERSIONS.iter().filter_map(|version| {
            let schema = parse(version.json).ok()?;
            Some((default_id(&schema), Arc::new(schema)))
        });
        Self { ids, by_id, writers: RwLock::new(writers.collect()), source }
    }

    /// Returns the wire id of a type's schema.
    pub fn id<T: Record>(&self) -> u32 {
        self.ids[T::INDEX]
    }

    /// Returns every schema that this codec can name, with its id.
    pub fn schemas(&self) -> impl Iterator<Item = (u32, &'static Published)> {
        self.ids.iter().copied().zip(PUBLISHED)
    }

    /// Appends a record in the wire format.
    pub fn encode<T: Record>(&self, record: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(MAGIC);
        out.extend_from_slice(&self.ids[T::INDEX].to_be_bytes());
        encode_datum(record, out)
    }

    /// Reads a record in the wire format into a type, resolving the writer's schema where it is another.
    pub fn decode<T: Record>(&self, bytes: &[u8]) -> Result<T, DecodeError> {
        let (id, datum) = split(bytes)?;
        if id == self.ids[T::INDEX] { decode_datum(datum) } else { self.resolve(id, datum) }
    }

    /// Returns which of our types the bytes hold: its place in [`PUBLISHED`], or `None` where a producer's own schema
    /// has a name that is not ours.
    pub fn type_of(&self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        let (id, _) = split(bytes)?;
        if let Some(index) = self.by_id.get(&id) {
            return Ok(Some(*index));
        }
        let writer = self.writer(id)?;
        let name = writer.name().map(|name| name.fullname(None));
        Ok(name.and_then(|name| {
            LOADED
                .iter()
                .position(|loaded| loaded.full.name().map(|own| own.fullname(None)) == Some(name.clone()))
        }))
    }

    fn resolve<T: Record>(&self, id: u32, mut datum: &[u8]) -> Result<T, DecodeError> {
        let writer = self.writer(id)?;
        let malformed = |reason: String| DecodeError::Malformed {
            schema: writer.name().map_or_else(|| format!("id {id}"), |name| name.fullname(None)),
            reason,
        };
        let reader = &LOADED[T::INDEX].full;
        let value = GenericDatumReader::builder(&writer)
            .reader_schema(reader)
            .build()
            .and_then(|reader| reader.read_value(&mut datum))
            .map_err(|error| malformed(error.to_string()))?;
        // The resolved value is encoded once more with our schema, since only that path knows every type of ours.
        let mut own = Vec::new();
        GenericDatumWriter::builder(reader)
            .build()
            .and_then(|writer| writer.write_value(&mut own, value))
            .map_err(|error| malformed(error.to_string()))?;
        decode_datum(&own)
    }

    fn writer(&self, id: u32) -> Result<Arc<apache_avro::Schema>, DecodeError> {
        let known = |writers: &RwLock<HashMap<u32, Arc<apache_avro::Schema>>>| {
            writers.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&id).cloned()
        };
        if let Some(schema) = known(&self.writers) {
            return Ok(schema);
        }
        let unknown = |reason: String| DecodeError::UnknownSchema { id, reason };
        let source =
            self.source.as_ref().ok_or_else(|| unknown("no schema registry is configured".into()))?;
        let json = match source.schema(id) {
            SchemaAnswer::Found(json) => json,
            SchemaAnswer::Unknown(reason) => return Err(unknown(reason)),
            SchemaAnswer::Unavailable(reason) => return Err(DecodeError::RegistryUnavailable { id, reason }),
        };
        let schema = Arc::new(parse(&json).map_err(unknown)?);
        self.writers
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(id, Arc::clone(&schema));
        Ok(schema)
    }
}

fn split(bytes: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    let Some((header, datum)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(DecodeError::Framing(format!("{} bytes are too few", bytes.len())));
    };
    if header[0] != MAGIC {
        return Err(DecodeError::Framing(format!("the first byte is {:#04x}, not 0x00", header[0])));
    }
    Ok((u32::from_be_bytes([header[1], header[2], header[3], header[4]]), datum))
}

thread_local! {
    /// Buffers of the encoder, one set a schema, kept from record to record.
    static ENCODERS: RefCell<Vec<serde_avro_fast::ser::SerializerConfig<'static>>> =
        RefCell::new(LOADED.iter().map(|loaded| serde_avro_fast::ser::SerializerConfig::new(&loaded.fast)).collect());
}

/// Appends the Avro encoding of a record, without the header of the wire format.
pub fn encode_datum<T: Record>(record: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    ENCODERS.with_borrow_mut(|encoders| {
        serde_avro_fast::to_datum(record, out, &mut encoders[T::INDEX])
            .map(|_| ())
            .map_err(|error| EncodeError { schema: T::published().file, reason: error.to_string() })
    })
}

/// Reads the Avro encoding of a record, which must fill the bytes to the last.
pub fn decode_datum<T: Record>(datum: &[u8]) -> Result<T, DecodeError> {
    use serde_avro_fast::de::{DeserializerConfig, DeserializerState, read::SliceRead};
    let malformed = |reason: String| DecodeError::Malformed { schema: T::published().file.into(), reason };
    let mut config = DeserializerConfig::new(&LOADED[T::INDEX].fast);
    config.max_seq_size = SEQUENCE_ITEMS_MAX;
    let mut state = DeserializerState::with_config(SliceRead::new(datum), config);
    let record = T::deserialize(state.deserializer()).map_err(|error| malformed(error.to_string()))?;
    let mut rest = state.into_reader();
    let mut one = [0];
    match std::io::Read::read(&mut rest, &mut one) {
        Ok(0) => Ok(record),
        _ => Err(malformed("bytes are left after the record".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;
    use std::collections::BTreeMap;

    fn round_trip<T: Record + PartialEq + std::fmt::Debug>(record: T) {
        let codec = Codec::new();
        let mut bytes = Vec::new();
        codec.encode(&record, &mut bytes).expect("a record encodes");
        assert_eq!(codec.decode::<T>(&bytes).expect("its bytes decode"), record);
    }

    fn signal() -> Signal {
        Signal {
            tenant: "acme".into(),
            session_id: "s-1".into(),
            name: "ip".into(),
            data: BTreeMap::from([("ip.tor".into(), "sha256:00".into())]),
            body: Some(SignalBody::IpSignal(IpSignal {
                tor: Some(true),
                asn: Some(64512),
                ..IpSignal::default()
            })),
            sealed: Some(vec![Sealed { nonce: vec![1, 2].into(), ..Sealed::default() }]),
            ..Signal::default()
        }
    }

    #[test]
    fn records_survive_the_wire() {
        round_trip(Session {
            session_id: "s-1".into(),
            gender: Some(Gender::Female),
            location: Some(Place { lat: Some(19.4), lng: Some(-99.1), ..Place::default() }),
            attachments: Some(vec![Attachment { id: "i-1".into(), ..Attachment::default() }]),
            forwarded_for: Some(vec!["192.0.2.1".into()]),
            ..Session::default()
        });
        round_trip(signal());
        round_trip(Signal { body: None, ..signal() });
        round_trip(Decision {
            reasons: vec![Reason {
                values: BTreeMap::from([
                    ("a".into(), Scalar::Null),
                    ("b".into(), Scalar::Bool(true)),
                    ("c".into(), Scalar::Long(7)),
                    ("d".into(), Scalar::Double(0.5)),
                    ("e".into(), Scalar::Text("x".into())),
                ]),
                ..Reason::default()
            }],
            signals: vec![SignalReport { body: signal().body, ..SignalReport::default() }],
            ..Decision::default()
        });
        round_trip(FusionSession {
            stages: vec![StageState { signals: vec![signal().into()], ..StageState::default() }],
            last: Some(LastDecision { decision: Outcome::Flag, ..LastDecision::default() }),
        });
        round_trip(IntakeSession { absorbed: vec![vec![0xff; 16].into()], ..IntakeSession::default() });
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_an_error_or_a_record_but_no_panic() {
        let codec = Codec::new();
        let mut bytes = Vec::new();
        codec.encode(&signal(), &mut bytes).expect("a record encodes");
        for length in 0..bytes.len() {
            codec.decode::<Signal>(&bytes[..length]).expect_err("a cut record is refused");
        }
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[index] ^= 1 << bit;
                let _ = codec.decode::<Signal>(&damaged);
            }
        }
        bytes.push(0);
        codec.decode::<Signal>(&bytes).expect_err("bytes after the record are refused");
    }

    #[test]
    fn ids_are_distinct_and_positive() {
        let codec = Codec::new();
        let mut ids: Vec<u32> = codec.schemas().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), PUBLISHED.len());
        assert!(ids.iter().all(|id| *id > 0 && *id <= i32::MAX as u32));
    }

    #[test]
    fn a_schema_from_the_registry_is_resolved_into_ours() {
        struct Fixed;
        impl SchemaSource for Fixed {
            fn schema(&self, id: u32) -> SchemaAnswer {
                match id {
                    7 => SchemaAnswer::Found(r#"{"type":"record","name":"Session","namespace":"tamiz","fields":[
                        {"name":"ip","type":"string"},{"name":"session_id","type":"string"},{"name":"shop","type":"int"}]}"#.into()),
                    9 => SchemaAnswer::Unavailable("connection refused".into()),
                    _ => SchemaAnswer::Unknown("not found".into()),
                }
            }
        }
        let codec = Codec::with_registry((1000..).take(PUBLISHED.len()).collect(), Box::new(Fixed));
        let mut bytes = vec![0, 0, 0, 0, 7];
        bytes.extend_from_slice(b"\x1a192.0.2.1.com\x06s-1\x08");
        assert_eq!(codec.type_of(&bytes).expect("the schema is known"), Some(Session::INDEX));
        let session: Session = codec.decode(&bytes).expect("the record is resolved");
        assert_eq!((session.session_id.as_str(), session.ip.as_deref()), ("s-1", Some("192.0.2.1.com")));
        bytes[4] = 8;
        assert!(matches!(codec.decode::<Session>(&bytes), Err(DecodeError::UnknownSchema { id: 8, .. })));
        bytes[4] = 9;
        assert!(matches!(
            codec.decode::<Session>(&bytes),
            Err(DecodeError::RegistryUnavailable { id: 9, .. })
        ));
    }
}

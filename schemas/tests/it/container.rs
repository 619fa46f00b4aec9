//! Avro container files: sessions of any writer are read, and what cannot be read is named by its position.

use apache_avro::types::Record as AvroRecord;
use apache_avro::{Codec, DeflateSettings, Schema, Writer};
use schemas::json::{AvroFileError, sessions_from_avro};
use schemas::*;

/// Returns a file in the newest schema, as a producer in Rust or Java would write it.
fn file_of(sessions: &[Session]) -> Vec<u8> {
    use serde_avro_fast::object_container_file_encoding::{Compression, write_all};
    let schema = Session::published().json.parse().unwrap();
    write_all(&schema, Compression::Null, Vec::new(), sessions.iter()).unwrap()
}

fn sessions() -> Vec<Session> {
    (0..50)
        .map(|index| Session {
            session_id: format!("s-{index}"),
            gender: Some(Gender::Female),
            event_time: Some(index),
            location: Some(Place { lat: Some(19.4), lng: Some(-99.1), ..Place::default() }),
            attachments: Some(vec![Attachment { id: "i-1".into(), ..Attachment::default() }]),
            sealed: Some(vec![Sealed { nonce: vec![1].into(), ..Sealed::default() }]),
            ..Session::default()
        })
        .collect()
}

/// Returns a file in a producer's own schema.
fn foreign_file(codec: Codec, schema: &str, genders: &[&str]) -> Vec<u8> {
    let schema_has_id = schema.contains("session_id");
    let schema = Schema::parse_str(schema).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    for (index, gender) in genders.iter().enumerate() {
        let mut record = AvroRecord::new(writer.schema()).unwrap();
        record.put("shop", 7);
        record.put(if schema_has_id { "session_id" } else { "id" }, format!("s-{}", index + 1));
        record.put("gender", *gender);
        writer.append_value(record).unwrap();
    }
    writer.into_inner().unwrap()
}

const FOREIGN: &str = r#"{"type":"record","name":"Session","namespace":"tamiz","fields":[
    {"name":"shop","type":"int"},{"name":"session_id","type":"string"},{"name":"gender","type":"string"}]}"#;

#[test]
fn a_file_in_our_schema_gives_its_sessions() {
    let file = file_of(&sessions());
    let read: Result<Vec<Session>, AvroFileError> = sessions_from_avro(file.as_slice()).collect();
    assert_eq!(read.unwrap(), sessions());
    assert_eq!(sessions_from_avro(file_of(&[]).as_slice()).count(), 0);
}

#[test]
fn a_foreign_schema_is_resolved_whatever_the_compression() {
    for codec in [Codec::Null, Codec::Deflate(DeflateSettings::default()), Codec::Snappy] {
        let file = foreign_file(codec, FOREIGN, &["female", "x"]);
        let read: Vec<Session> = sessions_from_avro(file.as_slice()).map(Result::unwrap).collect();
        assert_eq!(
            read.iter().map(|session| session.session_id.as_str()).collect::<Vec<_>>(),
            ["s-1", "s-2"]
        );
        assert_eq!(read[0].gender, Some(Gender::Female));
        assert_eq!(read[0].ip, None);
    }
}

#[test]
fn what_is_no_session_is_named_by_its_position() {
    let file = foreign_file(Codec::Null, FOREIGN, &["female", "male", "M", "x"]);
    let read: Vec<_> = sessions_from_avro(file.as_slice()).collect();
    assert_eq!(read.len(), 3, "nothing follows an error");
    assert!(read[..2].iter().all(Result::is_ok));
    let error = read[2].as_ref().unwrap_err();
    assert_eq!(error.to_string(), "cannot read record 3 of the Avro container file");
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("gender") || cause.contains("female"), "{cause}");

    let without_id = foreign_file(Codec::Null, &FOREIGN.replace("session_id", "id"), &["x"]);
    let first = sessions_from_avro(without_id.as_slice()).next().unwrap().unwrap_err();
    assert!(matches!(first, AvroFileError::Record { position: 1, .. }), "{first}");
}

#[test]
fn a_file_of_another_kind_is_refused_at_its_header() {
    for bytes in [&b""[..], b"{\"session_id\":\"s-1\"}", b"Obj\x01", b"PAR1"] {
        let read: Vec<_> = sessions_from_avro(bytes).collect();
        assert!(matches!(read.as_slice(), [Err(AvroFileError::Header { .. })]), "{bytes:?}");
    }
}

#[test]
fn a_cut_or_damaged_file_ends_with_an_error_and_without_panic() {
    let file = file_of(&sessions()[..3]);
    let whole = sessions_from_avro(file.as_slice()).count();
    assert_eq!(whole, 3);
    // The header is mostly the text of the schema, of which samples are enough.
    let records_at = file.len() - 300;
    let checked = || (0..file.len()).filter(|index| *index > records_at || index % 13 == 0);
    for length in checked() {
        let read: Vec<_> = sessions_from_avro(&file[..length]).collect();
        // A file that ends after its header is whole and empty.
        let errors = read.iter().filter(|session| session.is_err()).count();
        assert!(errors == 1 || read.is_empty(), "{length} bytes give {} sessions", read.len());
    }
    for index in checked() {
        let mut damaged = file.clone();
        damaged[index] ^= 0x55;
        let read: Vec<_> = sessions_from_avro(damaged.as_slice()).collect();
        assert!(read.iter().rev().skip(1).all(Result::is_ok), "only the last item is an error");
    }
}

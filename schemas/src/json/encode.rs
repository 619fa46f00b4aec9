//! Any record from JSON into the wire format: the way back of [`message_to_json`](super::message_to_json), for tests that
//! are data.

use super::attachment::bytes_from_base64;
use super::time::time_from_text;
use crate::Message;
use crate::codec::{Codec, MAGIC, full_schema};
use apache_avro::Schema;
use apache_avro::schema::{Name, RecordSchema, ResolvedSchema};
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// A record as JSON does not fit its schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct RecordJsonError {
    /// Dotted path of the member, from the record's name.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

/// Returns the wire format of a record of a type, as in `Accepted`, from JSON under the schema's names.
///
/// What is left out is as in an empty record. Times are texts in RFC 3339 or milliseconds, bytes are in base64, and a
/// double may be the text `NaN`, `Infinity` or `-Infinity`, which JSON has no number for. A value of several types is
/// the first that it fits, or an object that names one: `{"tamiz.IpSignal": {…}}`.
pub fn record_from_json(codec: &Codec, type_name: &str, json: &Value) -> Result<Vec<u8>, RecordJsonError> {
    let fail = |reason: String| RecordJsonError { path: type_name.to_owned(), reason };
    let named = |index: &usize| full_schema(*index).name().is_some_and(|name| name.name() == type_name);
    let found = codec.schemas().enumerate().find(|(index, _)| named(index));
    let (index, (id, _)) = found.ok_or_else(|| fail("there is no record of this name".into()))?;
    let schema = full_schema(index);
    let resolved = ResolvedSchema::try_from(schema).map_err(|error| fail(error.to_string()))?;
    let value = Form { names: resolved.get_names() }.value(schema, json, type_name)?;
    let mut bytes = vec![MAGIC];
    bytes.extend_from_slice(&id.to_be_bytes());
    GenericDatumWriter::builder(schema)
        .build()
        .and_then(|writer| writer.write_value(&mut bytes, value))
        .map_err(|error| fail(error.to_string()))?;
    // The library's map has no order. In our types names are in order, which makes the bytes repeatable.
    let message = Message::decode_row(codec, &bytes).map_err(|error| fail(error.to_string()))?;
    let mut ordered = Vec::with_capacity(bytes.len());
    message.encode(codec, &mut ordered).map_err(|error| fail(error.to_string()))?;
    Ok(ordered)
}

/// The named types of a schema, which refer to each other.
struct Form<'a> {
    names: &'a HashMap<Name, &'a Schema>,
}

impl Form<'_> {
    fn value(&self, schema: &Schema, json: &Value, path: &str) -> Result<AvroValue, RecordJsonError> {
        let misfit = |expected: &str| misfit(path, expected);
        match schema {
            Schema::Null if json.is_null() => Ok(AvroValue::Null),
            Schema::Boolean => json.as_bool().map(AvroValue::Boolean).ok_or_else(|| misfit("true or false")),
            Schema::Int => {
                let number = json.as_i64().and_then(|number| i32::try_from(number).ok());
                number.map(AvroValue::Int).ok_or_else(|| misfit("a whole number of 32 bits"))
            }
            Schema::Long => json.as_i64().map(AvroValue::Long).ok_or_else(|| misfit("a whole number")),
            Schema::Double => double(json).map(AvroValue::Double).ok_or_else(|| misfit("a number")),
            Schema::String => {
                json.as_str().map(|text| AvroValue::String(text.to_owned())).ok_or_else(|| misfit("a text"))
            }
            Schema::Bytes => {
                let bytes = json.as_str().and_then(bytes_from_base64);
                bytes.map(AvroValue::Bytes).ok_or_else(|| misfit("bytes in base64"))
            }
            Schema::TimestampMillis => {
                let time = json.as_i64().or_else(|| json.as_str().and_then(time_from_text));
                time.map(AvroValue::TimestampMillis)
                    .ok_or_else(|| misfit("a time in RFC 3339 or milliseconds"))
            }
            Schema::Enum(symbols) => {
                let place = symbols.symbols.iter().position(|symbol| json.as_str() == Some(symbol));
                let place = place.ok_or_else(|| misfit(&format!("one of {}", symbols.symbols.join(", "))))?;
                // An enum has far fewer symbols than numbers of 32 bits.
                Ok(AvroValue::Enum(place as u32, symbols.symbols[place].clone()))
            }
            Schema::Array(array) => {
                let items = json.as_array().ok_or_else(|| misfit("a list"))?;
                let items = items.iter().enumerate();
                let items =
                    items.map(|(index, item)| self.value(&array.items, item, &format!("{path}[{index}]")));
                Ok(AvroValue::Array(items.collect::<Result<_, _>>()?))
            }
            Schema::Map(map) => {
                let members = json.as_object().ok_or_else(|| misfit("an object"))?.iter();
                let members = members.map(|(name, member)| {
                    Ok((name.clone(), self.value(&map.types, member, &format!("{path}.{name}"))?))
                });
                Ok(AvroValue::Map(members.collect::<Result<_, _>>()?))
            }
            Schema::Union(union) => self.branch(union.variants(), json, path),
            Schema::Record(record) => self.record(record, json, path),
            Schema::Ref { name } => match self.names.get(name) {
                Some(schema) => self.value(schema, json, path),
                None => Err(misfit("a type that the schema names")),
            },
            Schema::Null => Err(misfit("null")),
            // Our schemas use no other type.
            other => Err(misfit(&format!("a value of a type read here, not {other:?}"))),
        }
    }

    fn record(&self, record: &RecordSchema, json: &Value, path: &str) -> Result<AvroValue, RecordJsonError> {
        let members = json.as_object().ok_or_else(|| misfit(path, "an object"))?;
        if let Some(name) =
            members.keys().find(|name| !record.fields.iter().any(|field| &field.name == *name))
        {
            let reason = format!("{} has no such field", record.name.name());
            return Err(RecordJsonError { path: format!("{path}.{name}"), reason });
        }
        let fields = record.fields.iter().map(|field| {
            let empty = || field.default.clone().unwrap_or_else(|| self.empty(&field.schema));
            let json = members.get(&field.name).cloned().unwrap_or_else(empty);
            Ok((field.name.clone(), self.value(&field.schema, &json, &format!("{path}.{}", field.name))?))
        });
        Ok(AvroValue::Record(fields.collect::<Result<_, _>>()?))
    }

    fn branch(&self, branches: &[Schema], json: &Value, path: &str) -> Result<AvroValue, RecordJsonError> {
        let mut first_problem = None;
        for (index, branch) in (0..).zip(branches) {
            let named = self.name(branch).and_then(|name| Some((json.as_object()?, name)));
            let inner = named.and_then(|(members, name)| members.get(&name).filter(|_| members.len() == 1));
            match self.value(branch, inner.unwrap_or(json), path) {
                Ok(value) => return Ok(AvroValue::Union(index, Box::new(value))),
                Err(problem) if *branch != Schema::Null => {
                    first_problem.get_or_insert(problem);
                }
                Err(_) => {}
            }
        }
        Err(first_problem.unwrap_or_else(|| misfit(path, "null")))
    }

    fn name(&self, branch: &Schema) -> Option<String> {
        branch.name().map(|name| name.fullname(None))
    }

    /// Returns what an empty record has for a field without a default.
    fn empty(&self, schema: &Schema) -> Value {
        match schema {
            Schema::Boolean => false.into(),
            Schema::Int | Schema::Long | Schema::Double | Schema::TimestampMillis => 0.into(),
            Schema::String | Schema::Bytes => "".into(),
            Schema::Array(_) => Vec::<Value>::new().into(),
            Schema::Enum(symbols) => symbols.symbols.first().cloned().into(),
            Schema::Map(_) | Schema::Record(_) => Map::new().into(),
            Schema::Ref { name } => self.names.get(name).map_or(Value::Null, |schema| self.empty(schema)),
            _ => Value::Null,
        }
    }
}

fn double(json: &Value) -> Option<f64> {
    match json.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => json.as_f64(),
    }
}

fn misfit(path: &str, expected: &str) -> RecordJsonError {
    RecordJsonError { path: path.to_owned(), reason: format!("expected {expected}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::message_to_json;
    use crate::*;
    use serde_json::json;

    fn read<T: Payload>(json: Value) -> T {
        let codec = Codec::new();
        let type_name = T::into_message(std::sync::Arc::default()).type_name();
        let bytes = record_from_json(&codec, type_name, &json).expect("the record is read");
        codec.decode(&bytes).expect("its bytes decode")
    }

    #[test]
    fn what_is_left_out_is_as_in_an_empty_record() {
        assert_eq!(read::<Session>(json!({})), Session::default());
        assert_eq!(read::<Accepted>(json!({})), Accepted::default());
        assert_eq!(read::<Signal>(json!({})), Signal::default());
        assert_eq!(read::<Decision>(json!({})), Decision::default());
        assert_eq!(read::<FusionSession>(json!({})), FusionSession::default());
        assert_eq!(read::<DeadLetter>(json!({})), DeadLetter::default());
    }

    #[test]
    fn what_is_shown_is_read_again() {
        let session = Session {
            session_id: "s-1".into(),
            gender: Some(Gender::Female),
            event_time: Some(1_772_366_400_007),
            location: Some(Place { lat: Some(19.4), ..Place::default() }),
            attachments: Some(vec![Attachment { id: "i-1".into(), ..Attachment::default() }]),
            ..Session::default()
        };
        let accepted = Accepted { session: session.clone().into(), opened_at: 5, ..Accepted::default() };
        assert_eq!(read::<Accepted>(message_to_json(&accepted.clone().into())), accepted);
        let row = IntakeSession {
            session: session.into(),
            absorbed: vec![vec![0xff; 4].into()],
            ..IntakeSession::default()
        };
        assert_eq!(read::<IntakeSession>(message_to_json(&row.clone().into())), row);
        for body in [
            SignalBody::from(IpSignal { tor: Some(true), ..IpSignal::default() }),
            GeoSignal::default().into(),
        ] {
            let signal = Signal { name: body.name().into(), body: Some(body), ..Signal::default() };
            assert_eq!(read::<Signal>(message_to_json(&signal.clone().into())), signal);
        }
    }

    #[test]
    fn numbers_that_json_lacks_and_named_branches_are_read() {
        let session = read::<Session>(json!({"location": {"lat": "NaN", "lng": "-Infinity"}}));
        let location = session.location.expect("the location is read");
        assert!(location.lat.is_some_and(f64::is_nan) && location.lng == Some(f64::NEG_INFINITY));
        let signal = read::<Signal>(json!({"body": {"tamiz.GeoSignal": {}}}));
        assert_eq!(signal.body, Some(GeoSignal::default().into()));
    }

    #[test]
    fn a_misfit_is_told_with_its_path() {
        let problem = |type_name: &str, json: Value| {
            record_from_json(&Codec::new(), type_name, &json).expect_err("the record is refused").to_string()
        };
        assert_eq!(problem("Nothing", json!({})), "Nothing: there is no record of this name");
        assert_eq!(problem("Session", json!({"ipp": 1})), "Session.ipp: Session has no such field");
        assert_eq!(
            problem("Session", json!({"location": {"lat": "x"}})),
            "Session.location.lat: expected a number"
        );
        assert_eq!(
            problem("Accepted", json!({"stage": 1e10})),
            "Accepted.stage: expected a whole number of 32 bits"
        );
        let text = problem("Signal", json!({"status": "fine"}));
        assert!(text.starts_with("Signal.status: expected one of ok, not_applicable"), "{text}");
    }
}

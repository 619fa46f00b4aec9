//! Any record as JSON, for people who look into a topic.

use super::attachment::bytes_to_base64;
use super::decision::{body_to_json, decision_to_json, time_to_json};
use super::writing::{leave_out_nulls, session_to_json};
use crate::codec::{Codec, HEADER_BYTES, full_schema};
use crate::{Message, Signal};
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as AvroValue;
use serde_json::{Map, Number, Value};
use std::sync::LazyLock;

/// Returns a record as JSON: a session and a decision in their forms at the edge, any other under the schema's names,
/// absent values left out, bytes in base64 and times in RFC 3339.
pub fn message_to_json(message: &Message) -> Value {
    match message {
        Message::Session(session) => session_to_json(session),
        Message::Decision(decision) => decision_to_json(decision),
        Message::Signal(signal) => signal_to_json(signal),
        other => record_to_json(other),
    }
}

/// Returns a signal as JSON, its values in `body`, null where they are not known.
pub fn signal_to_json(signal: &Signal) -> Value {
    let mut json = record_to_json(&signal.clone().into());
    if let Value::Object(members) = &mut json {
        members.insert("body".into(), body_to_json(&signal.name, signal.body.as_ref()).into());
    }
    json
}

/// Returns a record under the schema's names. It goes by way of its encoding, which alone tells a time from a number and
/// bytes from a list, and which knows every record without a list of them here.
fn record_to_json(message: &Message) -> Value {
    // Types and schemas are made from one source, so that a record fits its schema and its encoding is read again.
    let mut json = match encoded_and_read(message) {
        Ok(value) => avro_to_json(value),
        Err(error) => panic!("a record does not fit its own schema: {error}"),
    };
    if let Value::Object(members) = &mut json {
        leave_out_nulls(members);
    }
    json
}

fn encoded_and_read(message: &Message) -> Result<AvroValue, String> {
    static CODEC: LazyLock<Codec> = LazyLock::new(Codec::new);
    let mut bytes = Vec::new();
    message.encode(&CODEC, &mut bytes).map_err(|error| error.to_string())?;
    let index = CODEC.type_of(&bytes).map_err(|error| error.to_string())?;
    let index = index.ok_or("its schema is not ours")?;
    let reader = GenericDatumReader::builder(full_schema(index)).build();
    let read = reader.and_then(|reader| reader.read_value(&mut &bytes[HEADER_BYTES..]));
    read.map_err(|error| error.to_string())
}

fn avro_to_json(value: AvroValue) -> Value {
    match value {
        AvroValue::Null => Value::Null,
        AvroValue::Boolean(value) => value.into(),
        AvroValue::Int(value) => value.into(),
        AvroValue::Long(value) => value.into(),
        AvroValue::Float(value) => Number::from_f64(f64::from(value)).map_or(Value::Null, Value::Number),
        AvroValue::Double(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
        AvroValue::Bytes(bytes) | AvroValue::Fixed(_, bytes) => bytes_to_base64(&bytes).into(),
        AvroValue::String(text) | AvroValue::Enum(_, text) => text.into(),
        AvroValue::TimestampMillis(time) => time_to_json(time),
        AvroValue::Union(_, value) => avro_to_json(*value),
        AvroValue::Array(items) => items.into_iter().map(avro_to_json).collect(),
        AvroValue::Map(members) => {
            // The library's map has no order; names in order make the text repeatable.
            let mut members: Vec<(String, AvroValue)> = members.into_iter().collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            object(members)
        }
        AvroValue::Record(members) => object(members),
        // Our schemas use no other type; a new one shows as the library writes it.
        other => format!("{other:?}").into(),
    }
}

fn object(members: Vec<(String, AvroValue)>) -> Value {
    let members: Map<String, Value> =
        members.into_iter().map(|(name, value)| (name, avro_to_json(value))).collect();
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;
    use serde_json::json;

    #[test]
    fn a_signal_shows_its_values_and_a_failed_one_nulls() {
        let signal = Signal {
            tenant: "acme".into(),
            session_id: "s-1".into(),
            name: "ip".into(),
            append_time: 1_772_366_400_000,
            body: Some(IpSignal { tor: Some(true), ..IpSignal::default() }.into()),
            sealed: Some(vec![Sealed { nonce: vec![0xff].into(), ..Sealed::default() }]),
            ..Signal::default()
        };
        let json = signal_to_json(&signal);
        assert_eq!(json["append_time"], "2026-03-01T12:00:00.000Z");
        assert_eq!(json["status"], "ok");
        assert_eq!((&json["body"]["tor"], &json["body"]["vpn"]), (&json!(true), &Value::Null));
        assert_eq!(json["sealed"][0]["nonce"], "/w==");
        assert_eq!(json.get("reason"), None);
        assert_eq!(message_to_json(&signal.clone().into()), json);
        let failed = signal_to_json(&Signal { body: None, ..signal });
        assert_eq!(failed["body"]["tor"], Value::Null);
        assert!(failed["body"].as_object().is_some_and(|body| body.len() > 10));
    }

    #[test]
    fn any_record_is_shown_with_its_times_and_bytes() {
        let accepted = Accepted {
            session: Session { session_id: "s-1".into(), event_time: Some(0), ..Session::default() }.into(),
            ..Accepted::default()
        };
        let json = message_to_json(&accepted.into());
        assert_eq!(json["session"]["session_id"], "s-1");
        assert_eq!(json["session"]["event_time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(json["session"].get("ip"), None);
        let image = Image { bytes: Some(b"abc".to_vec().into()), ..Image::default() };
        assert_eq!(message_to_json(&image.into())["bytes"], "YWJj");
        let session = Session { session_id: "s-1".into(), cleared: vec!["ip".into()], ..Session::default() };
        assert_eq!(message_to_json(&session.into()), json!({"session_id": "s-1", "ip": null}));
        let decision = message_to_json(&Decision::default().into());
        assert_eq!(decision["supersedes"], Value::Null);
    }
}

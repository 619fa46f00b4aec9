use super::attachment::bytes_to_base64;
use super::time::time_to_text;
use crate::Session;
use crate::merge::split;
use serde_json::{Map, Value};

/// Returns a session in the form that [`session_from_json`](super::session_from_json) reads.
///
/// What is absent is left out, and what the stage takes back is null. Where a stage takes a field back and gives it anew,
/// which null cannot say, the path stands in the list `cleared`.
pub fn session_to_json(session: &Session) -> Value {
    let mut json = record_to_json(session);
    json.remove("cleared");
    if let Some(time) = session.event_time.and_then(time_to_text) {
        json.insert("event_time".into(), time.into());
    }
    if let Some(Value::Array(items)) = json.get_mut("sealed") {
        for (item, sealed) in items.iter_mut().zip(session.sealed.iter().flatten()) {
            item["nonce"] = bytes_to_base64(&sealed.nonce).into();
            item["ciphertext"] = bytes_to_base64(&sealed.ciphertext).into();
        }
    }
    let unsaid: Vec<Value> = session
        .cleared
        .iter()
        .filter(|path| !(Session::knows_path(path) && set_null(&mut json, path)))
        .map(|path| path.as_str().into())
        .collect();
    if !unsaid.is_empty() {
        json.insert("cleared".into(), unsaid.into());
    }
    Value::Object(json)
}

/// Returns a session's members, absent ones left out at every depth.
fn record_to_json(session: &Session) -> Map<String, Value> {
    match serde_json::to_value(session) {
        Ok(Value::Object(mut members)) => {
            leave_out_nulls(&mut members);
            members
        }
        // A record serializes as an object, and neither its names nor its values can fail.
        other => unreachable!("a session serializes as an object, not as {other:?}"),
    }
}

pub(super) fn leave_out_nulls(members: &mut Map<String, Value>) {
    members.retain(|_, value| !value.is_null());
    for value in members.values_mut() {
        match value {
            Value::Object(members) => leave_out_nulls(members),
            Value::Array(items) => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(leave_out_nulls)
            }
            _ => {}
        }
    }
}

/// Writes null at a path, and tells whether that says what it should: not where the path has a value, nor where one
/// above it is null already.
fn set_null(members: &mut Map<String, Value>, path: &str) -> bool {
    // Attribute names may hold dots; what follows `attributes` is one name.
    match split(path) {
        (first, Some(rest)) => {
            let below = members.entry(first).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(below) = below else { return false };
            if first == "attributes" { set_null_here(below, rest) } else { set_null(below, rest) }
        }
        (name, None) => set_null_here(members, name),
    }
}

fn set_null_here(members: &mut Map<String, Value>, name: &str) -> bool {
    if members.contains_key(name) {
        return false;
    }
    members.insert(name.to_owned(), Value::Null);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::session_from_value;
    use crate::{Device, Place, Sealed};
    use serde_json::json;

    #[test]
    fn absent_is_left_out_and_cleared_is_null() {
        let session = Session {
            session_id: "s-1".into(),
            event_time: Some(1_772_366_400_007),
            device: Some(Device { model: Some("iPhone".into()), ..Device::default() }),
            location: Some(Place { text: Some("19.4,-99.1".into()), ..Place::default() }),
            sealed: Some(vec![Sealed { nonce: vec![1, 2].into(), ..Sealed::default() }]),
            cleared: ["ip", "device.os", "name.full", "attributes.a.b", "location"].map(str::to_owned).into(),
            ..Session::default()
        };
        let json = session_to_json(&session);
        assert_eq!(
            json,
            json!({
                "session_id": "s-1", "event_time": "2026-03-01T12:00:00.007Z",
                "device": {"model": "iPhone", "os": null}, "location": {"text": "19.4,-99.1"},
                "sealed": [{"field": "", "key_id": "", "algorithm": "", "nonce": "AQI=", "ciphertext": ""}],
                "ip": null, "name": {"full": null}, "attributes": {"a.b": null}, "cleared": ["location"],
            })
        );
        let mut again = session_from_value(json).expect("the session is read again").session;
        let mut expected = session;
        again.cleared.sort();
        expected.cleared.sort();
        assert_eq!(again, expected);
    }

    #[test]
    fn a_path_below_one_that_is_null_or_has_no_below_stands_in_the_list() {
        let paths = ["device", "device.os", "ip", "ip.part", "nothing"];
        let session = Session {
            session_id: "s-1".into(),
            cleared: paths.map(str::to_owned).into(),
            ..Session::default()
        };
        let json = session_to_json(&session);
        assert_eq!(
            json,
            json!({"session_id": "s-1", "device": null, "ip": null, "cleared": ["device.os", "ip.part", "nothing"]})
        );
    }
}

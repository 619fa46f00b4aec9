//! The file of a case: what it is about, settings, input, and what is expected.

use super::{BLESS_VARIABLE, Failure, layout};
use crate::bus::ManualClock;
use crate::bus::local::LocalLog;
use crate::record::{Header, NewRecord, TICK_HEADER};
use schemas::json::{record_from_json, time_from_text};
use schemas::key::partition_of;
use schemas::{Codec, Key, PUBLISHED, TopicSpec};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Tenant of a key whose record names none.
const DEFAULT_TENANT: &str = "default";
/// Key of an input that shall have none.
const NO_KEY: &str = "none";
/// Settings of every case; those of the case are put over them.
const SETTINGS: &[(&str, &str)] = &[
    ("TAMIZ__DEPLOYMENT__PARTITIONS", "1"),
    ("TAMIZ__RUNTIME__PUBLISH", "[]"),
    ("TAMIZ__RUNTIME__RECORD_STEPS", "false"),
    // Only the data that a case names is there, not what is installed on the machine.
    ("TAMIZ__DATA__ASSETS_FOLDER", "no-assets"),
];

/// A case.
pub(super) struct Case {
    /// The whole file.
    file: Map<String, Value>,
    settings: Map<String, Value>,
    pub inputs: Vec<Input>,
}

/// The form of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseForm {
    /// What the case shows.
    about: String,
    /// Settings as in `config/default.toml`, by dotted name.
    #[serde(default)]
    settings: Map<String, Value>,
    input: Vec<InputForm>,
    #[serde(default, rename = "expected")]
    _expected: Value,
}

/// A record of the input: `value`, `bytes` or `tick` says what it holds, and without one it holds nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputForm {
    topic: String,
    /// Its time: the append time on stamped topics, the carried time elsewhere.
    time: String,
    /// `tenant/session`, `0x` and hex, or `none`; without it, the key of the session that the value names.
    key: Option<String>,
    /// Without it, the key's own.
    partition: Option<u32>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A tick: a record without content.
    #[serde(default)]
    tick: bool,
    /// Name of the value's type; without it, the topic's first.
    record: Option<String>,
    /// The record under the schema's names.
    value: Option<Value>,
    /// Bytes in hex, in the place of a value.
    bytes: Option<String>,
    /// Cuts the bytes to this length.
    cut: Option<usize>,
}

/// A record of the input, ready to be appended.
pub(super) struct Input {
    topic: &'static TopicSpec,
    partition: Option<u32>,
    key: Option<Vec<u8>>,
    headers: Vec<Header>,
    time: i64,
    value: Option<Vec<u8>>,
}

impl Case {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let file: Map<String, Value> = serde_json::from_str(&fs::read_to_string(path)?)?;
        let form: CaseForm = serde_json::from_value(Value::Object(file.clone()))?;
        if form.about.is_empty() {
            return Err("about is empty: say what the case shows".into());
        }
        let codec = Codec::new();
        let mut inputs = Vec::new();
        for (number, input) in (1..).zip(form.input) {
            inputs.push(Input::new(input, &codec).map_err(|failure| format!("input {number}: {failure}"))?);
        }
        Ok(Self { file, settings: form.settings, inputs })
    }

    /// Returns the settings as variables of the environment.
    pub(super) fn settings(&self) -> Result<Vec<(String, String)>, Failure> {
        let mut settings: Vec<(String, String)> =
            SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for (name, value) in &self.settings {
            let variable = format!("TAMIZ__{}", name.replace('.', "__").to_uppercase());
            let text = match value {
                Value::String(text) => text.clone(),
                value => toml::Value::try_from(value)?.to_string(),
            };
            settings.push((variable, text));
        }
        Ok(settings)
    }

    /// Appends the input, each record at its time.
    pub(super) fn publish(&self, log: &LocalLog, clock: &ManualClock) -> Result<(), Failure> {
        for input in &self.inputs {
            clock.set(input.time);
            log.append(vec![input.record(log.partitions())])?;
        }
        Ok(())
    }

    /// Returns the input of a partition of a topic, in the order of its offsets.
    pub(super) fn inputs_of(
        &self,
        topic: &TopicSpec,
        partition: u32,
        partitions: u32,
    ) -> impl Iterator<Item = &Input> {
        let name = topic.name;
        self.inputs
            .iter()
            .filter(move |input| input.topic.name == name && input.partition(partitions) == partition)
    }

    /// Compares what came out with the expected part.
    pub(super) fn compare(&self, actual: &Value) -> Result<(), Failure> {
        let Some(expected) = self.file.get("expected") else {
            return Err(format!("nothing is expected yet; {BLESS_VARIABLE}=1 writes what came out").into());
        };
        let (expected, actual) = (layout::text(expected), layout::text(actual));
        if expected == actual {
            return Ok(());
        }
        let difference = layout::difference(&expected, &actual);
        let hint = format!("{BLESS_VARIABLE}=1 takes it over");
        Err(format!("what came out (+) is not what is expected (-); {hint}:\n{difference}").into())
    }

    /// Writes what came out as what is expected.
    pub(super) fn bless(&self, path: &Path, actual: &Value) -> Result<(), Failure> {
        let mut file = self.file.clone();
        file.insert("expected".into(), actual.clone());
        Ok(fs::write(path, layout::text(&Value::Object(file)) + "\n")?)
    }
}

impl Input {
    fn new(form: InputForm, codec: &Codec) -> Result<Self, Failure> {
        let topic =
            schemas::topic::find(&form.topic).ok_or_else(|| format!("there is no topic {:?}", form.topic))?;
        let time =
            time_from_text(&form.time).ok_or_else(|| format!("{:?} is no time in RFC 3339", form.time))?;
        let mut headers: Vec<Header> =
            form.headers.iter().map(|(name, value)| Header::new(name, value.as_bytes())).collect();
        if form.tick {
            headers.push(Header::new(TICK_HEADER, *b"1"));
        }
        let key = match form.key.as_deref() {
            Some(NO_KEY) => None,
            Some(text) => Some(key_from_text(text)?),
            None => form.value.as_ref().and_then(session_key),
        };
        let mut value = match (form.value, form.bytes) {
            (Some(value), None) => {
                let type_name = form.record.unwrap_or_else(|| first_type(topic));
                Some(record_from_json(codec, &type_name, &grown(value))?)
            }
            (None, Some(hex)) => Some(bytes_from_hex(&hex)?),
            (None, None) => None,
            (Some(_), Some(_)) => return Err("it has a value and bytes".into()),
        };
        if form.tick && value.is_some() {
            return Err("a tick holds nothing".into());
        }
        if let (Some(bytes), Some(length)) = (&mut value, form.cut) {
            bytes.truncate(length);
        }
        Ok(Self { topic, partition: form.partition, key, headers, time, value })
    }

    fn partition(&self, partitions: u32) -> u32 {
        let own = || self.key.as_ref().map_or(0, |key| partition_of(key, partitions));
        self.partition.unwrap_or_else(own)
    }

    fn record(&self, partitions: u32) -> NewRecord {
        let partition = self.partition(partitions);
        let (topic, key, value, headers, time) =
            (self.topic, self.key.clone(), self.value.clone(), self.headers.clone(), self.time);
        NewRecord { topic, partition, key, value, headers, time }
    }
}

/// Returns the key of the session that a value names.
fn session_key(value: &Value) -> Option<Vec<u8>> {
    let session_id = value.get("session_id")?.as_str()?;
    let tenant = value.get("tenant").and_then(Value::as_str).unwrap_or(DEFAULT_TENANT);
    Some(Key::of_session(tenant, session_id).as_bytes().to_vec())
}

fn key_from_text(text: &str) -> Result<Vec<u8>, Failure> {
    if let Some(hex) = text.strip_prefix("0x") {
        return bytes_from_hex(hex);
    }
    match text.split_once('/') {
        Some((tenant, session_id)) => Ok(Key::of_session(tenant, session_id).as_bytes().to_vec()),
        // Keys of contents are their hashes.
        None => Ok(text.as_bytes().to_vec()),
    }
}

/// Returns the text of a key that [`key_from_text`] reads.
pub(super) fn key_to_text(bytes: &[u8]) -> String {
    let key = Key::from_bytes(bytes);
    if let Some((tenant, session_id)) = key.session().filter(|(tenant, _)| !tenant.contains('/')) {
        return format!("{tenant}/{session_id}");
    }
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'/';
    if !bytes.is_empty() && bytes != NO_KEY.as_bytes() && bytes.iter().all(plain) && !bytes.starts_with(b"0x")
    {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    format!("0x{}", schemas::hex(bytes))
}

fn bytes_from_hex(text: &str) -> Result<Vec<u8>, Failure> {
    let digits: Vec<char> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    if digits.len() % 2 == 1 {
        return Err(format!("{text:?} has an odd number of digits").into());
    }
    Ok(digits.chunks(2).map(byte).collect::<Result<_, _>>()?)
}

fn first_type(topic: &TopicSpec) -> String {
    let schema: Value = serde_json::from_str(PUBLISHED[topic.records[0]].json).unwrap_or_default();
    schema["name"].as_str().unwrap_or_default().to_owned()
}

/// Puts long values in the place of what stands for them: `{"$repeat": ["text", 1000]}` is the text so many times over,
/// `{"$list": [1, 1000]}` a list of so many.
fn grown(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let only = members.iter().next().filter(|_| members.len() == 1);
            let repeated = |name: &str| {
                let (_, pair) = only.filter(|(member, _)| *member == name)?;
                Some((pair.get(0)?, usize::try_from(pair.get(1)?.as_u64()?).ok()?))
            };
            if let Some((text, times)) = repeated("$repeat") {
                return text.as_str().unwrap_or_default().repeat(times).into();
            }
            if let Some((item, times)) = repeated("$list") {
                return vec![item.clone(); times].into();
            }
            Value::Object(members.into_iter().map(|(name, member)| (name, grown(member))).collect())
        }
        Value::Array(items) => items.into_iter().map(grown).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_shown() {
        for key in [
            Key::of_session("acme", "s/1").as_bytes(),
            b"sha256:00",
            b"none",
            b"",
            b"0xff",
            b"\xff\x00",
            b"a/b",
        ] {
            let text = key_to_text(key);
            assert_eq!(key_from_text(&text).expect("the text is a key"), key, "{text}");
        }
        assert_eq!(key_to_text(Key::of_session("acme", "s/1").as_bytes()), "acme/s/1");
    }

    #[test]
    fn long_values_grow_from_short_ones() {
        let grown = grown(serde_json::json!({"a": {"$repeat": ["xy", 3]}, "b": [{"$list": [{"c": 1}, 2]}]}));
        assert_eq!(grown, serde_json::json!({"a": "xyxyxy", "b": [[{"c": 1}, {"c": 1}]]}));
    }
}

//! From text, or from a value of `serde_json`, to a tree that keeps repeated keys apart from unknown ones, borrows
//! what it can, and is no larger than the limits allow.

use super::error::{JsonError, JsonProblem};
use super::place::At;
use super::{DEPTH_MAX, INPUT_BYTES_MAX, ITEMS_MAX, MEMBERS_MAX, VALUES_MAX};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use std::borrow::Cow;
use std::fmt;

/// A value as it was written.
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Members<'a>),
}

pub(super) type Members<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

/// A whole input.
pub(super) struct Tree<'a> {
    pub(super) root: Node<'a>,
    /// Bytes of its names and texts.
    pub(super) text_bytes: usize,
}

impl Node<'_> {
    /// Returns what the value is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads a text; what keeps it from being read goes to `error`.
pub(super) fn from_text<'a>(text: &'a [u8], error: &mut JsonError) -> Option<Tree<'a>> {
    if text.len() > INPUT_BYTES_MAX {
        error.push(JsonProblem::new("", format!("{} bytes are more than {INPUT_BYTES_MAX}", text.len())));
        return None;
    }
    /// Byte order mark, with which files written on Windows often begin.
    const MARK: &str = "\u{feff}";
    let text = match std::str::from_utf8(text) {
        Ok(text) => text.strip_prefix(MARK).unwrap_or(text),
        Err(cause) => {
            error.push(JsonProblem::new("", format!("invalid UTF-8 at byte {}", cause.valid_up_to())));
            return None;
        }
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut growth = Growth { values: 0, text_bytes: 0, stopped_at: None, error };
    let seed = Seed { at: At::WHOLE, depth: 0, growth: &mut growth };
    let read = seed.deserialize(&mut deserializer).and_then(|root| deserializer.end().map(|()| root));
    growth.finish(read)
}

/// Takes over a value, which has no repeated keys and no positions, but may break every other limit.
pub(super) fn from_value(value: Value, error: &mut JsonError) -> Option<Tree<'static>> {
    let mut growth = Growth { values: 0, text_bytes: 0, stopped_at: None, error };
    let seed = Seed { at: At::WHOLE, depth: 0, growth: &mut growth };
    let read: Result<Node<'static>, serde_json::Error> = seed.deserialize(value);
    growth.finish(read)
}

/// What has been read so far.
struct Growth<'e> {
    values: usize,
    text_bytes: usize,
    /// Path of the value that broke a limit.
    stopped_at: Option<String>,
    error: &'e mut JsonError,
}

impl Growth<'_> {
    fn finish<'a>(self, read: Result<Node<'a>, serde_json::Error>) -> Option<Tree<'a>> {
        match read {
            Ok(root) => Some(Tree { root, text_bytes: self.text_bytes }),
            Err(cause) => {
                self.error.push(syntax_problem(&cause, self.stopped_at.unwrap_or_default()));
                None
            }
        }
    }
}

/// Returns the problem of a text that is not JSON, its position in fields of their own.
fn syntax_problem(cause: &serde_json::Error, path: String) -> JsonProblem {
    let (line, column) = (cause.line(), cause.column());
    let mut message = cause.to_string();
    if line == 0 {
        return JsonProblem::new(path, message);
    }
    if let Some(bare) = message.strip_suffix(&format!(" at line {line} column {column}")) {
        message.truncate(bare.len());
    }
    JsonProblem { line: Some(line), column: Some(column), ..JsonProblem::new(path, message) }
}

/// Reads one value at its place.
struct Seed<'p, 'e> {
    at: At<'p>,
    depth: usize,
    growth: &'p mut Growth<'e>,
}

impl Seed<'_, '_> {
    fn stop<E: serde::de::Error>(self, message: String) -> E {
        self.growth.stopped_at = Some(self.at.to_string());
        E::custom(message)
    }

    fn text<'de>(self, text: Cow<'de, str>) -> Node<'de> {
        self.growth.text_bytes += text.len();
        Node::Text(text)
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        self.growth.values += 1;
        if self.growth.values > VALUES_MAX {
            return Err(self.stop(format!("more than {VALUES_MAX} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Node<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node<'de>, E> {
        Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(self.text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(self.text(Cow::Borrowed(text)))
    }

    fn visit_string<E>(self, text: String) -> Result<Node<'de>, E> {
        Ok(self.text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node<'de>, A::Error> {
        if self.depth == DEPTH_MAX {
            return Err(self.stop(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let mut items = Vec::new();
        loop {
            let at = self.at.item(items.len());
            let seed = Seed { at, depth: self.depth + 1, growth: &mut *self.growth };
            let Some(item) = list.next_element_seed(seed)? else { return Ok(Node::List(items)) };
            if items.len() == ITEMS_MAX {
                return Err(self.stop(format!("more than {ITEMS_MAX} items")));
            }
            items.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Node<'de>, A::Error> {
        if self.depth == DEPTH_MAX {
            return Err(self.stop(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let mut members: Members<'de> = Vec::with_capacity(object.size_hint().unwrap_or(8).min(MEMBERS_MAX));
        while let Some(key) = object.next_key_seed(Key)? {
            if members.len() == MEMBERS_MAX {
                return Err(self.stop(format!("more than {MEMBERS_MAX} members")));
            }
            self.growth.text_bytes += key.len();
            let at = self.at.field(&key);
            let seed = Seed { at, depth: self.depth + 1, growth: &mut *self.growth };
            let node = object.next_value_seed(seed)?;
            // An object has few members, so that comparing is faster than hashing, and the limit bounds it.
            if members.iter().any(|(known, _)| *known == key) {
                self.growth.error.push(JsonProblem::new(self.at.field(&key), "given twice in one object"));
            } else {
                members.push((key, node));
            }
        }
        Ok(Node::Object(members))
    }
}

/// Reads the name of a member, borrowed where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_string<E>(self, name: String) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name))
    }
}

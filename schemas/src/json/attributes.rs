use super::node::Node;
use super::place::At;
use super::reading::{Reading, check_text};
use serde_json::Number;
use std::collections::BTreeMap;

/// Greatest size to which every whole number has a double of its own.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads the free attributes; numbers and booleans become their JSON text.
pub(super) fn read(
    node: Node<'_>,
    at: &At<'_>,
    reading: &mut Reading,
    slot: &mut Option<BTreeMap<String, String>>,
) {
    let members = match node {
        Node::Null => return reading.clear(at),
        Node::Object(members) => members,
        other => return reading.wrong_type(at, "an object", &other),
    };
    let mut attributes = BTreeMap::new();
    for (name, node) in members {
        let place = at.field(&name);
        if let Err(message) = check_name(&name) {
            reading.problem(&place, message);
        } else if let Some(text) = value(node, &place, reading) {
            attributes.insert(name.into_owned(), text);
        }
    }
    *slot = (!attributes.is_empty()).then_some(attributes);
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name of an attribute is empty".into());
    }
    check_text(name)
}

fn value(node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> Option<String> {
    match node {
        Node::Null => reading.clear(at),
        Node::Bool(value) => return Some(value.to_string()),
        Node::Number(number) if is_exact(&number) => return Some(number.to_string()),
        Node::Number(_) => {
            reading.problem(at, "too large to be kept exactly as a number; write it as a string")
        }
        text @ Node::Text(_) => return reading.plain_text(text, at),
        other => {
            let kind = other.kind();
            reading.problem(
                at,
                format!("expected a string, a number or a boolean, found {kind}; write it as a string"),
            );
        }
    }
    None
}

/// Tells whether a number is what was written: a whole number beyond 64 bits has lost digits, and an attribute may be an
/// account or a card.
fn is_exact(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|value| value.abs() < EXACT_MAX)
}

#[cfg(test)]
mod tests {
    use crate::json::session_from_json;

    fn attribute(text: &str) -> Result<Option<String>, String> {
        let text = format!(r#"{{"session_id":"s","attributes":{{"a":{text}}}}}"#);
        let parsed = session_from_json(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(parsed.session.attributes.and_then(|mut attributes| attributes.remove("a")))
    }

    #[test]
    fn numbers_and_booleans_become_their_text() {
        for (json, text) in [
            (r#""gold""#, "gold"),
            (r#""""#, ""),
            ("7", "7"),
            ("-7", "-7"),
            ("0.1", "0.1"),
            ("18446744073709551615", "18446744073709551615"),
            ("true", "true"),
        ] {
            assert_eq!(attribute(json), Ok(Some(text.into())), "{json}");
        }
        assert_eq!(attribute("null"), Ok(None));
    }

    #[test]
    fn what_would_lose_something_is_refused() {
        let refused = |json: &str, message: &str| {
            assert_eq!(attribute(json), Err(format!("attributes.a: {message}")), "{json}");
        };
        refused("4111111111111111111111", "too large to be kept exactly as a number; write it as a string");
        refused("1e300", "too large to be kept exactly as a number; write it as a string");
        refused("[1]", "expected a string, a number or a boolean, found a list; write it as a string");
        refused("{}", "expected a string, a number or a boolean, found an object; write it as a string");
        refused(r#""\u0000""#, "holds a NUL character");
        let error = session_from_json(br#"{"session_id":"s","attributes":{"":"x"}}"#)
            .expect_err("the name is refused");
        assert_eq!(error.problems[0].message, "the name of an attribute is empty");
    }
}

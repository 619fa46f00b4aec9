//! From a body to the texts of its sessions: one object, a list of them, or one a line.

use crate::problem::{Problem, SessionProblem};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// An object, or a list of objects.
    Json,
    /// An object a line.
    Lines,
}

impl Format {
    /// Returns the format that the headers name.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let unsupported =
            |detail: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail);
        if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(unsupported("bodies cannot be compressed"));
        }
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|media_type| media_type.to_str().ok());
        let mut parts =
            media_type.unwrap_or_default().split(';').map(|part| part.trim().to_ascii_lowercase());
        let format = match parts.next().as_deref() {
            Some("application/json") => Self::Json,
            Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => Self::Lines,
            _ => return Err(unsupported("expected content-type application/json or application/x-ndjson")),
        };
        let other_charset = |part: String| {
            part.starts_with("charset=") && part["charset=".len()..].trim_matches('"') != "utf-8"
        };
        if parts.any(other_charset) { Err(unsupported("expected charset utf-8")) } else { Ok(format) }
    }
}

/// Returns the texts of a body's sessions, in their order.
pub(crate) fn split(body: &[u8], format: Format, sessions_max: usize) -> Result<Vec<&str>, Problem> {
    // Files written on Windows often begin with a byte order mark.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|cause| {
        let message = format!("invalid UTF-8 at byte {} of the body", cause.valid_up_to());
        Problem::invalid_sessions(vec![SessionProblem { message, ..SessionProblem::default() }], 0)
    })?;
    let is_list = text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[');
    let texts = match format {
        Format::Lines => lines(text, sessions_max)?,
        Format::Json if is_list => items(text, sessions_max)?,
        Format::Json => vec![text],
    };
    if texts.iter().all(|text| text.trim().is_empty()) {
        return Err(Problem::bad_request("no_sessions", "the body has no session"));
    }
    Ok(texts)
}

fn lines(text: &str, sessions_max: usize) -> Result<Vec<&str>, Problem> {
    let mut lines = Vec::new();
    for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
        if lines.len() == sessions_max {
            return Err(too_many(sessions_max));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Cuts a list into its items without reading them: each is read under the limits of a session afterwards.
fn items(text: &str, sessions_max: usize) -> Result<Vec<&str>, Problem> {
    let mut items = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let visitor = Items { items: &mut items, items_max: sessions_max };
    let read =
        deserializer.deserialize_seq(visitor).and_then(|complete| deserializer.end().map(|()| complete));
    match read {
        Ok(true) => Ok(items),
        // What follows the greatest number of items is not read, so that the rest of the text does not matter.
        _ if items.len() == sessions_max => Err(too_many(sessions_max)),
        Ok(false) => unreachable!("a list is only left before its end at the greatest number of items"),
        Err(cause) => Err(Problem::invalid_sessions(vec![syntax_problem(&cause, items.len())], 0)),
    }
}

struct Items<'i, 'a> {
    items: &'i mut Vec<&'a str>,
    items_max: usize,
}

impl<'a> Visitor<'a> for Items<'_, 'a> {
    /// Whether the list ended in time.
    type Value = bool;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of sessions")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<bool, A::Error> {
        while self.items.len() < self.items_max {
            match list.next_element::<&'a RawValue>()? {
                Some(item) => self.items.push(item.get()),
                None => return Ok(true),
            }
        }
        Ok(list.next_element::<&'a RawValue>()?.is_none())
    }
}

fn syntax_problem(cause: &serde_json::Error, index: usize) -> SessionProblem {
    let (line, column) = (cause.line(), cause.column());
    let mut message = cause.to_string();
    if let Some(bare) = message.strip_suffix(&format!(" at line {line} column {column}")) {
        message.truncate(bare.len());
    }
    SessionProblem { index, message, line: Some(line), column: Some(column), ..SessionProblem::default() }
}

fn too_many(sessions_max: usize) -> Problem {
    let detail = format!("one request has at most {sessions_max} sessions");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_sessions", detail)
}

/// Returns the line and the column in the body of a place in one of its parts, all from 1.
pub(crate) fn place_in_body(body: &[u8], part: &str, line: usize, column: usize) -> (usize, usize) {
    let offset = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize).min(body.len());
    let before = &body[..offset];
    let lines_before = before.iter().filter(|byte| **byte == b'\n').count();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
    let column = if line == 1 { column + (offset - line_start) } else { column };
    (line + lines_before, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, format: Format, expected: Result<&[&str], &str>) {
        match (split(body.as_bytes(), format, 3), expected) {
            (Ok(texts), Ok(expected)) => assert_eq!(texts, expected, "{body}"),
            (Err(problem), Err(expected)) => {
                let told = format!("{problem:?}");
                assert!(told.contains(expected), "{body}: {told}");
            }
            (found, expected) => panic!("{body}: {found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn a_body_is_cut_into_sessions() {
        use Format::{Json, Lines};
        check(r#"{"a":1}"#, Json, Ok(&[r#"{"a":1}"#]));
        check("\u{feff}{}", Json, Ok(&["{}"]));
        check(r#" [ {"a":[1,2]} , {"b":"]"} ] "#, Json, Ok(&[r#"{"a":[1,2]}"#, r#"{"b":"]"}"#]));
        check("{}\r\n\n {\"a\":1}\n", Lines, Ok(&["{}\r", " {\"a\":1}"]));
        check("[1,2,3]", Json, Ok(&["1", "2", "3"]));
        check("[1,2,3,4]", Json, Err("too_many_sessions"));
        check("[1,2,3,4", Json, Err("too_many_sessions"));
        check("[1,2,3,", Json, Err("too_many_sessions"));
        check("1\n2\n3\n4", Lines, Err("too_many_sessions"));
        check("[]", Json, Err("no_sessions"));
        check(" ", Json, Err("no_sessions"));
        check("\n\n", Lines, Err("no_sessions"));
        check("[{},\n{]", Json, Err("line: Some(2)"));
        check("[{}] {}", Json, Err("trailing characters"));
        check("[{}", Json, Err("EOF"));
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = format!("[{}", "[".repeat(1 << 20));
        check(&deep, Format::Json, Err("EOF"));
        let closed = format!("[{}{}]", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(split(closed.as_bytes(), Format::Json, 3).expect("it is cut").len(), 1);
    }

    #[test]
    fn the_place_of_a_problem_is_told_in_the_body() {
        let body = b"[{},\n  {\n x}]";
        let items = split(body, Format::Json, 9);
        assert!(items.is_err(), "what is not JSON is found while the list is cut");
        let body = b"{}\n  {\"a\":}\n";
        let lines = split(body, Format::Lines, 9).expect("the lines are cut");
        assert_eq!(place_in_body(body, lines[1], 1, 8), (2, 8));
        let body = b" [{}, {\"a\":\n1}]";
        let items = split(body, Format::Json, 9).expect("the list is cut");
        assert_eq!(place_in_body(body, items[1], 1, 2), (1, 8));
        assert_eq!(place_in_body(body, items[1], 2, 1), (2, 1));
    }
}

//! How one field is read, whatever it is called: its type, its limits, null as "take it back".

use super::error::{JsonError, JsonProblem};
use super::node::{Members, Node};
use super::place::At;
use super::{FIELD_BYTES_MAX, time};
use crate::key::ID_BYTES_MAX;
use crate::{Leaf, TimeMs};
use serde_json::Number;

/// Least likeness (Jaro-Winkler) of a name that is suggested in the place of an unknown one.
const LIKENESS_MIN: f64 = 0.85;
/// Longest name that is compared with the known ones; comparing takes the square of the length.
const COMPARED_BYTES_MAX: usize = 64;
const FREE_FIELDS_HINT: &str = "free fields go into \"attributes\"";

/// The bytes of an attachment, or where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentFile {
    /// The attachment they belong to.
    pub attachment_id: String,
    /// The bytes.
    pub source: AttachmentSource,
}

/// Where the bytes of an attachment are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachmentSource {
    /// In a file, whose path is as it was given: who reads it decides what it is relative to and whether it is allowed.
    Path(String),
    /// Here.
    Data(Vec<u8>),
}

/// Names, each with what it means.
pub(super) type Table = &'static [(&'static str, &'static str)];

/// A record that is read member by member.
pub(super) trait Fields: Default + PartialEq {
    /// A text may stand in its place.
    const HAS_TEXT_FORM: bool = false;
    /// Other names of its fields, each with the schema's.
    const ALIASES: Table = &[];
    /// Names that producers try, each with what it means here; they are suggested, not taken.
    const SYNONYMS: Table = &[];

    /// Takes over a member, and tells whether its name is known.
    fn take(&mut self, name: &str, node: Node<'_>, at: &At<'_>, reading: &mut Reading) -> bool;

    /// Takes over the text that stands in the place of the record; called only where [`Fields::HAS_TEXT_FORM`] says so.
    fn take_text(&mut self, _text: String, _at: &At<'_>, _reading: &mut Reading) {}

    /// Checks what one member alone does not tell; called where each member alone is right.
    fn check(&self, _at: &At<'_>, _reading: &mut Reading) {}

    /// Returns the names of its fields, for suggestions.
    fn names() -> Vec<String>;

    /// Returns where a field of this name stands in another record.
    fn elsewhere(_name: &str) -> Option<String> {
        None
    }
}

/// Returns the first segments of a record's leaves, which are the names of its fields.
pub(super) fn first_segments(leaf_names: fn(&str, &mut Vec<Leaf>)) -> Vec<String> {
    let mut leaves = Vec::new();
    leaf_names("", &mut leaves);
    let mut names: Vec<String> =
        leaves.iter().map(|leaf| crate::merge::split(&leaf.name).0.to_owned()).collect();
    names.dedup();
    names
}

/// What a session gives beside itself while it is read.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) error: JsonError,
    pub(super) cleared: Vec<String>,
    pub(super) files: Vec<AttachmentFile>,
    /// Bytes of the texts that are contents of attachments.
    pub(super) data_bytes: usize,
}

impl Reading {
    /// Reads a record from an object, or from the text that may stand for it. One that says nothing is absent.
    pub(super) fn record<R: Fields>(&mut self, node: Node<'_>, at: &At<'_>, slot: &mut Option<R>) {
        let mut record = R::default();
        match node {
            Node::Null => return self.clear(at),
            Node::Object(members) => self.members(&mut record, members, at),
            text @ Node::Text(_) if R::HAS_TEXT_FORM => {
                if let Some(text) = self.plain_text(text, at) {
                    record.take_text(text, at, self);
                }
            }
            other => {
                let expected = if R::HAS_TEXT_FORM { "an object or a string" } else { "an object" };
                self.wrong_type(at, expected, &other);
            }
        }
        if record != R::default() {
            *slot = Some(record);
        }
    }

    /// Reads the members of an object into a record.
    pub(super) fn members<R: Fields>(&mut self, record: &mut R, members: Members<'_>, at: &At<'_>) {
        let problems = self.error.count();
        for (alias, canonical) in R::ALIASES {
            let has = |name: &str| members.iter().any(|(member, _)| member == name);
            if has(alias) && has(canonical) {
                self.problem(
                    &at.field(alias),
                    format!("means the same as \"{canonical}\", which is given too"),
                );
            }
        }
        for (name, node) in members {
            let canonical = meaning(R::ALIASES, &name).unwrap_or(&name);
            let place = at.alias(&name, canonical);
            if !record.take(canonical, node, &place, self) {
                self.unknown_field::<R>(&name, &place);
            }
        }
        if self.error.count() == problems {
            record.check(at, self);
        }
    }

    /// Reads a text.
    pub(super) fn text(&mut self, node: Node<'_>, at: &At<'_>, slot: &mut Option<String>) {
        match node {
            Node::Null => self.clear(at),
            node => *slot = self.plain_text(node, at),
        }
    }

    /// Reads an identifier: a text of limited length that is not empty.
    pub(super) fn id(&mut self, node: Node<'_>, at: &At<'_>, slot: &mut Option<String>) {
        self.text(node, at, slot);
        if let Some(id) = slot
            && let Err(message) = check_id(id)
        {
            self.problem(at, message);
        }
    }

    /// Reads a day of the calendar.
    pub(super) fn date(&mut self, node: Node<'_>, at: &At<'_>, slot: &mut Option<String>) {
        self.text(node, at, slot);
        if slot.as_ref().is_some_and(|date| !time::is_date(date)) {
            self.problem(at, "not a day of the calendar as YYYY-MM-DD");
        }
    }

    /// Reads a point in time.
    pub(super) fn time(&mut self, node: Node<'_>, at: &At<'_>, slot: &mut Option<TimeMs>) {
        const FORMS: &str = "a time in RFC 3339 with its offset, or whole milliseconds since 1970";
        *slot = match node {
            Node::Null => return self.clear(at),
            Node::Number(number) => whole(&number).filter(|time| time::has_text(*time)),
            Node::Text(text) => time::time_from_text(&text),
            other => return self.wrong_type(at, FORMS, &other),
        };
        if slot.is_none() {
            self.problem(at, format!("not {FORMS}, from the year 1 to the year 9999"));
        }
    }

    /// Reads true or false.
    pub(super) fn truth(&mut self, node: Node<'_>, at: &At<'_>, slot: &mut Option<bool>) {
        match node {
            Node::Null => self.clear(at),
            Node::Bool(value) => *slot = Some(value),
            other => self.wrong_type(at, "true or false", &other),
        }
    }

    /// Reads a number of a range.
    pub(super) fn number(
        &mut self,
        node: Node<'_>,
        at: &At<'_>,
        least: f64,
        most: f64,
        slot: &mut Option<f64>,
    ) {
        let number = match node {
            Node::Null => return self.clear(at),
            Node::Number(number) => number,
            other => return self.wrong_type(at, "a number", &other),
        };
        match number.as_f64().filter(|value| (least..=most).contains(value)) {
            Some(value) => *slot = Some(value),
            None if most == f64::MAX => self.problem(at, format!("less than {least}")),
            None => self.problem(at, format!("not between {least} and {most}")),
        }
    }

    /// Reads a whole number from 0.
    pub(super) fn count<N: TryFrom<i64>>(&mut self, node: Node<'_>, at: &At<'_>, slot: &mut Option<N>) {
        let number = match node {
            Node::Null => return self.clear(at),
            Node::Number(number) => number,
            other => return self.wrong_type(at, "a whole number", &other),
        };
        *slot = whole(&number).filter(|count| *count >= 0).and_then(|count| N::try_from(count).ok());
        if slot.is_none() {
            self.problem(at, "not a whole number from 0 that fits");
        }
    }

    /// Reads a list of texts.
    pub(super) fn texts(&mut self, node: Node<'_>, at: &At<'_>, slot: &mut Option<Vec<String>>) {
        let items = match node {
            Node::Null => return self.clear(at),
            Node::List(items) => items,
            other => return self.wrong_type(at, "a list of strings", &other),
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            texts.extend(self.plain_text(item, &at.item(index)));
        }
        *slot = Some(texts);
    }

    /// Reads a symbol of an enum. `help` has other words with the symbols they stand for, and what else to say.
    pub(super) fn symbol<T>(
        &mut self,
        node: Node<'_>,
        at: &At<'_>,
        parse: fn(&str) -> Option<T>,
        symbols: &[&str],
        help: (Table, Option<&'static str>),
        slot: &mut Option<T>,
    ) {
        let text = match node {
            Node::Null => return self.clear(at),
            Node::Text(text) => text,
            other => return self.wrong_type(at, "a string", &other),
        };
        *slot = parse(&text);
        if slot.is_none() {
            let known = symbols.iter().map(|symbol| (*symbol).to_owned());
            let suggestion = match help.1 {
                Some(_) => None,
                None => {
                    meaning(help.0, &text.to_lowercase()).map(str::to_owned).or_else(|| likest(&text, known))
                }
            };
            let problem = JsonProblem::new(at, format!("expected one of {}", symbols.join(", ")));
            self.error.push(JsonProblem { hint: help.1, ..problem.suggesting(suggestion) });
        }
    }

    /// Reads a list of records.
    pub(super) fn records<R: Fields>(&mut self, node: Node<'_>, at: &At<'_>) -> Option<Vec<R>> {
        let items = match node {
            Node::List(items) => items,
            other => {
                self.wrong_type(at, "a list of objects", &other);
                return None;
            }
        };
        let mut records = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let place = at.item(index);
            let mut record = R::default();
            match item {
                Node::Object(members) => self.members(&mut record, members, &place),
                other => self.wrong_type(&place, "an object", &other),
            }
            records.push(record);
        }
        Some(records)
    }

    /// Returns a text that must be there.
    pub(super) fn plain_text(&mut self, node: Node<'_>, at: &At<'_>) -> Option<String> {
        match node {
            Node::Text(text) => match check_text(&text) {
                Ok(()) => return Some(text.into_owned()),
                Err(message) => self.problem(at, message),
            },
            other => self.wrong_type(at, "a string", &other),
        }
        None
    }

    /// Notes that the stage takes a field back. What stands in a list is replaced as a whole, so that null there means
    /// no more than absent.
    pub(super) fn clear(&mut self, at: &At<'_>) {
        if !at.is_in_list() {
            self.cleared.push(at.canonical_path());
        }
    }

    pub(super) fn problem(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.error.push(JsonProblem::new(at, message));
    }

    pub(super) fn wrong_type(&mut self, at: &At<'_>, expected: &str, found: &Node<'_>) {
        self.problem(at, format!("expected {expected}, found {}", found.kind()));
    }

    pub(super) fn unknown_field<R: Fields>(&mut self, name: &str, at: &At<'_>) {
        let known = meaning(R::SYNONYMS, name).map(str::to_owned).or_else(|| R::elsewhere(name));
        let suggestion = known.or_else(|| {
            let mut names = R::names();
            names.extend(R::ALIASES.iter().map(|(alias, _)| (*alias).to_owned()));
            likest(name, names)
        });
        self.error
            .push(JsonProblem::new(at, "unknown field").suggesting(suggestion).hinting(FREE_FIELDS_HINT));
    }
}

/// Returns what a name means in a table of names and meanings.
fn meaning(table: Table, name: &str) -> Option<&'static str> {
    table.iter().find(|(other, _)| *other == name).map(|(_, meaning)| *meaning)
}

/// Returns the name most like an unknown one, where one is like it.
pub(super) fn likest(unknown: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    if unknown.len() > COMPARED_BYTES_MAX {
        return None;
    }
    let unknown = unknown.to_lowercase();
    let likeness = |name: String| (strsim::jaro_winkler(&unknown, &name), name);
    let best = names.into_iter().map(likeness).max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 >= LIKENESS_MIN).then_some(best.1)
}

/// Checks the limits of a text.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    if text.len() > FIELD_BYTES_MAX {
        return Err(format!("{} bytes are more than {FIELD_BYTES_MAX}", text.len()));
    }
    if text.contains('\0') {
        return Err("holds a NUL character".into());
    }
    Ok(())
}

/// Checks the limits of an identifier.
pub(super) fn check_id(id: &str) -> Result<(), String> {
    match id.len() {
        0 => Err("empty".into()),
        1..=ID_BYTES_MAX => Ok(()),
        length => Err(format!("{length} bytes are more than {ID_BYTES_MAX}")),
    }
}

/// Returns a number that is whole, however it is written: JSON does not tell 4 from 4.0.
pub(super) fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let value = number.as_f64()?;
        // Beyond 2^53 a double no longer tells neighbours apart.
        (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_told_from_others() {
        let number = |text: &str| serde_json::from_str::<Number>(text).expect("the text is a number");
        assert_eq!(whole(&number("4")), Some(4));
        assert_eq!(whole(&number("4.0")), Some(4));
        assert_eq!(whole(&number("-7")), Some(-7));
        assert_eq!(whole(&number("4.5")), None);
        assert_eq!(whole(&number("1e300")), None);
        assert_eq!(whole(&number("18446744073709551615")), None);
    }

    #[test]
    fn the_likest_name_is_found_and_an_unlike_one_is_not() {
        let names = || ["cpu_cores", "memory_gb", "gpu"].map(str::to_owned);
        assert_eq!(likest("cpu_coers", names()).as_deref(), Some("cpu_cores"));
        assert_eq!(likest("CPU_Cores", names()).as_deref(), Some("cpu_cores"));
        assert_eq!(likest("colour", names()), None);
        assert_eq!(likest(&"c".repeat(1 << 20), names()), None);
    }
}

//! Reads TOML with the place of everything, so that each mistake is told where it stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, LoadError, Problem, nearest};

/// The largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// Collects what is wrong with a file.
pub(crate) struct Reporter<'s> {
    source: &'s str,
    line_starts: Vec<usize>,
    /// With the offset they are sorted by in the end.
    found: Vec<(usize, Diagnostic)>,
}

impl<'s> Reporter<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        let after_breaks =
            source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_breaks).collect();
        Reporter { source, line_starts, found: Vec::new() }
    }

    /// Returns line and column of a byte offset, both from 1, the column in characters.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.source.floor_char_boundary(offset);
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        (line, self.source[start..offset].chars().count() + 1)
    }

    pub(crate) fn report(&mut self, offset: usize, message: impl Into<String>, suggestion: Option<String>) {
        let (line, column) = self.position(offset);
        self.found.push((offset, Diagnostic { line, column, message: message.into(), suggestion }));
    }

    pub(crate) fn error(&mut self, offset: usize, message: impl Into<String>) {
        self.report(offset, message, None);
    }

    /// Reports a problem inside a string of the file.
    pub(crate) fn problem_in(&mut self, text: &Text<'_>, problem: Problem) {
        let offset = text.offset_in_file(self.source, problem.span.start);
        self.report(offset, problem.message, problem.suggestion);
    }

    /// Returns whether enough was found to stop looking.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= DIAGNOSTICS_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns all that was found as an error, in the order of the file.
    pub(crate) fn into_error(mut self) -> LoadError {
        self.found.sort_by_key(|(offset, _)| *offset);
        self.found.truncate(DIAGNOSTICS_MAX);
        LoadError { diagnostics: self.found.into_iter().map(|(_, diagnostic)| diagnostic).collect() }
    }
}

/// Parses a file, or reports why it cannot be.
pub(crate) fn parse<'s>(source: &'s str, reporter: &mut Reporter<'s>) -> Option<Spanned<DeTable<'s>>> {
    if source.len() > FILE_BYTES_MAX {
        reporter.error(0, format!("file is larger than {FILE_BYTES_MAX} bytes"));
        return None;
    }
    let (table, errors) = DeTable::parse_recoverable(source);
    for error in errors.iter().take(DIAGNOSTICS_MAX) {
        let offset = error.span().map_or(0, |span| span.start);
        reporter.error(offset, format!("not valid toml: {}", error.message()));
    }
    reporter.is_empty().then_some(table)
}

/// Is a string of the file.
#[derive(Clone, Debug)]
pub(crate) struct Text<'d> {
    pub(crate) value: &'d str,
    span: Range<usize>,
}

impl Text<'_> {
    pub(crate) fn offset(&self) -> usize {
        self.span.start
    }

    /// Returns where in the file a byte of the value stands.
    fn offset_in_file(&self, source: &str, offset: usize) -> usize {
        let raw = source.get(self.span.clone()).unwrap_or_default();
        let offsets = value_offsets(raw);
        // Where the two readings of the string differ, its start is the best that can be said.
        let inside = if offsets.len() == self.value.len() + 1 { offsets.get(offset).copied() } else { None };
        self.span.start + inside.unwrap_or(0)
    }
}

/// Returns, for each byte of a string's value and for its end, the byte of the written string it comes from.
fn value_offsets(raw: &str) -> Vec<usize> {
    let (delimiter, is_literal) = match raw {
        _ if raw.starts_with("'''") => ("'''", true),
        _ if raw.starts_with("\"\"\"") => ("\"\"\"", false),
        _ if raw.starts_with('\'') => ("'", true),
        _ if raw.starts_with('"') => ("\"", false),
        _ => ("", true),
    };
    let end = raw.len().saturating_sub(delimiter.len()).max(delimiter.len());
    let mut at = delimiter.len();
    if delimiter.len() == 3 {
        let first_break = ["\r\n", "\n"].into_iter().find(|line_break| raw[at..].starts_with(line_break));
        at += first_break.map_or(0, str::len);
    }
    let mut offsets = Vec::with_capacity(raw.len());
    while let Some(character) = raw.get(at..end).and_then(|rest| rest.chars().next()) {
        let (written_length, value_length) = match character {
            '\\' if !is_literal => escape_lengths(&raw[at..end]),
            _ => (character.len_utf8(), character.len_utf8()),
        };
        offsets.extend(std::iter::repeat_n(at, value_length));
        at += written_length;
    }
    offsets.push(end);
    offsets
}

/// Returns how long an escape is as written and as a value.
fn escape_lengths(escape: &str) -> (usize, usize) {
    let hexadecimal = |digit_count: usize| {
        let digits = escape.get(2..2 + digit_count).unwrap_or_default();
        let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        (2 + digit_count, character.map_or(1, char::len_utf8))
    };
    match escape.as_bytes().get(1) {
        Some(b'x') => hexadecimal(2),
        Some(b'u') => hexadecimal(4),
        Some(b'U') => hexadecimal(8),
        Some(b' ' | b'\t' | b'\r' | b'\n') => {
            // A backslash at the end of a line takes the white space after it away.
            let rest = escape[1..].trim_start_matches([' ', '\t', '\r', '\n']);
            (escape.len() - rest.len(), 0)
        }
        _ => (2, 1),
    }
}

/// Is a table of the file.
#[derive(Clone, Debug)]
pub(crate) struct Section<'d> {
    table: &'d DeTable<'d>,
    span: Range<usize>,
}

impl<'d> Section<'d> {
    pub(crate) fn of(table: &'d Spanned<DeTable<'d>>) -> Self {
        Section { table: table.get_ref(), span: table.span() }
    }

    pub(crate) fn offset(&self) -> usize {
        self.span.start
    }

    /// Returns all keys with their values in the order of the file.
    pub(crate) fn entries(&self) -> Vec<(Text<'d>, &'d Spanned<DeValue<'d>>)> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| (Text { value: key.get_ref(), span: key.span() }, value))
            .collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        entries
    }

    /// Reports keys that mean nothing.
    pub(crate) fn check_keys(&self, known: &[&str], reporter: &mut Reporter<'_>) {
        for (key, _) in self.entries() {
            if !known.contains(&key.value) {
                let suggestion = nearest_suggestion(key.value, known.iter().copied())
                    .unwrap_or_else(|| format!("known keys are {}", known.join(", ")));
                reporter.report(key.offset(), format!("unknown key `{}`", key.value), Some(suggestion));
            }
        }
    }

    fn value(&self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.table.get(key)
    }

    pub(crate) fn text(&self, key: &str, reporter: &mut Reporter<'_>) -> Option<Text<'d>> {
        let value = self.value(key)?;
        as_text(value).or_else(|| mismatch(key, "a text", value, reporter))
    }

    /// Returns a text, or reports that it is missing.
    pub(crate) fn required_text(&self, key: &str, reporter: &mut Reporter<'_>) -> Option<Text<'d>> {
        self.require(key, key, reporter);
        self.text(key, reporter)
    }

    /// Reports a key that is missing by the name that a person knows it by.
    pub(crate) fn require(&self, key: &str, shown_key: &str, reporter: &mut Reporter<'_>) {
        if self.value(key).is_none() {
            reporter.error(self.offset(), format!("`{shown_key}` is missing"));
        }
    }

    pub(crate) fn int(&self, key: &str, reporter: &mut Reporter<'_>) -> Option<(i64, usize)> {
        let value = self.value(key)?;
        match as_int(value.get_ref()) {
            Some(int) => Some((int, value.span().start)),
            None => mismatch(key, "an integer", value, reporter),
        }
    }

    /// Returns a number, written with or without a point.
    pub(crate) fn number(&self, key: &str, reporter: &mut Reporter<'_>) -> Option<(f64, usize)> {
        let value = self.value(key)?;
        match as_number(value.get_ref()) {
            Some(number) => Some((number, value.span().start)),
            None => mismatch(key, "a finite number", value, reporter),
        }
    }

    pub(crate) fn texts(&self, key: &str, reporter: &mut Reporter<'_>) -> Option<Vec<Text<'d>>> {
        let value = self.value(key)?;
        let texts = value.get_ref().as_array().and_then(|array| array.iter().map(as_text).collect());
        texts.or_else(|| mismatch(key, "a list of texts", value, reporter))
    }

    pub(crate) fn section(&self, key: &str, reporter: &mut Reporter<'_>) -> Option<Section<'d>> {
        let value = self.value(key)?;
        as_section(value).or_else(|| mismatch(key, "a table", value, reporter))
    }

    /// Returns the tables written as `[[key]]`.
    pub(crate) fn sections(&self, key: &str, reporter: &mut Reporter<'_>) -> Vec<Section<'d>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let sections = value.get_ref().as_array().and_then(|array| array.iter().map(as_section).collect());
        let sections: Option<Vec<_>> =
            sections.or_else(|| mismatch(key, &format!("tables written as [[{key}]]"), value, reporter));
        sections.unwrap_or_default()
    }
}

/// Returns "did you mean" with the candidate closest to what was written.
pub(crate) fn nearest_suggestion<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(written, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// Returns the one of `all` that a text names, or reports the words that are allowed.
pub(crate) fn one_of_words<T: Copy>(
    text: &Text<'_>,
    all: &[T],
    word: impl Fn(T) -> &'static str,
    reporter: &mut Reporter<'_>,
) -> Option<T> {
    let found = all.iter().copied().find(|candidate| word(*candidate) == text.value);
    if found.is_none() {
        let words: Vec<_> = all.iter().map(|candidate| word(*candidate)).collect();
        let suggestion = nearest_suggestion(text.value, words.iter().copied())
            .unwrap_or_else(|| format!("write one of {}", words.join(", ")));
        reporter.report(text.offset(), format!("unknown word {:?}", text.value), Some(suggestion));
    }
    found
}

pub(crate) fn as_text<'d>(value: &'d Spanned<DeValue<'d>>) -> Option<Text<'d>> {
    value.get_ref().as_str().map(|text| Text { value: text, span: value.span() })
}

pub(crate) fn as_section<'d>(value: &'d Spanned<DeValue<'d>>) -> Option<Section<'d>> {
    value.get_ref().as_table().map(|table| Section { table, span: value.span() })
}

pub(crate) fn as_int(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub(crate) fn as_number(value: &DeValue<'_>) -> Option<f64> {
    let number = match as_int(value) {
        Some(int) => int as f64,
        None => value.as_float()?.as_str().parse().ok()?,
    };
    number.is_finite().then_some(number)
}

fn mismatch<T>(
    key: &str,
    expected: &str,
    value: &Spanned<DeValue<'_>>,
    reporter: &mut Reporter<'_>,
) -> Option<T> {
    let found = value.get_ref().type_str();
    reporter.error(value.span().start, format!("`{key}` needs {expected}, found {found}"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that each character of the value is found at a place of the file that writes it.
    #[track_caller]
    fn check(written: &str, value: &str, at: usize, expected: usize) {
        let source = format!("when = {written}\n");
        let table = DeTable::parse(&source).expect(written);
        let text = as_text(&table.get_ref()["when"]).expect("it is a text");
        assert_eq!(text.value, value);
        assert_eq!(text.offset_in_file(&source, at) - "when = ".len(), expected, "{written}");
    }

    #[test]
    fn offsets_inside_strings() {
        check("'abc'", "abc", 1, 2);
        check("\"abc\"", "abc", 3, 4);
        check(r#""a\tb""#, "a\tb", 2, 4);
        check(r#""a\u00e9b""#, "aéb", 3, 8);
        check(r#""\"b""#, "\"b", 1, 3);
        check("'''\nab\ncd'''", "ab\ncd", 3, 7);
        check("'''\r\nab'''", "ab", 0, 5);
        check("\"\"\"a\\\n   b\"\"\"", "ab", 1, 9);
        check("\"é\"", "é", 2, 3);
    }

    #[test]
    fn positions_count_characters() {
        let reporter = Reporter::new("añb\ncd");
        assert_eq!(reporter.position(0), (1, 1));
        assert_eq!(reporter.position(3), (1, 3));
        assert_eq!(reporter.position(5), (2, 1));
        assert_eq!(reporter.position(99), (2, 3));
    }
}

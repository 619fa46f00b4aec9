//! What is wrong with a file, and where.

use std::fmt;

use thiserror::Error;

/// The most diagnostics that one load reports; after them it stops looking.
pub const DIAGNOSTICS_MAX: usize = 100;

/// Says what is wrong at one place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line of the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    pub message: String,
    /// What to do about it: "did you mean `ip.tor`?".
    pub suggestion: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(formatter, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

/// Holds everything that is wrong with a rule set or a file of cases, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct LoadError {
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{diagnostic}")?;
        }
        Ok(())
    }
}

/// Is a problem at a byte range of some text, before the place in the file is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

impl Problem {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Problem { span, message: message.into(), suggestion: None }
    }

    pub(crate) fn with_suggestion(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Adds "did you mean" if one of the candidates is close to what was written.
    pub(crate) fn with_nearest<'a>(
        mut self,
        written: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.suggestion =
            nearest(written, candidates).map(|candidate| format!("did you mean `{candidate}`?"));
        self
    }
}

/// Is a byte range of some text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Span { start, end }
    }

    pub(crate) fn to(self, other: Span) -> Span {
        Span { start: self.start, end: other.end }
    }
}

/// Returns the candidate closest to what was written, unless all are far from it.
///
/// A candidate that ends with what was written (`tor` for `ip.tor`) counts as close, because the first
/// segment is what people forget.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer texts are no misspelt name, and their distance to every candidate would be costly.
    if written.is_empty() || written.len() > 128 {
        return None;
    }
    let distance_max = (written.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let is_tail = candidate.strip_suffix(written).is_some_and(|head| head.ends_with('.'));
        let distance = if is_tail { 1 } else { strsim::osa_distance(written, candidate) };
        if distance <= distance_max && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_misspellings_and_forgotten_roots() {
        let candidates = ["ip.tor", "ip.vpn", "geo.location.inside_prison"];
        assert_eq!(nearest("ip.tro", candidates), Some("ip.tor"));
        assert_eq!(nearest("tor", candidates), Some("ip.tor"));
        assert_eq!(nearest("geo.location.inside_prision", candidates), Some("geo.location.inside_prison"));
        assert_eq!(nearest("something_else", candidates), None);
        assert_eq!(nearest("", candidates), None);
    }
}

use super::PROBLEMS_MAX;
use std::fmt;

/// A session as JSON could not be read: every problem found in it, at most [`PROBLEMS_MAX`].
///
/// Messages name fields and never repeat values, since values are personal data and errors end in logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{}", self.describe())]
pub struct JsonError {
    /// The problems, in the order of the text.
    pub problems: Vec<JsonProblem>,
    /// How many more there were.
    pub problems_left_out: usize,
}

/// One problem of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct JsonProblem {
    /// Dotted path of the field, as in `device.cpu_cores` or `attachments[0].kind`; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What was perhaps meant.
    pub suggestion: Option<String>,
    /// What else helps.
    pub hint: Option<&'static str>,
    /// Line from 1, where the text itself is not JSON.
    pub line: Option<usize>,
    /// Column from 1, where the text itself is not JSON.
    pub column: Option<usize>,
}

impl JsonError {
    fn describe(&self) -> String {
        let mut text = self.problems.iter().map(JsonProblem::to_string).collect::<Vec<_>>().join("; ");
        if self.problems_left_out > 0 {
            text.push_str(&format!("; and {} more", self.problems_left_out));
        }
        text
    }

    pub(super) fn push(&mut self, problem: JsonProblem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.problems_left_out += 1;
        }
    }

    /// Returns how many problems there are, those left out among them.
    pub(super) fn count(&self) -> usize {
        self.problems.len() + self.problems_left_out
    }
}

impl JsonProblem {
    pub(super) fn new(path: impl ToString, message: impl Into<String>) -> Self {
        Self { path: path.to_string(), message: message.into(), ..Self::default() }
    }

    pub(super) fn suggesting(self, suggestion: Option<impl Into<String>>) -> Self {
        Self { suggestion: suggestion.map(Into::into), ..self }
    }

    pub(super) fn hinting(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }
}

impl fmt::Display for JsonProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(out, "line {line}, column {column}: ")?;
        }
        out.write_str(&self.message)?;
        match (&self.suggestion, self.hint) {
            (Some(suggestion), Some(hint)) => write!(out, ", did you mean \"{suggestion}\"? {hint}"),
            (Some(suggestion), None) => write!(out, ", did you mean \"{suggestion}\"?"),
            (None, Some(hint)) => write!(out, "; {hint}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_a_sentence() {
        let problem = JsonProblem::new("device.cpu_coers", "unknown field");
        assert_eq!(problem.to_string(), "device.cpu_coers: unknown field");
        let problem = problem.suggesting(Some("cpu_cores"));
        assert_eq!(problem.to_string(), "device.cpu_coers: unknown field, did you mean \"cpu_cores\"?");
        let problem = problem.hinting("free fields go into \"attributes\"");
        assert_eq!(
            problem.to_string(),
            "device.cpu_coers: unknown field, did you mean \"cpu_cores\"? free fields go into \"attributes\""
        );
        let problem =
            JsonProblem { line: Some(1), column: Some(5), ..JsonProblem::new("", "expected value") };
        assert_eq!(problem.to_string(), "line 1, column 5: expected value");
    }

    #[test]
    fn problems_beyond_the_limit_are_counted() {
        let mut error = JsonError::default();
        for index in 0..PROBLEMS_MAX + 3 {
            error.push(JsonProblem::new(index, "unknown field"));
        }
        assert_eq!((error.problems.len(), error.problems_left_out), (PROBLEMS_MAX, 3));
        assert!(error.to_string().ends_with("19: unknown field; and 3 more"), "{error}");
    }
}

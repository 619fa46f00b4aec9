//! Parameters after the question mark, each known by name: a misspelt one is refused, not ignored.

use crate::problem::Problem;
use axum::extract::Query;
use axum::http::Uri;
use schemas::key::ID_BYTES_MAX;
use std::time::Duration;

/// Least likeness (Jaro-Winkler) of a name that is suggested in the place of an unknown one.
const LIKENESS_MIN: f64 = 0.8;
/// Longest name that is compared or shown.
const NAME_BYTES_MAX: usize = 64;

/// The parameters of a request.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads the parameters, each of which must be known and given once.
    pub(crate) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Problem::bad_request("invalid_parameter", "the query of the address cannot be read"));
        };
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(unknown(name, known));
            }
            if pairs[..index].iter().any(|(other, _)| other == name) {
                return Err(invalid(name, "given twice"));
            }
        }
        Ok(Self(pairs))
    }

    /// Returns a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns a tenant.
    pub(crate) fn tenant(&self) -> Result<Option<&str>, Problem> {
        let tenant = self.text("tenant");
        match tenant.map(str::len) {
            Some(0) => Err(invalid("tenant", "empty")),
            Some(length) if length > ID_BYTES_MAX => {
                Err(invalid("tenant", &format!("longer than {ID_BYTES_MAX} bytes")))
            }
            _ => Ok(tenant),
        }
    }

    /// Returns a length of time, as in `2s`, `1.5s` or `500ms`.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        duration_from_text(text)
            .map(Some)
            .ok_or_else(|| invalid(name, "not a length of time as in 2s or 500ms"))
    }

    /// Returns a whole number from 1.
    pub(crate) fn positive(&self, name: &str) -> Result<Option<i32>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number > 0);
        number.map(Some).ok_or_else(|| invalid(name, "not a whole number from 1"))
    }
}

/// Makes the problem of a parameter's value.
pub(crate) fn invalid(name: &str, message: &str) -> Problem {
    Problem::bad_request("invalid_parameter", format!("{name}: {message}"))
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    if name.len() > NAME_BYTES_MAX {
        return Problem::bad_request("unknown_parameter", "unknown parameter with a very long name");
    }
    let likeness = |known: &&&str| strsim::jaro_winkler(name, known);
    let likest = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    let detail = match likest.filter(|likest| likeness(likest) >= LIKENESS_MIN) {
        Some(likest) => format!("unknown parameter {name:?}, did you mean {likest:?}?"),
        None if known.is_empty() => format!("unknown parameter {name:?}; there are none here"),
        None => format!("unknown parameter {name:?}; known are {}", known.join(", ")),
    };
    Problem::bad_request("unknown_parameter", detail)
}

fn duration_from_text(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit_s = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" => 1.0,
        _ => return None,
    };
    // `parse` alone would also take "inf", "1e9" and signs.
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = if plain { digits.parse().ok()? } else { return None };
    Duration::try_from_secs_f64(number * unit_s).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_with_their_unit() {
        let milliseconds = |text| duration_from_text(text).map(|duration| duration.as_millis());
        assert_eq!(milliseconds("2s"), Some(2_000));
        assert_eq!(milliseconds("1.5s"), Some(1_500));
        assert_eq!(milliseconds("0s"), Some(0));
        assert_eq!(milliseconds("250ms"), Some(250));
        for text in [
            "",
            "s",
            "2",
            "2m",
            "-2s",
            "+2s",
            "1e3s",
            "infs",
            "NaNs",
            "1.2.3s",
            "2 s",
            "2sé",
            &"9".repeat(400),
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_misspelt_parameter_is_refused_with_a_suggestion() {
        let uri: Uri = "/v1/decisions/s-1?wiat=2s".parse().expect("an address");
        let problem = Parameters::of(&uri, &["tenant", "wait"]).err().expect("it is refused");
        assert!(format!("{problem:?}").contains("did you mean \\\"wait\\\"?"), "{problem:?}");
    }
}

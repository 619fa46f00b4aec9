//! Texts with values in braces.

use std::fmt::Write;

use crate::catalogue::{Catalogue, Slot, Type};
use crate::check::unknown_name;
use crate::diagnostic::{Problem, Span};
use crate::policy::{Language, Policy, PolicyField};
use crate::value::{Facts, Value};

/// The longest text of a rule, in characters.
pub const TEXT_CHARS_MAX: usize = 1_000;

/// The most characters of one value that a text shows; the list of values has it whole.
pub const SHOWN_CHARS_MAX: usize = 200;

/// The most decimals that a text can ask for.
const DECIMALS_MAX: usize = 6;

/// Is where a shown value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Slot(Slot),
    Policy(PolicyField),
}

impl Source {
    /// Finds the source that a name stands for.
    pub(crate) fn find(name: &str, catalogue: &Catalogue) -> Option<Source> {
        let policy = PolicyField::from_name(name).map(Source::Policy);
        policy.or_else(|| catalogue.slot(name).map(Source::Slot))
    }

    pub(crate) fn value_type(self, catalogue: &Catalogue) -> Type {
        match self {
            Source::Slot(slot) => catalogue.entries()[slot].value_type,
            Source::Policy(field) => field.value_type(),
        }
    }

    pub(crate) fn value<'a>(self, facts: &'a impl Facts, policy: &'a Policy) -> Value<'a> {
        match self {
            Source::Slot(slot) => facts.value(slot).finite(),
            Source::Policy(field) => field.value(policy),
        }
    }
}

/// Is a text with places for values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Literal(String),
    Value(Source, Format),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Plain,
    Decimals(usize),
    /// Metres shown as kilometres with one decimal.
    Kilometres,
}

impl Template {
    /// Parses a text in which `{name}` stands for a value, `{name:2}` for a number with two decimals,
    /// `{name:km}` for metres in kilometres, and `{{` and `}}` for braces.
    pub(crate) fn parse(text: &str, catalogue: &Catalogue) -> Result<Template, Vec<Problem>> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut problems = Vec::new();
        if text.chars().count() > TEXT_CHARS_MAX {
            let message = format!("text is longer than {TEXT_CHARS_MAX} characters");
            return Err(vec![Problem::new(Span::new(0, 0), message)]);
        }
        let mut at = 0;
        while let Some(brace) = text[at..].find(['{', '}']) {
            literal.push_str(&text[at..at + brace]);
            at += brace;
            let rest = &text[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                literal.push_str(&rest[..1]);
                at += 2;
                continue;
            }
            let close = rest.find('}').filter(|_| rest.starts_with('{'));
            let Some(close) = close else {
                let message = format!("`{}` has no counterpart", &rest[..1]);
                let problem = Problem::new(Span::new(at, at + 1), message);
                problems.push(problem.with_suggestion("write a brace itself as {{ or }}"));
                return Err(problems);
            };
            match placeholder(&rest[1..close], at + 1, catalogue) {
                Ok(piece) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(piece);
                }
                Err(problem) => problems.push(problem),
            }
            at += close + 1;
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        if problems.is_empty() { Ok(Template { pieces }) } else { Err(problems) }
    }

    /// Returns the sources of all values shown, in the order of the text.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Value(source, _) => Some(*source),
        })
    }

    /// Fills in the values.
    pub(crate) fn fill(&self, facts: &impl Facts, policy: &Policy, language: Language) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Value(source, format) => {
                    show(&mut text, source.value(facts, policy), *format, language);
                }
            }
        }
        text
    }
}

fn placeholder(written: &str, offset: usize, catalogue: &Catalogue) -> Result<Piece, Problem> {
    let (name, format) = match written.split_once(':') {
        Some((name, format)) => (name, Some(format)),
        None => (written, None),
    };
    let span = Span::new(offset, offset + name.len());
    let Some(source) = Source::find(name, catalogue) else {
        return Err(unknown_name(name, span, catalogue));
    };
    let Some(format) = format else {
        return Ok(Piece::Value(source, Format::Plain));
    };
    let format_span = Span::new(span.end + 1, span.end + 1 + format.len());
    if !matches!(source.value_type(catalogue), Type::Int | Type::Double) {
        return Err(Problem::new(format_span, format!("`{name}` is no number and takes no format")));
    }
    if format == "km" {
        return Ok(Piece::Value(source, Format::Kilometres));
    }
    match format.parse::<usize>() {
        Ok(decimals) if decimals <= DECIMALS_MAX => Ok(Piece::Value(source, Format::Decimals(decimals))),
        _ => Err(Problem::new(format_span, format!("unknown format `{format}`"))
            .with_suggestion(format!("write 0 to {DECIMALS_MAX} for decimals, or km"))),
    }
}

fn show(text: &mut String, value: Value<'_>, format: Format, language: Language) {
    match value {
        Value::Unknown => text.push_str(match language {
            Language::En => "unknown",
            Language::Es => "desconocido",
        }),
        Value::Bool(value) => text.push_str(match (value, language) {
            (true, Language::En) => "yes",
            (true, Language::Es) => "sí",
            (false, _) => "no",
        }),
        Value::Int(value) if format == Format::Plain => {
            // Writing to a string cannot fail.
            let _ = write!(text, "{value}");
        }
        Value::Int(value) => show_number(text, value as f64, format),
        Value::Double(value) => show_number(text, value, format),
        Value::Text(value) => show_text(text, value),
        Value::TextList(values) => {
            let joined = values.iter().map(String::as_str).take(SHOWN_CHARS_MAX).collect::<Vec<_>>();
            show_text(text, &joined.join(", "));
        }
    }
}

fn show_number(text: &mut String, value: f64, format: Format) {
    let written = match format {
        Format::Plain => {
            let rounded = format!("{value:.2}");
            rounded.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Format::Decimals(decimals) => format!("{value:.decimals$}"),
        Format::Kilometres => format!("{:.1}", value / 1_000.0),
    };
    // What rounds to zero has no sign.
    let is_zero = written.chars().all(|character| matches!(character, '-' | '0' | '.'));
    text.push_str(if is_zero { written.trim_start_matches('-') } else { &written });
}

/// Shows a text that people sent: shortened, and without characters that could steer a terminal or a page.
fn show_text(text: &mut String, value: &str) {
    let mut chars = value.chars();
    for character in chars.by_ref().take(SHOWN_CHARS_MAX) {
        text.push(if character.is_control() { char::REPLACEMENT_CHARACTER } else { character });
    }
    if chars.next().is_some() {
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Entry;
    use crate::value::OwnedValue;

    fn catalogue() -> Catalogue {
        Catalogue::new(vec![
            Entry::new("ip.address", Type::Text, ""),
            Entry::new("ip.tor", Type::Bool, ""),
            Entry::new("ip.asn", Type::Int, ""),
            Entry::new("distance_m", Type::Double, ""),
            Entry::new("names", Type::TextList, ""),
        ])
        .expect("the names are valid")
    }

    #[track_caller]
    fn check(text: &str, facts: &[OwnedValue], english: &str, spanish: &str) {
        let template = Template::parse(text, &catalogue()).expect(text);
        let policy = Policy::default();
        assert_eq!(template.fill(&facts.to_vec(), &policy, Language::En), english);
        assert_eq!(template.fill(&facts.to_vec(), &policy, Language::Es), spanish);
    }

    #[test]
    fn values_are_filled_in() {
        let text = "{ip.address}|{ip.tor}|{ip.asn}|{distance_m}|{distance_m:0}|{distance_m:km}|{names}";
        let facts = [
            OwnedValue::Text("10.0.0.1".into()),
            OwnedValue::Bool(true),
            OwnedValue::Int(8151),
            OwnedValue::Double(123_456.75),
            OwnedValue::TextList(vec!["a".into(), "b".into()]),
        ];
        let filled = "10.0.0.1|yes|8151|123456.75|123457|123.5|a, b";
        check(text, &facts, filled, &filled.replace("yes", "sí"));
        check("{{{ip.asn}}} {policy.home_countries}", &facts, "{8151} MX", "{8151} MX");
    }

    #[test]
    fn unknown_and_odd_values() {
        check("{ip.tor}", &[], "unknown", "desconocido");
        let text = |value: &str| vec![OwnedValue::Text(value.to_owned())];
        check("{ip.address}", &text("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}", "a\u{fffd}[2Jb\u{fffd}");
        let long = format!("{}…", "é".repeat(SHOWN_CHARS_MAX));
        check("{ip.address}", &text(&"é".repeat(5_000)), &long, &long);
        let mut facts = vec![OwnedValue::Unknown; 4];
        for (value, shown) in [(-0.001, "0"), (50.0, "50"), (f64::NAN, "unknown"), (-1.5, "-1.5")] {
            facts[3] = OwnedValue::Double(value);
            check("{distance_m}", &facts, shown, &shown.replace("unknown", "desconocido"));
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, start, message) in [
            ("a {ip.adress}", 3, "unknown name `ip.adress`"),
            ("{ip}", 1, "`ip` is a group of values, not a value"),
            ("{ip.tor", 0, "`{` has no counterpart"),
            ("é}", 2, "`}` has no counterpart"),
            ("{ip.tor:2}", 8, "`ip.tor` is no number and takes no format"),
            ("{ip.asn:9}", 8, "unknown format `9`"),
            ("{}", 1, "unknown name ``"),
        ] {
            let problems = Template::parse(text, &catalogue()).expect_err(text);
            assert_eq!((problems[0].span.start, problems[0].message.as_str()), (start, message), "{text}");
        }
    }
}

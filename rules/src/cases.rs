//! Cases beside a rule set: facts, and what a rule must make of them.

use rustc_hash::{FxHashMap, FxHashSet};
use toml::Spanned;
use toml::de::DeValue;

use crate::catalogue::{Catalogue, Type};
use crate::check::unknown_name;
use crate::diagnostic::{LoadError, Span};
use crate::document::{
    self, Reporter, Section, Text, as_int, as_number, as_section, as_text, nearest_suggestion, one_of_words,
};
use crate::evaluation::{Evaluation, Fired, Undecided};
use crate::rule_set::RuleSet;
use crate::value::OwnedValue;

/// The most cases of one file.
pub const CASES_MAX: usize = 20_000;

const CASE_KEYS: [&str; 7] = ["name", "rule", "tenant", "facts", "expect", "text_en", "text_es"];

/// Says how the cases of a rule set went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseReport {
    /// In the order of the file.
    pub results: Vec<CaseResult>,
    /// Codes of rules that no passing case shows firing.
    pub rules_never_firing: Vec<String>,
    /// Codes of rules that no passing case shows silent.
    pub rules_never_silent: Vec<String>,
}

impl CaseReport {
    /// Returns whether all cases passed and every rule has a firing and a silent one.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
            && self.rules_never_firing.is_empty()
            && self.rules_never_silent.is_empty()
    }

    /// Returns the cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &CaseResult> {
        self.results.iter().filter(|result| result.failure.is_some())
    }
}

/// Says how one case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    pub name: String,
    pub rule: String,
    /// Line of the file on which the case begins.
    pub line: usize,
    /// What was wrong, or `None` if the case passed.
    pub failure: Option<String>,
}

/// Is what a rule may make of facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fires,
    Silent,
    Unknown,
}

impl Outcome {
    const ALL: [Outcome; 3] = [Outcome::Fires, Outcome::Silent, Outcome::Unknown];

    fn as_str(self) -> &'static str {
        match self {
            Outcome::Fires => "fires",
            Outcome::Silent => "silent",
            Outcome::Unknown => "unknown",
        }
    }
}

struct Case<'d> {
    name: &'d str,
    rule: &'d str,
    tenant: &'d str,
    line: usize,
    facts: Vec<OwnedValue>,
    expected: Outcome,
    text_en: Option<&'d str>,
    text_es: Option<&'d str>,
}

/// Runs a file of cases against a rule set.
///
/// A file that cannot be read as cases is an error; a case that fails is a result.
pub fn run_cases(rule_set: &RuleSet, catalogue: &Catalogue, source: &str) -> Result<CaseReport, LoadError> {
    let mut reporter = Reporter::new(source);
    let Some(table) = document::parse(source, &mut reporter) else {
        return Err(reporter.into_error());
    };
    let cases = read_cases(&Section::of(&table), rule_set, catalogue, &mut reporter);
    if !reporter.is_empty() {
        return Err(reporter.into_error());
    }
    let mut results = Vec::with_capacity(cases.len());
    let mut shown = FxHashSet::default();
    for case in &cases {
        let failure = failure_of(case, rule_set);
        if failure.is_none() {
            shown.insert((case.rule, case.expected.as_str()));
        }
        results.push(CaseResult {
            name: case.name.to_owned(),
            rule: case.rule.to_owned(),
            line: case.line,
            failure,
        });
    }
    let never = |outcome: Outcome| {
        let codes = rule_set.rules().iter().map(|rule| rule.code());
        codes.filter(|code| !shown.contains(&(*code, outcome.as_str()))).map(str::to_owned).collect()
    };
    Ok(CaseReport {
        rules_never_firing: never(Outcome::Fires),
        rules_never_silent: never(Outcome::Silent),
        results,
    })
}

fn failure_of(case: &Case<'_>, rule_set: &RuleSet) -> Option<String> {
    let evaluation = rule_set.evaluate(case.tenant, &case.facts);
    let (outcome, fired, undecided) = outcome_of(case.rule, &evaluation);
    if outcome != case.expected {
        let missing = undecided.map_or(String::new(), |undecided| {
            let names = undecided.missing.iter().copied();
            let reasons = undecided.undefined.iter().map(|reason| reason.as_str());
            format!(" for want of {}", names.chain(reasons).collect::<Vec<_>>().join(", "))
        });
        return Some(format!("expected {}, got {}{missing}", case.expected.as_str(), outcome.as_str()));
    }
    let fired = fired?;
    let texts = [("text_en", case.text_en, &fired.text_en), ("text_es", case.text_es, &fired.text_es)];
    texts.into_iter().find_map(|(key, expected, got)| {
        let expected = expected.filter(|expected| expected != got)?;
        Some(format!("expected {key} {expected:?}, got {got:?}"))
    })
}

fn outcome_of<'e, 's>(
    rule: &str,
    evaluation: &'e Evaluation<'s>,
) -> (Outcome, Option<&'e Fired<'s>>, Option<&'e Undecided<'s>>) {
    if let Some(fired) = evaluation.fired.iter().find(|fired| fired.code == rule) {
        return (Outcome::Fires, Some(fired), None);
    }
    match evaluation.unknown.iter().find(|undecided| undecided.rule == rule) {
        Some(undecided) => (Outcome::Unknown, None, Some(undecided)),
        None => (Outcome::Silent, None, None),
    }
}

fn read_cases<'d>(
    file: &Section<'d>,
    rule_set: &RuleSet,
    catalogue: &Catalogue,
    reporter: &mut Reporter<'_>,
) -> Vec<Case<'d>> {
    file.check_keys(&["case"], reporter);
    let sections = file.sections("case", reporter);
    if let Some(first_too_many) = sections.get(CASES_MAX) {
        reporter.error(first_too_many.offset(), format!("file has more than {CASES_MAX} cases"));
        return Vec::new();
    }
    let mut lines: FxHashMap<&str, usize> = FxHashMap::default();
    let mut cases = Vec::with_capacity(sections.len());
    for section in sections {
        if reporter.is_full() {
            break;
        }
        let Some(case) = read_case(&section, rule_set, catalogue, reporter) else {
            continue;
        };
        if let Some(first_line) = lines.insert(case.name, case.line) {
            let message = format!("the case {:?} is on line {first_line} already", case.name);
            reporter.error(section.offset(), message);
        }
        cases.push(case);
    }
    cases
}

fn read_case<'d>(
    section: &Section<'d>,
    rule_set: &RuleSet,
    catalogue: &Catalogue,
    reporter: &mut Reporter<'_>,
) -> Option<Case<'d>> {
    section.check_keys(&CASE_KEYS, reporter);
    let (line, _) = reporter.position(section.offset());
    let name = section.required_text("name", reporter);
    let rule = section.required_text("rule", reporter);
    let rule = rule.filter(|rule| is_rule(rule, rule_set, reporter));
    let expected = section.required_text("expect", reporter);
    let expected = expected.and_then(|word| one_of_words(&word, &Outcome::ALL, Outcome::as_str, reporter));
    let tenant = section.text("tenant", reporter);
    let text_en = section.text("text_en", reporter);
    let text_es = section.text("text_es", reporter);
    let facts = section.section("facts", reporter);
    let mut values = vec![OwnedValue::Unknown; catalogue.entries().len()];
    if let Some(facts) = facts {
        read_facts(&facts, "", catalogue, &mut values, reporter);
    }
    let expected = expected?;
    for text in [&text_en, &text_es].into_iter().flatten().filter(|_| expected != Outcome::Fires) {
        reporter.error(text.offset(), "only a case that fires has texts");
    }
    Some(Case {
        name: name?.value,
        rule: rule?.value,
        tenant: tenant.map_or("", |tenant| tenant.value),
        line,
        facts: values,
        expected,
        text_en: text_en.map(|text| text.value),
        text_es: text_es.map(|text| text.value),
    })
}

fn is_rule(code: &Text<'_>, rule_set: &RuleSet, reporter: &mut Reporter<'_>) -> bool {
    let codes = || rule_set.rules().iter().map(|rule| rule.code());
    let is_known = codes().any(|known| known == code.value);
    if !is_known {
        let suggestion = nearest_suggestion(code.value, codes());
        reporter.report(code.offset(), format!("unknown rule `{}`", code.value), suggestion);
    }
    is_known
}

/// Reads facts by name, written as `"ip.tor" = true` or as nested tables.
fn read_facts(
    section: &Section<'_>,
    group: &str,
    catalogue: &Catalogue,
    values: &mut [OwnedValue],
    reporter: &mut Reporter<'_>,
) {
    for (key, value) in section.entries() {
        let name = if group.is_empty() { key.value.to_owned() } else { format!("{group}.{}", key.value) };
        if let Some(slot) = catalogue.slot(&name) {
            let value_type = catalogue.entries()[slot].value_type;
            match fact(value, value_type) {
                Some(fact) => values[slot] = fact,
                None => {
                    let found = value.get_ref().type_str();
                    let message = format!("`{name}` is {}, found {found}", value_type.as_str());
                    reporter.error(value.span().start, message);
                }
            }
            continue;
        }
        match as_section(value) {
            Some(inner) if catalogue.has_group(&name) => {
                read_facts(&inner, &name, catalogue, values, reporter);
            }
            _ => {
                let problem = unknown_name(&name, Span::new(0, 0), catalogue);
                reporter.report(key.offset(), problem.message, problem.suggestion);
            }
        }
    }
}

fn fact(value: &Spanned<DeValue<'_>>, value_type: Type) -> Option<OwnedValue> {
    match value_type {
        Type::Bool => value.get_ref().as_bool().map(OwnedValue::Bool),
        Type::Int => as_int(value.get_ref()).map(OwnedValue::Int),
        Type::Double => as_number(value.get_ref()).map(OwnedValue::Double),
        Type::Text => as_text(value).map(|text| OwnedValue::Text(text.value.to_owned())),
        Type::TextList => {
            let elements = value.get_ref().as_array()?.iter();
            let texts = elements.map(|element| as_text(element).map(|text| text.value.to_owned()));
            texts.collect::<Option<_>>().map(OwnedValue::TextList)
        }
    }
}

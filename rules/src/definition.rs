//! Reads the tables of a rule set file.

use rustc_hash::FxHashMap;

use crate::catalogue::{Catalogue, root_of};
use crate::check::{Condition, check_condition, unknown_name};
use crate::diagnostic::Span;
use crate::document::{Reporter, Section, Text, as_section, nearest_suggestion, one_of_words};
use crate::evaluation::{NextAction, Severity};
use crate::parser::parse;
use crate::policy::{Language, Policy};
use crate::template::{Source, Template};

/// The most rules of one set.
pub const RULES_MAX: usize = 2_000;

/// The largest weight of a rule; at 100 a single rule would make the score certain.
pub const WEIGHT_HUNDREDTHS_MAX: i64 = 99;

/// The longest deadline: an hour.
pub const DEADLINE_MS_MAX: i64 = 3_600_000;

/// The most elements of a list in a policy.
const POLICY_LIST_MAX: usize = 300;

/// The longest code, flag or name.
const NAME_CHARS_MAX: usize = 64;

/// Reasons that do not come from rules, so no rule may look like them.
const RESERVED_CODES: [&str; 1] = ["REQUIRED_SIGNAL_MISSING"];

const POLICY_KEYS: [&str; 6] =
    ["home_countries", "deadline_ms", "required_signals", "review_score_min", "flag_score_min", "language"];

const RULE_KEYS: [&str; 8] =
    ["code", "when", "severity", "weight", "risk_flag", "next_action", "values", "text"];

/// Is a rule as written, checked.
pub(crate) struct RuleDefinition {
    pub(crate) code: String,
    pub(crate) line: usize,
    pub(crate) when: String,
    pub(crate) condition: Condition,
    pub(crate) standing: Standing,
    pub(crate) risk_flag: Option<String>,
    pub(crate) values: Vec<Source>,
    pub(crate) text_en: Template,
    pub(crate) text_es: Template,
}

/// Is what a tenant may change about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) severity: Severity,
    pub(crate) weight_hundredths: u8,
    pub(crate) next_action: Option<NextAction>,
}

/// Is a tenant's policy, and for each rule its standing, or `None` where the tenant disabled it.
pub(crate) struct TenantDefinition {
    pub(crate) policy: Policy,
    pub(crate) standings: Vec<Option<Standing>>,
}

/// Reads the name of the set.
pub(crate) fn set_name(file: &Section<'_>, reporter: &mut Reporter<'_>) -> Option<String> {
    let name = file.required_text("name", reporter)?;
    let is_name = is_short(name.value)
        && name.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !is_name {
        let message =
            format!("`name` is 1 to {NAME_CHARS_MAX} letters, digits, dots, hyphens and underscores");
        reporter.error(name.offset(), message);
    }
    is_name.then(|| name.value.to_owned())
}

/// Reads all rules; those with mistakes are left out after their mistakes are reported.
pub(crate) fn rules(
    file: &Section<'_>,
    catalogue: &Catalogue,
    reporter: &mut Reporter<'_>,
) -> Vec<RuleDefinition> {
    let sections = file.sections("rule", reporter);
    if let Some(first_too_many) = sections.get(RULES_MAX) {
        reporter.error(first_too_many.offset(), format!("rule set has more than {RULES_MAX} rules"));
        return Vec::new();
    }
    let mut lines: FxHashMap<String, usize> = FxHashMap::default();
    let mut rules = Vec::with_capacity(sections.len());
    for section in sections {
        if reporter.is_full() {
            break;
        }
        let code = rule_code(&section, &mut lines, reporter);
        rules.extend(rule(&section, code, catalogue, reporter));
    }
    rules
}

fn rule_code(
    section: &Section<'_>,
    lines: &mut FxHashMap<String, usize>,
    reporter: &mut Reporter<'_>,
) -> Option<String> {
    let code = section.required_text("code", reporter)?;
    let is_code = is_short(code.value)
        && code.value.starts_with(|c: char| c.is_ascii_uppercase())
        && code.value.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if !is_code {
        let message = format!(
            "`code` is 1 to {NAME_CHARS_MAX} capital letters, digits and underscores, a letter first"
        );
        reporter.error(code.offset(), message);
        return None;
    }
    if RESERVED_CODES.contains(&code.value) {
        reporter.error(code.offset(), format!("the code {} is reserved", code.value));
        return None;
    }
    let (line, _) = reporter.position(code.offset());
    if let Some(first_line) = lines.get(code.value) {
        let message = format!("the code {} is on line {first_line} already", code.value);
        reporter.error(code.offset(), message);
        return None;
    }
    lines.insert(code.value.to_owned(), line);
    Some(code.value.to_owned())
}

/// Reads every part before it gives up, so that the mistakes of all parts are reported.
fn rule(
    section: &Section<'_>,
    code: Option<String>,
    catalogue: &Catalogue,
    reporter: &mut Reporter<'_>,
) -> Option<RuleDefinition> {
    section.check_keys(&RULE_KEYS, reporter);
    let (line, _) = reporter.position(section.offset());
    let when = section.required_text("when", reporter);
    let condition = when.as_ref().and_then(|when| condition(when, catalogue, reporter));
    for key in ["severity", "weight"] {
        section.require(key, key, reporter);
    }
    let severity = severity(section, reporter);
    let weight_hundredths = weight(section, reporter);
    let next_action = next_action(section, reporter);
    let risk_flag = risk_flag(section, reporter);
    let values = values(section, catalogue, reporter);
    let texts = texts(section, catalogue, reporter);
    let (text_en, text_es) = texts?;
    Some(RuleDefinition {
        code: code?,
        line,
        when: when?.value.to_owned(),
        condition: condition?,
        standing: Standing { severity: severity?, weight_hundredths: weight_hundredths?, next_action },
        risk_flag,
        values,
        text_en,
        text_es,
    })
}

fn condition(when: &Text<'_>, catalogue: &Catalogue, reporter: &mut Reporter<'_>) -> Option<Condition> {
    let checked = match parse(when.value) {
        Ok(syntax) => check_condition(&syntax, catalogue),
        Err(problem) => Err(vec![problem]),
    };
    match checked {
        Ok(condition) => Some(condition),
        Err(problems) => {
            for problem in problems {
                reporter.problem_in(when, problem);
            }
            None
        }
    }
}

fn severity(section: &Section<'_>, reporter: &mut Reporter<'_>) -> Option<Severity> {
    let written = section.text("severity", reporter)?;
    one_of_words(&written, &Severity::ALL, Severity::as_str, reporter)
}

fn next_action(section: &Section<'_>, reporter: &mut Reporter<'_>) -> Option<NextAction> {
    let written = section.text("next_action", reporter)?;
    one_of_words(&written, &NextAction::ALL, NextAction::as_str, reporter)
}

fn weight(section: &Section<'_>, reporter: &mut Reporter<'_>) -> Option<u8> {
    let (weight, offset) = section.int("weight", reporter)?;
    let weight_hundredths =
        u8::try_from(weight).ok().filter(|weight| i64::from(*weight) <= WEIGHT_HUNDREDTHS_MAX);
    if weight_hundredths.is_none() {
        let message = format!("`weight` is in hundredths, 0 to {WEIGHT_HUNDREDTHS_MAX}, found {weight}");
        reporter.error(offset, message);
    }
    weight_hundredths
}

fn risk_flag(section: &Section<'_>, reporter: &mut Reporter<'_>) -> Option<String> {
    let flag = section.text("risk_flag", reporter)?;
    let is_flag = is_short(flag.value)
        && flag.value.starts_with(|c: char| c.is_ascii_lowercase())
        && flag.value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_flag {
        let message = format!(
            "`risk_flag` is 1 to {NAME_CHARS_MAX} small letters, digits and underscores, a letter first"
        );
        reporter.error(flag.offset(), message);
        return None;
    }
    Some(flag.value.to_owned())
}

fn values(section: &Section<'_>, catalogue: &Catalogue, reporter: &mut Reporter<'_>) -> Vec<Source> {
    let names = section.texts("values", reporter).unwrap_or_default();
    let mut sources = Vec::with_capacity(names.len());
    for name in names {
        match Source::find(name.value, catalogue) {
            Some(source) => sources.push(source),
            None => {
                let span = Span::new(0, name.value.len());
                reporter.problem_in(&name, unknown_name(name.value, span, catalogue));
            }
        }
    }
    sources
}

fn texts(
    section: &Section<'_>,
    catalogue: &Catalogue,
    reporter: &mut Reporter<'_>,
) -> Option<(Template, Template)> {
    let Some(texts) = section.section("text", reporter) else {
        reporter.error(section.offset(), "`text.en` and `text.es` are missing");
        return None;
    };
    texts.check_keys(&["en", "es"], reporter);
    let [english, spanish] = ["en", "es"].map(|language| {
        texts.require(language, &format!("text.{language}"), reporter);
        let text = texts.text(language, reporter)?;
        if text.value.trim().is_empty() {
            reporter.error(text.offset(), "text is empty");
            return None;
        }
        match Template::parse(text.value, catalogue) {
            Ok(template) => Some(template),
            Err(problems) => {
                for problem in problems {
                    reporter.problem_in(&text, problem);
                }
                None
            }
        }
    });
    Some((english?, spanish?))
}

/// Reads `[policy]`.
pub(crate) fn policy(file: &Section<'_>, catalogue: &Catalogue, reporter: &mut Reporter<'_>) -> Policy {
    match file.section("policy", reporter) {
        Some(section) => {
            section.check_keys(&POLICY_KEYS, reporter);
            policy_over(&Policy::default(), &section, catalogue, reporter)
        }
        None => Policy::default(),
    }
}

/// Returns the policy with the fields of a section in place of its own.
fn policy_over(
    base: &Policy,
    section: &Section<'_>,
    catalogue: &Catalogue,
    reporter: &mut Reporter<'_>,
) -> Policy {
    let language = section.text("language", reporter);
    let language =
        language.and_then(|language| one_of_words(&language, &Language::ALL, Language::as_str, reporter));
    let policy = Policy {
        home_countries: home_countries(section, reporter).unwrap_or_else(|| base.home_countries.clone()),
        deadline_ms: deadline(section, reporter).unwrap_or(base.deadline_ms),
        required_signals: required_signals(section, catalogue, reporter)
            .unwrap_or_else(|| base.required_signals.clone()),
        review_score_min: score(section, "review_score_min", reporter).unwrap_or(base.review_score_min),
        flag_score_min: score(section, "flag_score_min", reporter).unwrap_or(base.flag_score_min),
        language: language.unwrap_or(base.language),
    };
    // Each may come from another table, so only the two together can be judged.
    if policy.review_score_min > policy.flag_score_min {
        let message = format!(
            "`review_score_min` {} is above `flag_score_min` {}",
            policy.review_score_min, policy.flag_score_min
        );
        reporter.error(section.offset(), message);
    }
    policy
}

fn score(section: &Section<'_>, key: &str, reporter: &mut Reporter<'_>) -> Option<f64> {
    let (score, offset) = section.number(key, reporter)?;
    if score <= 0.0 || score > 100.0 {
        reporter.error(offset, format!("`{key}` is above 0 and at most 100, found {score}"));
        return None;
    }
    Some(score)
}

fn deadline(section: &Section<'_>, reporter: &mut Reporter<'_>) -> Option<i64> {
    let (deadline_ms, offset) = section.int("deadline_ms", reporter)?;
    if !(1..=DEADLINE_MS_MAX).contains(&deadline_ms) {
        let message = format!("`deadline_ms` is 1 to {DEADLINE_MS_MAX} milliseconds, found {deadline_ms}");
        reporter.error(offset, message);
        return None;
    }
    Some(deadline_ms)
}

/// Reads a list of texts without repetitions that all pass a test, which reports what it refuses.
fn policy_list(
    section: &Section<'_>,
    key: &str,
    reporter: &mut Reporter<'_>,
    mut accept: impl FnMut(&Text<'_>, &mut Reporter<'_>) -> bool,
) -> Option<Vec<String>> {
    let texts = section.texts(key, reporter)?;
    if texts.len() > POLICY_LIST_MAX {
        reporter.error(
            texts[POLICY_LIST_MAX].offset(),
            format!("`{key}` has more than {POLICY_LIST_MAX} elements"),
        );
        return None;
    }
    let mut accepted: Vec<String> = Vec::with_capacity(texts.len());
    for text in &texts {
        if accepted.iter().any(|known| known == text.value) {
            reporter.error(text.offset(), format!("{:?} is in the list already", text.value));
        } else if accept(text, reporter) {
            accepted.push(text.value.to_owned());
        }
    }
    Some(accepted)
}

fn home_countries(section: &Section<'_>, reporter: &mut Reporter<'_>) -> Option<Vec<String>> {
    let countries = policy_list(section, "home_countries", reporter, |country, reporter| {
        let is_code = country.value.len() == 2 && country.value.bytes().all(|byte| byte.is_ascii_uppercase());
        if !is_code {
            let message = format!("{:?} is not a country as two capital letters (ISO 3166-1)", country.value);
            let upper = country.value.to_ascii_uppercase();
            let is_meant = upper.len() == 2 && upper.bytes().all(|byte| byte.is_ascii_uppercase());
            reporter.report(country.offset(), message, is_meant.then(|| format!("did you mean `{upper}`?")));
        }
        is_code
    })?;
    let is_written_empty = section.texts("home_countries", reporter).is_some_and(|texts| texts.is_empty());
    if is_written_empty {
        reporter.error(section.offset(), "`home_countries` is empty, so every country would be foreign");
    }
    Some(countries)
}

/// Reads names of signals: first segments of the catalogue, except that the session is no signal.
fn required_signals(
    section: &Section<'_>,
    catalogue: &Catalogue,
    reporter: &mut Reporter<'_>,
) -> Option<Vec<String>> {
    let signals: Vec<&str> = catalogue.roots().into_iter().filter(|root| *root != "session").collect();
    policy_list(section, "required_signals", reporter, |signal, reporter| {
        let is_known = signals.contains(&signal.value);
        if !is_known {
            let suggestion = if signals.contains(&root_of(signal.value)) {
                format!("name the whole signal, `{}`", root_of(signal.value))
            } else {
                format!("known signals are {}", signals.join(", "))
            };
            reporter.report(signal.offset(), format!("unknown signal {:?}", signal.value), Some(suggestion));
        }
        is_known
    })
}

/// Reads `[tenant.*]`.
pub(crate) fn tenants(
    file: &Section<'_>,
    base: &Policy,
    rules: &[RuleDefinition],
    catalogue: &Catalogue,
    reporter: &mut Reporter<'_>,
) -> Vec<(String, TenantDefinition)> {
    let Some(section) = file.section("tenant", reporter) else {
        return Vec::new();
    };
    let places: FxHashMap<&str, usize> =
        rules.iter().enumerate().map(|(place, rule)| (rule.code.as_str(), place)).collect();
    let mut tenants = Vec::new();
    for (name, value) in section.entries() {
        if reporter.is_full() {
            break;
        }
        if !is_short(name.value) {
            reporter.error(name.offset(), format!("a tenant's name has 1 to {NAME_CHARS_MAX} characters"));
        }
        let Some(tenant) = as_section(value) else {
            reporter.error(name.offset(), format!("`tenant.{}` needs a table", name.value));
            continue;
        };
        let keys = [&POLICY_KEYS[..], &["disable", "rule"]].concat();
        tenant.check_keys(&keys, reporter);
        let policy = policy_over(base, &tenant, catalogue, reporter);
        let mut standings: Vec<_> = rules.iter().map(|rule| Some(rule.standing)).collect();
        override_rules(&tenant, &places, &mut standings, reporter);
        disable_rules(&tenant, &places, &mut standings, reporter);
        tenants.push((name.value.to_owned(), TenantDefinition { policy, standings }));
    }
    tenants
}

fn override_rules(
    tenant: &Section<'_>,
    places: &FxHashMap<&str, usize>,
    standings: &mut [Option<Standing>],
    reporter: &mut Reporter<'_>,
) {
    let Some(overrides) = tenant.section("rule", reporter) else {
        return;
    };
    for (code, value) in overrides.entries() {
        let Some(place) = place_of(&code, places, reporter) else {
            continue;
        };
        let Some(section) = as_section(value) else {
            reporter.error(code.offset(), format!("`rule.{}` needs a table", code.value));
            continue;
        };
        section.check_keys(&["severity", "weight", "next_action"], reporter);
        if let Some(standing) = &mut standings[place] {
            standing.severity = severity(&section, reporter).unwrap_or(standing.severity);
            standing.weight_hundredths = weight(&section, reporter).unwrap_or(standing.weight_hundredths);
            standing.next_action = next_action(&section, reporter).or(standing.next_action);
        }
    }
}

fn disable_rules(
    tenant: &Section<'_>,
    places: &FxHashMap<&str, usize>,
    standings: &mut [Option<Standing>],
    reporter: &mut Reporter<'_>,
) {
    for code in tenant.texts("disable", reporter).unwrap_or_default() {
        if let Some(place) = place_of(&code, places, reporter) {
            standings[place] = None;
        }
    }
}

fn place_of(code: &Text<'_>, places: &FxHashMap<&str, usize>, reporter: &mut Reporter<'_>) -> Option<usize> {
    let place = places.get(code.value).copied();
    if place.is_none() {
        // Sorted, so that of two candidates equally near the same one is named each time.
        let mut codes: Vec<&str> = places.keys().copied().collect();
        codes.sort_unstable();
        let suggestion = nearest_suggestion(code.value, codes);
        reporter.report(code.offset(), format!("unknown rule `{}`", code.value), suggestion);
    }
    place
}

fn is_short(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.chars().count())
}

//! What the tests share: the catalogue of the frame, facts by name, and a rule set around one condition.

use std::hash::{BuildHasher, RandomState};

use proptest::test_runner::{Config, RngSeed};
use rules::{Catalogue, Entry, Evaluation, OwnedValue, RuleSet, Slot, Type};

/// Returns the catalogue with the names of the first signals.
pub fn catalogue() -> Catalogue {
    let mut entries = Vec::new();
    let mut add = |names: &[&str], prefix: &str, value_type: Type| {
        for name in names {
            entries.push(Entry::new(format!("{prefix}{name}"), value_type, "a value of the frame"));
        }
    };
    add(
        &["country", "language", "channel", "flow", "email", "phone_number", "ip", "gender"],
        "session.",
        Type::Text,
    );
    add(&["user_authorized"], "session.", Type::Bool);
    add(&["forwarded_for"], "session.", Type::TextList);
    add(
        &["address", "country_code", "state", "city", "service_provider", "connection_type"],
        "ip.",
        Type::Text,
    );
    add(&["asn"], "ip.", Type::Int);
    add(&["tor", "vpn", "datacenter", "proxy", "private_relay", "tunnel", "blacklisted"], "ip.", Type::Bool);
    for position in ["geo.location.", "geo.address."] {
        add(&["country_code", "prison_name"], position, Type::Text);
        add(&["inside_prison"], position, Type::Bool);
        add(&["prison_distance_m", "accuracy_m", "prison_accuracy_m"], position, Type::Double);
    }
    add(&["address_location_distance_m"], "geo.", Type::Double);
    Catalogue::new(entries).unwrap()
}

/// Makes facts from names and values; all others are unknown.
pub fn facts(catalogue: &Catalogue, known: &[(&str, OwnedValue)]) -> Vec<OwnedValue> {
    let mut values = vec![OwnedValue::Unknown; catalogue.entries().len()];
    for (name, value) in known {
        values[slot(catalogue, name)] = value.clone();
    }
    values
}

pub fn slot(catalogue: &Catalogue, name: &str) -> Slot {
    catalogue.slot(name).unwrap_or_else(|| panic!("{name} is not in the catalogue"))
}

pub fn bool(value: bool) -> OwnedValue {
    OwnedValue::Bool(value)
}

pub fn int(value: i64) -> OwnedValue {
    OwnedValue::Int(value)
}

pub fn double(value: f64) -> OwnedValue {
    OwnedValue::Double(value)
}

pub fn text(value: &str) -> OwnedValue {
    OwnedValue::Text(value.to_owned())
}

pub fn list(values: &[&str]) -> OwnedValue {
    OwnedValue::TextList(values.iter().map(|value| (*value).to_owned()).collect())
}

/// Writes a rule set with one rule, `RULE`.
pub fn source_of(condition: &str) -> String {
    assert!(!condition.contains("'''"), "the condition is written between three quotes");
    format!(
        "name = 'test'\n[[rule]]\ncode = 'RULE'\nseverity = 'evidence'\nweight = 1\n\
         text.en = 'fired'\ntext.es = 'disparó'\nwhen = '''{condition}'''\n"
    )
}

/// Loads a rule set with one rule, `RULE`.
#[track_caller]
pub fn rule_set_of(condition: &str, catalogue: &Catalogue) -> RuleSet {
    match RuleSet::load(&source_of(condition), catalogue) {
        Ok(rule_set) => rule_set,
        Err(error) => panic!("{condition}: {error}"),
    }
}

/// Returns what an evaluation says of its only rule: whether it fired, or `None` if that is unknown.
pub fn verdict(evaluation: &Evaluation<'_>) -> Option<bool> {
    if evaluation.unknown.is_empty() { Some(!evaluation.fired.is_empty()) } else { None }
}

/// Returns the settings of a random test and prints its seed, which alone repeats the test:
/// `PROPTEST_RNG_SEED=<seed> cargo test -p tamiz-rules`. `PROPTEST_CASES` sets another number of cases.
pub fn random_config(cases: u32) -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(0),
    };
    eprintln!("PROPTEST_RNG_SEED={seed}");
    config.rng_seed = RngSeed::Fixed(seed);
    config
}

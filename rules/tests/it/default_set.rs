//! The rule set that comes with the crate.

use rules::{RuleSet, Severity, run_cases};

use crate::frame::{bool, catalogue, double, facts, text};

const SOURCE: &str = include_str!("../../sets/default.toml");
const CASES: &str = include_str!("../../sets/default.cases.toml");

fn default_set() -> RuleSet {
    RuleSet::load(SOURCE, &catalogue()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn all_cases_pass() {
    let report = run_cases(&default_set(), &catalogue(), CASES).unwrap_or_else(|error| panic!("{error}"));
    let failures: Vec<_> = report.failures().collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(report.passed(), "{:?} {:?}", report.rules_never_firing, report.rules_never_silent);
}

#[test]
fn only_a_prison_flags() {
    let rule_set = default_set();
    let flags: Vec<&str> = rule_set
        .rules()
        .iter()
        .filter(|rule| rule.severity() == Severity::Flag)
        .map(|rule| rule.code())
        .collect();
    assert_eq!(flags, ["LOCATION_INSIDE_PRISON", "ADDRESS_INSIDE_PRISON"]);
}

/// The comment in the file promises this.
#[test]
fn evidence_alone_stays_below_the_band_of_flagged_sessions() {
    let rule_set = default_set();
    let evidence = rule_set.rules().iter().filter(|rule| rule.severity() == Severity::Evidence);
    let left: f64 = evidence.map(|rule| 1.0 - f64::from(rule.weight_hundredths()) / 100.0).product();
    assert!(100.0 * (1.0 - left) < rule_set.policy("").flag_score_min);
}

/// An honest session, with all lists configured, fires nothing and leaves nothing undecided.
#[test]
fn an_ordinary_session_is_silent_and_decided() {
    let catalogue = catalogue();
    let mut known = vec![
        ("ip.country_code", text("MX")),
        ("ip.address", text("201.141.5.9")),
        ("geo.address_location_distance_m", double(3_200.0)),
    ];
    for name in ["tor", "vpn", "datacenter", "proxy", "private_relay", "blacklisted"] {
        known.push((Box::leak(format!("ip.{name}").into_boxed_str()), bool(false)));
    }
    for (country, inside) in [
        ("geo.location.country_code", "geo.location.inside_prison"),
        ("geo.address.country_code", "geo.address.inside_prison"),
    ] {
        known.push((country, text("MX")));
        known.push((inside, bool(false)));
    }
    let rule_set = default_set();
    let evaluation = rule_set.evaluate("default", &facts(&catalogue, &known));
    assert!(evaluation.fired.is_empty(), "{:?}", evaluation.fired);
    assert!(evaluation.unknown.is_empty(), "{:?}", evaluation.unknown);
}

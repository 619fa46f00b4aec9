//! Policies, and what tenants change.

use rules::{Language, NextAction, RuleSet, Severity};

use crate::frame::{bool, catalogue, facts, text};

const SOURCE: &str = r#"
name = "tenants"
[policy]
home_countries = ["MX"]
deadline_ms = 3000
required_signals = ["ip"]
review_score_min = 20
flag_score_min = 60.5
language = "en"

[tenant.acme]
home_countries = ["BR", "PT"]
required_signals = ["ip", "geo"]
language = "es"
disable = ["VPN"]

[tenant.acme.rule.TOR]
severity = "flag"
weight = 60
next_action = "hold"

[tenant."other one"]
deadline_ms = 1

[[rule]]
code = "TOR"
when = "ip.tor"
severity = "review"
weight = 45
next_action = "manual_review"
text.en = "Tor"
text.es = "Tor"

[[rule]]
code = "VPN"
when = "ip.vpn"
severity = "evidence"
weight = 10
text.en = "VPN"
text.es = "VPN"

[[rule]]
code = "ABROAD"
when = "!(ip.country_code in policy.home_countries)"
severity = "evidence"
weight = 5
text.en = "{ip.country_code} is not in {policy.home_countries}"
text.es = "{ip.country_code} no está en {policy.home_countries}"
"#;

#[test]
fn policies_are_merged_field_by_field() {
    let rule_set = RuleSet::load(SOURCE, &catalogue()).unwrap();
    assert_eq!(rule_set.tenants(), ["acme", "other one"]);
    let base = rule_set.policy("nobody in particular");
    assert_eq!(base.home_countries, ["MX"]);
    assert_eq!((base.deadline_ms, base.review_score_min, base.flag_score_min), (3000, 20.0, 60.5));
    assert_eq!(base.language, Language::En);
    let acme = rule_set.policy("acme");
    assert_eq!(acme.home_countries, ["BR", "PT"]);
    assert_eq!(acme.required_signals, ["ip", "geo"]);
    assert_eq!((acme.deadline_ms, acme.language), (3000, Language::Es));
    assert_eq!(rule_set.policy("other one").deadline_ms, 1);
    assert_eq!(rule_set.policy("other one").required_signals, ["ip"]);
}

#[test]
fn tenants_change_rules_and_policy_values() {
    let catalogue = catalogue();
    let rule_set = RuleSet::load(SOURCE, &catalogue).unwrap();
    let known =
        facts(&catalogue, &[("ip.tor", bool(true)), ("ip.vpn", bool(true)), ("ip.country_code", text("MX"))]);
    let base = rule_set.evaluate("default", &known);
    assert_eq!(base.fired.iter().map(|fired| fired.code).collect::<Vec<_>>(), ["TOR", "VPN"]);
    assert_eq!(base.fired[0].severity, Severity::Review);
    assert_eq!(base.fired[0].next_action, Some(NextAction::ManualReview));

    let acme = rule_set.evaluate("acme", &known);
    assert_eq!(acme.fired.iter().map(|fired| fired.code).collect::<Vec<_>>(), ["TOR", "ABROAD"]);
    assert_eq!((acme.fired[0].severity, acme.fired[0].weight_hundredths), (Severity::Flag, 60));
    assert_eq!(acme.fired[0].next_action, Some(NextAction::Hold));
    assert_eq!(acme.fired[1].text_en, "MX is not in BR, PT");
    assert_eq!(acme.fired[1].text_es, "MX no está en BR, PT");
}

#[test]
fn a_disabled_rule_is_not_unknown_either() {
    let catalogue = catalogue();
    let rule_set = RuleSet::load(SOURCE, &catalogue).unwrap();
    let nothing = facts(&catalogue, &[]);
    let unknown = |tenant| -> Vec<String> {
        let evaluation = rule_set.evaluate(tenant, &nothing);
        evaluation.unknown.iter().map(|undecided| undecided.rule.to_owned()).collect()
    };
    assert_eq!(unknown("default"), ["TOR", "VPN", "ABROAD"]);
    assert_eq!(unknown("acme"), ["TOR", "ABROAD"]);
}

#[test]
fn severities_are_ordered() {
    assert!(Severity::Evidence < Severity::Review && Severity::Review < Severity::Flag);
}

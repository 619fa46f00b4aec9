//! How cases are run.

use rules::{CaseReport, run_cases};

use crate::frame::{catalogue, rule_set_of};

const CONDITION: &str = "ip.tor && ip.asn / ip.asn == 1";

#[track_caller]
fn report(cases: &str) -> CaseReport {
    let catalogue = catalogue();
    run_cases(&rule_set_of(CONDITION, &catalogue), &catalogue, cases).unwrap()
}

#[test]
fn cases_pass_and_fail() {
    let passing = report(
        r#"
[[case]]
name = "fires"
rule = "RULE"
facts = { "ip.tor" = true, "ip.asn" = 1 }
expect = "fires"
text_en = "fired"
text_es = "disparó"
[[case]]
name = "silent, with nested facts"
rule = "RULE"
facts.ip.tor = false
expect = "silent"
[[case]]
name = "unknown"
rule = "RULE"
facts = { "ip.asn" = 0 }
expect = "unknown"
"#,
    );
    assert!(passing.passed(), "{passing:?}");
    assert_eq!(passing.results.len(), 3);
    assert_eq!(passing.results[1].line, 9);

    let failing = report(
        r#"
[[case]]
name = "wrong text"
rule = "RULE"
facts = { "ip.tor" = true, "ip.asn" = 1 }
expect = "fires"
text_es = "otro"
[[case]]
name = "not decided"
rule = "RULE"
facts = { "ip.asn" = 0 }
expect = "silent"
"#,
    );
    let failures: Vec<_> = failing.failures().map(|result| result.failure.as_deref().unwrap()).collect();
    assert_eq!(
        failures,
        [
            "expected text_es \"otro\", got \"disparó\"",
            "expected silent, got unknown for want of ip.tor, division by zero",
        ]
    );
    assert_eq!(failing.rules_never_firing, ["RULE"]);
    assert_eq!(failing.rules_never_silent, ["RULE"]);
    assert!(!failing.passed());
}

#[test]
fn a_rule_without_a_firing_or_a_silent_case_does_not_pass() {
    let silent_only = report("[[case]]\nname='a'\nrule='RULE'\nfacts.ip.tor=false\nexpect='silent'\n");
    assert_eq!(silent_only.failures().count(), 0);
    assert_eq!(silent_only.rules_never_firing, ["RULE"]);
    assert!(silent_only.rules_never_silent.is_empty());
    assert!(!silent_only.passed());
    assert!(!report("").passed());
}

#[test]
fn mistakes_of_cases_are_told_with_their_place() {
    let catalogue = catalogue();
    let error = run_cases(
        &rule_set_of(CONDITION, &catalogue),
        &catalogue,
        r#"
[[case]]
name = "a"
rule = "RLE"
facts = { "ip.tro" = true, "ip.asn" = "x", geo = { location = 1 } }
expect = "fire"
[[case]]
name = "a"
rule = "RULE"
expect = "silent"
text_en = "x"
extra = 1
[[case]]
name = "a"
rule = "RULE"
expect = "unknown"
"#,
    )
    .unwrap_err();
    let found: Vec<String> = error.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "4:8: unknown rule `RLE`; did you mean `RULE`?",
            "5:11: unknown name `ip.tro`; did you mean `ip.tor`?",
            "5:39: `ip.asn` is int, found string",
            "5:52: `geo.location` is a group of values, not a value; \
             name one of its values, such as `geo.location.country_code`",
            "6:10: unknown word \"fire\"; did you mean `fires`?",
            "11:11: only a case that fires has texts",
            "12:1: unknown key `extra`; known keys are name, rule, tenant, facts, expect, text_en, text_es",
            "13:1: the case \"a\" is on line 7 already",
        ]
    );
}

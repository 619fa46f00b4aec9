//! What conditions mean, value by value.

use rules::{OwnedValue, RuleSet, Undefined};

use crate::frame::{bool, catalogue, double, facts, int, list, rule_set_of, source_of, text, verdict};

/// Judges a condition over a session in which some values are known.
#[track_caller]
fn check(condition: &str, expected: Option<bool>) {
    let catalogue = catalogue();
    let known = facts(
        &catalogue,
        &[
            ("ip.tor", bool(true)),
            ("ip.vpn", bool(false)),
            ("ip.asn", int(8151)),
            ("ip.address", text("201.141.5.9")),
            ("ip.country_code", text("MX")),
            ("ip.service_provider", text("UNINET Ñandú")),
            ("geo.location.accuracy_m", double(12.5)),
            ("geo.location.prison_distance_m", double(50.0)),
            ("session.forwarded_for", list(&["10.0.0.1", "201.141.5.9"])),
        ],
    );
    let rule_set = rule_set_of(condition, &catalogue);
    assert_eq!(verdict(&rule_set.evaluate("", &known)), expected, "{condition}");
}

const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);
const UNKNOWN: Option<bool> = None;

#[test]
fn logic_of_known_and_unknown() {
    // `ip.proxy` and `ip.tunnel` are unknown.
    check("ip.tor", YES);
    check("!ip.tor", NO);
    check("ip.proxy", UNKNOWN);
    check("!ip.proxy", UNKNOWN);
    for (left, right, and, or) in [
        ("ip.tor", "ip.tor", YES, YES),
        ("ip.tor", "ip.vpn", NO, YES),
        ("ip.vpn", "ip.vpn", NO, NO),
        ("ip.proxy", "ip.tor", UNKNOWN, YES),
        ("ip.proxy", "ip.vpn", NO, UNKNOWN),
        ("ip.proxy", "ip.tunnel", UNKNOWN, UNKNOWN),
    ] {
        check(&format!("{left} && {right}"), and);
        check(&format!("{right} && {left}"), and);
        check(&format!("{left} || {right}"), or);
        check(&format!("{right} || {left}"), or);
    }
    check("ip.proxy == ip.proxy", UNKNOWN);
    check("ip.proxy == false", UNKNOWN);
    check("ip.proxy ? true : true", UNKNOWN);
    check("ip.tor ? true : ip.proxy", YES);
    check("ip.tor ? ip.proxy : true", UNKNOWN);
}

#[test]
fn presence() {
    check("has(ip.tor)", YES);
    check("has(ip.proxy)", NO);
    check("absent(ip.proxy)", YES);
    check("absent(ip.tor)", NO);
    check("ip.proxy == null", YES);
    check("null != ip.tor", YES);
    check("ip.tor == null", NO);
    check("has(ip.proxy) && ip.proxy", NO);
}

#[test]
fn numbers() {
    check("ip.asn == 8151", YES);
    check("ip.asn < 8151.5", YES);
    check("8151.0 == ip.asn", YES);
    check("geo.location.prison_distance_m < 50", NO);
    check("geo.location.prison_distance_m <= 50", YES);
    check("geo.location.accuracy_m * 4.0 >= geo.location.prison_distance_m", YES);
    check("ip.asn % 100 == 51 && ip.asn / 100 == 81 && -ip.asn / 100 == -81", YES);
    check("-ip.asn % 100 == -51", YES);
    check("abs(-ip.asn) - 8151 == 0", YES);
    check("abs(-12.5) == geo.location.accuracy_m", YES);
    check("max(1, ip.asn, 3) == 8151 && min(1, ip.asn, -3) == -3", YES);
    check("max(1.5, geo.location.accuracy_m) == 12.5", YES);
    check("double(ip.asn) / 2.0 == 4075.5", YES);
    check("int(geo.location.accuracy_m) == 12 && int(-12.9) == -12", YES);
    check("int('42') == 42 && double('1.5') == 1.5", YES);
    check("0x10 == 16 && 1e3 == 1000.0 && -9223372036854775808 < 0", YES);
    check("geo.address.accuracy_m < 1.0", UNKNOWN);
    check("max(1.0, geo.address.accuracy_m) > 0.5", UNKNOWN);
    check("9007199254740993 == 9007199254740992.0", NO);
}

#[test]
fn what_has_no_result_is_unknown() {
    for (condition, reason) in [
        ("1 / (ip.asn - 8151) == 1", Undefined::DivisionByZero),
        ("1 % (ip.asn - 8151) == 1", Undefined::DivisionByZero),
        ("1.0 / (geo.location.accuracy_m - 12.5) > 1.0", Undefined::DivisionByZero),
        ("ip.asn * 9223372036854775807 > 0", Undefined::Overflow),
        ("-(-9223372036854775807 - ip.asn / 8151) > 0", Undefined::Overflow),
        ("abs(-9223372036854775808 + ip.asn - 8151) > 0", Undefined::Overflow),
        ("(-9223372036854775808 + ip.asn - 8151) / -1 > 0", Undefined::Overflow),
        ("(-9223372036854775808 + ip.asn - 8151) % -1 == 0", Undefined::Overflow),
        ("geo.location.accuracy_m * 1e308 > 0.0", Undefined::Overflow),
        ("int(geo.location.accuracy_m * 1e300) > 0", Undefined::Conversion),
        ("int(ip.address) > 0", Undefined::Conversion),
        ("double('inf') > 0.0", Undefined::Conversion),
        ("double('NaN') > 0.0", Undefined::Conversion),
    ] {
        check(condition, UNKNOWN);
        check(&format!("{condition} || ip.tor"), YES);
        let catalogue = catalogue();
        let rule_set = rule_set_of(condition, &catalogue);
        let known = facts(
            &catalogue,
            &[
                ("ip.asn", int(8151)),
                ("ip.address", text("201.141.5.9")),
                ("geo.location.accuracy_m", double(12.5)),
            ],
        );
        let undecided = &rule_set.evaluate("", &known).unknown[0];
        assert_eq!(undecided.undefined, [reason], "{condition}");
        assert!(undecided.missing.is_empty(), "{condition}");
    }
}

#[test]
fn texts_and_lists() {
    check("ip.country_code == 'MX' && ip.country_code != 'US'", YES);
    check("ip.country_code < 'N' && 'L' <= ip.country_code", YES);
    check("'MX' == ip.country_code", YES);
    check("ip.country_code in ['BR', 'MX']", YES);
    check("ip.country_code in ['BR', 'CO', 'CL', 'PE', 'AR', 'EC', 'CR', 'UY', 'MX']", YES);
    check("ip.country_code in ['BR', 'CO', 'CL', 'PE', 'AR', 'EC', 'CR', 'UY', 'PY']", NO);
    check("ip.country_code in policy.home_countries", YES);
    check("ip.country_code in []", NO);
    check("ip.asn in [1, 8151.0]", YES);
    check("ip.tor in [false, ip.vpn]", NO);
    check("ip.country_code in [ip.state, 'MX']", YES);
    check("ip.country_code in [ip.state, 'US']", UNKNOWN);
    check("ip.state in ['x']", UNKNOWN);
    check("ip.address in session.forwarded_for", YES);
    check("ip.address.startsWith('201.') && ip.address.endsWith('.9')", YES);
    check("ip.service_provider.contains('Ñan')", YES);
    check("ip.service_provider.lowerAscii() == 'uninet Ñandú'", YES);
    check("ip.address.matches(r'^\\d+(\\.\\d+){3}$')", YES);
    check("matches(ip.address, '^10')", NO);
    check("size(ip.service_provider) == 12 && session.forwarded_for.size() == 2", YES);
    check("ip.country_code + '-' + ip.address == 'MX-201.141.5.9'", YES);
    check("session.forwarded_for.exists(v, v.startsWith('10.'))", YES);
    check("session.forwarded_for.all(v, v.startsWith('10.'))", NO);
    check("session.forwarded_for.all(a, session.forwarded_for.exists(b, a == b))", YES);
    check("['MX', 'BR'].exists(v, v == ip.country_code)", YES);
    check("[].exists(v, v == 'x') || ![].all(v, v == 'x')", NO);
    check("session.forwarded_for.exists(v, v == ip.state)", UNKNOWN);
    check("session.forwarded_for.exists(v, v == ip.state || v == ip.address)", YES);
    check("session.forwarded_for.all(v, v == ip.state && v == ip.address)", NO);
    check("(ip.tor ? policy.home_countries : session.forwarded_for) == ['MX']", YES);
    check("(ip.vpn ? ip.state : ip.country_code) == 'MX'", YES);
    check("ip.state.startsWith('x')", UNKNOWN);
}

#[test]
fn policy_values_are_constants() {
    check("policy.deadline_ms == 5000 && policy.language == 'es'", YES);
    check("policy.review_score_min + 40.0 == policy.flag_score_min", YES);
    check("size(policy.required_signals) == 0", YES);
}

/// Returns which names keep a condition from being decided.
#[track_caller]
fn check_missing(condition: &str, known: &[(&str, OwnedValue)], expected: &[&str]) {
    let catalogue = catalogue();
    let rule_set = rule_set_of(condition, &catalogue);
    let evaluation = rule_set.evaluate("", &facts(&catalogue, known));
    assert_eq!(evaluation.unknown[0].missing, expected, "{condition}");
    assert!(evaluation.unknown[0].undefined.is_empty());
}

#[test]
fn only_what_matters_is_missing() {
    check_missing("ip.tor", &[], &["ip.tor"]);
    check_missing("ip.tor && ip.vpn && ip.tor", &[], &["ip.tor", "ip.vpn"]);
    check_missing("ip.tor && ip.vpn", &[("ip.tor", bool(true))], &["ip.vpn"]);
    // The unknown `ip.vpn` is beside the point, because the other operand of its `&&` is false.
    check_missing("ip.tor || (ip.vpn && ip.proxy)", &[("ip.proxy", bool(false))], &["ip.tor"]);
    check_missing("ip.tor && (ip.vpn || ip.proxy)", &[("ip.proxy", bool(true))], &["ip.tor"]);
    check_missing("ip.state == ip.city", &[], &["ip.state", "ip.city"]);
    check_missing("ip.tor ? ip.vpn : ip.proxy", &[("ip.tor", bool(false))], &["ip.proxy"]);
    check_missing(
        "min(geo.location.accuracy_m, geo.address.accuracy_m) < 1.0",
        &[],
        &["geo.location.accuracy_m", "geo.address.accuracy_m"],
    );
    check_missing(
        "session.forwarded_for.exists(v, v == ip.state && v == 'x') || ip.tor",
        &[("session.forwarded_for", list(&["y"]))],
        &["ip.tor"],
    );
    check_missing("has(ip.vpn) || ip.tor", &[], &["ip.tor"]);
}

#[test]
fn numbers_that_are_not_finite_are_unknown() {
    let catalogue = catalogue();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for (condition, expected) in [
            ("geo.location.accuracy_m > 0.0", None),
            ("!(geo.location.accuracy_m > 0.0)", None),
            ("has(geo.location.accuracy_m)", Some(false)),
        ] {
            let rule_set = rule_set_of(condition, &catalogue);
            let known = facts(&catalogue, &[("geo.location.accuracy_m", double(value))]);
            assert_eq!(verdict(&rule_set.evaluate("", &known)), expected, "{condition} with {value}");
        }
    }
}

#[test]
#[should_panic(expected = "another type than its catalogue entry")]
fn facts_of_another_catalogue_stop_the_evaluation() {
    let catalogue = catalogue();
    let rule_set = rule_set_of("ip.tor", &catalogue);
    rule_set.evaluate("", &facts(&catalogue, &[("ip.tor", text("yes"))]));
}

#[test]
fn a_rule_set_knows_itself() {
    let catalogue = catalogue();
    let source = source_of("ip.tor && ip.asn > 1").replace("'fired'", "'fired {ip.city}'");
    let rule_set = RuleSet::load(&source, &catalogue).unwrap();
    assert_eq!(rule_set.name(), "test");
    assert_eq!(rule_set.source(), source);
    let rule = &rule_set.rules()[0];
    assert_eq!((rule.code(), rule.line(), rule.when()), ("RULE", 2, "ip.tor && ip.asn > 1"));
    assert_eq!(rule.inputs().collect::<Vec<_>>(), ["ip.tor", "ip.asn"]);
    let mut used: Vec<_> =
        rule_set.used_slots().map(|slot| catalogue.entries()[slot].name.as_str()).collect();
    used.sort_unstable();
    assert_eq!(used, ["ip.asn", "ip.city", "ip.tor"]);
    let empty = RuleSet::load("name='a'", &catalogue).unwrap();
    assert_eq!(empty.rules().len(), 0);
    // `printf %s "name='a'" | sha256sum`
    assert_eq!(empty.hash(), "sha256:5a4c91d0dbcddba40f2f252ce00e84d4e1779ce400aab6e394ed5aba130abab4");
    assert!(empty.evaluate("any", &facts(&catalogue, &[])).fired.is_empty());
}

#[test]
fn rule_sets_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&rule_set_of("ip.tor", &catalogue()));
}

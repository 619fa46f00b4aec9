//! What is wrong with rule sets, and where it is told to be.

use rules::{
    DIAGNOSTICS_MAX, Diagnostic, EXPRESSION_CHARS_MAX, FILE_BYTES_MAX, INPUTS_MAX, RULES_MAX, RuleSet,
};

use crate::frame::{catalogue, source_of};

fn diagnostics(source: &str) -> Vec<Diagnostic> {
    match RuleSet::load(source, &catalogue()) {
        Ok(_) => Vec::new(),
        Err(error) => error.diagnostics,
    }
}

/// Checks the problem of a condition; its column is counted from the condition's first character.
#[track_caller]
fn check(condition: &str, column: usize, message: &str, suggestion: &str) {
    let found = diagnostics(&source_of(condition));
    let first = found.first().unwrap_or_else(|| panic!("{condition} was accepted"));
    assert_eq!(first.message, message, "{condition}");
    assert_eq!(first.suggestion.as_deref().unwrap_or(""), suggestion, "{condition}");
    assert_eq!((first.line, first.column), (8, column + "when = '''".len()), "{condition}");
    assert_eq!(found.len(), 1, "{condition}: one mistake is told once: {found:?}");
}

#[test]
fn unknown_names() {
    check("ip.tro", 1, "unknown name `ip.tro`", "did you mean `ip.tor`?");
    check("ip.vpn && tor", 11, "unknown name `tor`", "did you mean `ip.tor`?");
    check(
        "geo.location.inside_prision",
        1,
        "unknown name `geo.location.inside_prision`",
        "did you mean `geo.location.inside_prison`?",
    );
    check(
        "ip.country_code in policy.home_country",
        20,
        "unknown name `policy.home_country`",
        "did you mean `policy.home_countries`?",
    );
    check(
        "geo.location",
        1,
        "`geo.location` is a group of values, not a value",
        "name one of its values, such as `geo.location.country_code`",
    );
    check("nothing_like_it", 1, "unknown name `nothing_like_it`", "");
    check("ip.city.startswith('x')", 9, "unknown function `startswith`", "did you mean `startsWith`?");
}

#[test]
fn type_errors() {
    check("ip.country_code", 1, "a condition needs bool, found text", "");
    check("ip.tor && ip.asn", 11, "`&&` needs bool, found int", "");
    check("!ip.city", 2, "`!` needs bool, found text", "");
    check("ip.asn == 'x'", 1, "`==` cannot compare int with text", "");
    check("ip.tor < true", 1, "`<` cannot order values of type bool", "");
    check(
        "ip.city == policy.home_countries",
        1,
        "`==` cannot compare text with list of text",
        "ask with `in`",
    );
    check(
        "ip.asn * 2.0 > 1.0",
        1,
        "`*` cannot be applied to int and double",
        "convert one side with double() or int(), or write 2 as 2.0",
    );
    check("ip.tor ? 1 : 'x'", 14, "both branches of `?:` need one type, found int and text", "");
    check("1.5 % 2.0 > 1.0", 1, "`%` cannot be applied to double and double", "");
    check("ip.asn in ['x']", 12, "`in` cannot compare int with text", "");
    check("ip.asn in policy.home_countries", 1, "a list of text cannot hold int", "");
    check("ip.city in ip.state", 12, "`in` needs list of text, found text", "");
    check(
        "[1, 2].size() > 1",
        2,
        "a list used here holds text literals only",
        "other elements are allowed to the right of `in`",
    );
    check(
        "null",
        1,
        "null can only be compared with a name by `==` or `!=`",
        "ask with has(name) or absent(name)",
    );
    check("has(ip.asn + 1)", 5, "`has` needs a name of the catalogue", "");
    check("has(policy.language)", 5, "`has` needs a name of the catalogue", "");
    check("max(1)  > 0", 1, "`max` is called as max(number, number, …)", "");
    check(
        "max(1, 2.0) > 0",
        8,
        "`max` needs numbers of one type, found int and double",
        "convert with double() or int()",
    );
    check("abs(ip.city) == 1", 5, "`abs` needs a number, found text", "");
    check("size(ip.asn) == 1", 6, "`size` needs text or list of text, found int", "");
    check(
        "ip.city.matches(ip.state)",
        17,
        "the pattern of `matches` is a text literal, because it is compiled on load",
        "",
    );
    check("ip.city.matches('(')", 17, "the pattern of `matches` is not valid: unclosed group", "");
    check(
        "session.forwarded_for.exists(ip, ip == 'x')",
        30,
        "`ip` cannot name the variable, because it has a meaning already",
        "call it `v`",
    );
    check(
        "session.forwarded_for.exists(v)",
        1,
        "`exists` is called as list.exists(v, condition) or list.all(v, condition)",
        "",
    );
}

#[test]
fn syntax_errors() {
    check("ip.tor &&", 10, "expected a value, found the end", "");
    check("ip.tor = true", 8, "unexpected character '='", "compare with `==`");
    check("ip.tor and ip.vpn", 8, "expected an operator or the end, found `and`", "write `&&`");
    check("ip.city == \"x", 12, "text is not closed", "");
}

#[test]
fn every_mistake_of_an_expression_is_told() {
    let found = diagnostics(&source_of("ip.tro || ip.asn == 'x' || !ip.city"));
    let columns: Vec<_> = found.iter().map(|diagnostic| diagnostic.column - "when = '''".len()).collect();
    assert_eq!(columns, [1, 11, 29]);
}

#[test]
fn positions_are_those_of_the_file() {
    // In a basic string with an escape, in several lines, and behind characters of several bytes.
    for (when, line, column) in [
        (r#"when = "ip.city == \"x\" && ip.tro""#, 8, 29),
        ("when = \"\"\"\nip.tor\n  && ip.tro\"\"\"", 10, 6),
        ("when = '''\r\nip.tor &&\r\nip.tro'''", 10, 1),
        ("when = '''ip.city == 'ñandú' && ip.tro'''", 8, 33),
        ("when = \"\"\"ip.tor && \\\n    ip.tro\"\"\"", 9, 5),
    ] {
        let source = source_of("true").replace("when = '''true'''", when);
        let found = diagnostics(&source);
        assert_eq!(found.len(), 1, "{when}: {found:?}");
        assert_eq!((found[0].line, found[0].column), (line, column), "{when}: {found:?}");
    }
}

/// Checks that a rule set has exactly these problems, written as "line:column: message; suggestion".
#[track_caller]
fn check_file(source: &str, expected: &[&str]) {
    let found: Vec<String> = diagnostics(source).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{source}");
}

#[test]
fn mistakes_of_the_file() {
    check_file("", &["1:1: `name` is missing"]);
    check_file("name = 'a b'", &["1:8: `name` is 1 to 64 letters, digits, dots, hyphens and underscores"]);
    check_file(
        "name = 'a'\n[polcy]\n[policy]\nhome_countris = []\n",
        &[
            "2:2: unknown key `polcy`; did you mean `policy`?",
            "4:1: unknown key `home_countris`; did you mean `home_countries`?",
        ],
    );
    check_file("name = 'a'\nrule = 3\n", &["2:8: `rule` needs tables written as [[rule]], found integer"]);
    let broken = diagnostics("name = 'a'\n[policy\n");
    assert_eq!(broken[0].line, 2);
    assert!(broken[0].message.starts_with("not valid toml: "), "{broken:?}");
}

#[test]
fn mistakes_of_rules() {
    check_file(
        r#"name = "a"
[[rule]]
code = "tor"
when = "ip.tor"
severity = "reviw"
weight = 100
next_action = "manualreview"
risk_flag = "Tor"
values = ["ip.tro"]
text.en = "{ip.adress}"
text.fr = "x"
nope = 1
"#,
        &[
            "3:8: `code` is 1 to 64 capital letters, digits and underscores, a letter first",
            "5:12: unknown word \"reviw\"; did you mean `review`?",
            "6:10: `weight` is in hundredths, 0 to 99, found 100",
            "7:15: unknown word \"manualreview\"; did you mean `manual_review`?",
            "8:13: `risk_flag` is 1 to 64 small letters, digits and underscores, a letter first",
            "9:12: unknown name `ip.tro`; did you mean `ip.tor`?",
            "10:1: `text.es` is missing",
            "10:13: unknown name `ip.adress`; did you mean `ip.address`?",
            "11:6: unknown key `fr`; known keys are en, es",
            "12:1: unknown key `nope`; known keys are code, when, severity, weight, risk_flag, \
             next_action, values, text",
        ],
    );
    check_file(
        "name = 'a'\n[[rule]]\n",
        &[
            "2:1: `code` is missing",
            "2:1: `when` is missing",
            "2:1: `severity` is missing",
            "2:1: `weight` is missing",
            "2:1: `text.en` and `text.es` are missing",
        ],
    );
    let twice = format!("{}{}", source_of("ip.tor"), source_of("ip.vpn").replace("name = 'test'\n", ""));
    check_file(&twice, &["10:8: the code RULE is on line 3 already"]);
    check_file(
        &source_of("ip.tor").replace("'RULE'", "'REQUIRED_SIGNAL_MISSING'"),
        &["3:8: the code REQUIRED_SIGNAL_MISSING is reserved"],
    );
}

#[test]
fn mistakes_of_policies() {
    check_file(
        r#"name = "a"
[policy]
home_countries = ["mx", "MX", "MX", "Mexico"]
deadline_ms = 0
required_signals = ["ipp", "geo.location", "session"]
review_score_min = 0
flag_score_min = 100.5
language = "fr"
"#,
        &[
            "3:19: \"mx\" is not a country as two capital letters (ISO 3166-1); did you mean `MX`?",
            "3:31: \"MX\" is in the list already",
            "3:37: \"Mexico\" is not a country as two capital letters (ISO 3166-1)",
            "4:15: `deadline_ms` is 1 to 3600000 milliseconds, found 0",
            "5:21: unknown signal \"ipp\"; known signals are ip, geo",
            "5:28: unknown signal \"geo.location\"; name the whole signal, `geo`",
            "5:44: unknown signal \"session\"; known signals are ip, geo",
            "6:20: `review_score_min` is above 0 and at most 100, found 0",
            "7:18: `flag_score_min` is above 0 and at most 100, found 100.5",
            "8:12: unknown word \"fr\"; write one of en, es",
        ],
    );
    check_file(
        "name = 'a'\n[policy]\nhome_countries = []\n",
        &["2:1: `home_countries` is empty, so every country would be foreign"],
    );
    check_file(
        "name = 'a'\n[policy]\nreview_score_min = 80\n",
        &["2:1: `review_score_min` 80 is above `flag_score_min` 70"],
    );
    check_file(
        "name = 'a'\n[policy]\nreview_score_min = nan\n",
        &["3:20: `review_score_min` needs a finite number, found float"],
    );
}

#[test]
fn mistakes_of_tenants() {
    let source = source_of("ip.tor")
        + "[tenant.acme]\nflag_score_min = 10\ndisable = ['RULES']\nhome = 1\n\
           [tenant.acme.rule.RUL]\nweight = 1\n[tenant.acme.rule.RULE]\nweight = -1\ncode = 'X'\n";
    check_file(
        &source,
        &[
            "9:1: `review_score_min` 30 is above `flag_score_min` 10",
            "11:12: unknown rule `RULES`; did you mean `RULE`?",
            "12:1: unknown key `home`; known keys are home_countries, deadline_ms, required_signals, \
             review_score_min, flag_score_min, language, disable, rule",
            "13:19: unknown rule `RUL`; did you mean `RULE`?",
            "16:10: `weight` is in hundredths, 0 to 99, found -1",
            "17:1: unknown key `code`; known keys are severity, weight, next_action",
        ],
    );
    check_file("name = 'a'\n[tenant]\nacme = 1\n", &["3:1: `tenant.acme` needs a table"]);
}

#[test]
fn limits() {
    let long = diagnostics(&source_of(&format!("ip.tor{}", " ".repeat(EXPRESSION_CHARS_MAX))));
    assert_eq!(long[0].message, format!("expression is longer than {EXPRESSION_CHARS_MAX} characters"));
    let huge = diagnostics(&"#".repeat(FILE_BYTES_MAX + 1));
    assert_eq!(huge[0].message, format!("file is larger than {FILE_BYTES_MAX} bytes"));
    let many = format!("name='a'\n{}", "[[rule]]\n".repeat(RULES_MAX + 1));
    assert_eq!(diagnostics(&many)[0].message, format!("rule set has more than {RULES_MAX} rules"));
    let mistakes = format!("name='a'\n{}", "[[rule]]\n".repeat(RULES_MAX));
    assert_eq!(diagnostics(&mistakes).len(), DIAGNOSTICS_MAX);
    let nested = "session.forwarded_for.exists(a, session.forwarded_for.exists(b, session.forwarded_for.exists(c, true)))";
    assert!(diagnostics(&source_of(nested))[0].message.contains("nested deeper than 2"));
    let pattern = "ip.city.matches('(\\\\pL{1000}){1000}')";
    assert!(diagnostics(&source_of(pattern))[0].message.contains("not valid"));
}

#[test]
fn an_expression_reads_a_limited_number_of_names() {
    let entries = (0..=INPUTS_MAX).map(|index| rules::Entry::new(format!("n{index}"), rules::Type::Bool, ""));
    let catalogue = rules::Catalogue::new(entries.collect()).unwrap();
    let names: Vec<String> = (0..=INPUTS_MAX).map(|index| format!("n{index}")).collect();
    let error = RuleSet::load(&source_of(&names.join(" || ")), &catalogue).unwrap_err();
    assert_eq!(error.diagnostics[0].message, format!("expression reads more than {INPUTS_MAX} names"));
    let rule_set = RuleSet::load(&source_of(&names[..INPUTS_MAX].join(" || ")), &catalogue).unwrap();
    let evaluation = rule_set.evaluate("", &Vec::new());
    assert_eq!(evaluation.unknown[0].missing, names[..INPUTS_MAX]);
}

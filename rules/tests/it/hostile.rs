//! No text makes loading panic, hang or exhaust the stack.

use proptest::prelude::*;
use rules::{LoadError, RuleSet, run_cases};

use crate::frame::{catalogue, facts, random_config, source_of};

const DEFAULT_SET: &str = include_str!("../../sets/default.toml");
const DEFAULT_CASES: &str = include_str!("../../sets/default.cases.toml");

/// Loads a text; diagnostics must point into it, and what loads must run.
fn load(source: &str) {
    let catalogue = catalogue();
    match RuleSet::load(source, &catalogue) {
        Ok(rule_set) => {
            rule_set.evaluate("acme", &facts(&catalogue, &[]));
        }
        Err(error) => check_places(source, &error),
    }
}

fn check_places(source: &str, error: &LoadError) {
    assert!(!error.diagnostics.is_empty());
    let line_count = source.split('\n').count();
    for diagnostic in &error.diagnostics {
        assert!((1..=line_count).contains(&diagnostic.line), "{diagnostic}");
        let line = source.split('\n').nth(diagnostic.line - 1).unwrap();
        assert!((1..=line.chars().count() + 1).contains(&diagnostic.column), "{diagnostic}");
    }
}

/// Replaces, removes, doubles or inserts a piece of a text.
fn mutated(source: &str, start: usize, length: usize, kind: u8, piece: &str) -> String {
    let start = source.floor_char_boundary(start % source.len());
    let end = source.floor_char_boundary((start + length).min(source.len())).max(start);
    let (head, middle, tail) = (&source[..start], &source[start..end], &source[end..]);
    match kind % 4 {
        0 => format!("{head}{piece}{tail}"),
        1 => format!("{head}{tail}"),
        2 => format!("{head}{middle}{middle}{tail}"),
        _ => format!("{head}{piece}{middle}{tail}"),
    }
}

const PIECES: [&str; 24] = [
    "'",
    "\"",
    "'''",
    "\"\"\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "=",
    "\n",
    "\r\n",
    ".",
    ",",
    "\u{0}",
    "é",
    "\u{10ffff}",
    "&&",
    "9223372036854775808",
    "1e999",
    "has(",
    "[[rule]]\n",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![proptest::sample::select(&PIECES[..]).prop_map(str::to_owned), any::<String>()]
}

proptest! {
    #![proptest_config(random_config(1_500))]

    #[test]
    fn any_text(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        load(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_condition(condition in any::<String>()) {
        load(&source_of(&condition.replace("'''", "")));
    }

    #[test]
    fn any_sequence_of_tokens(
        tokens in proptest::collection::vec(proptest::sample::select(&[
            "ip.tor", "ip.asn", "ip.city", "session.forwarded_for", "policy.home_countries", "v", "true", "null",
            "1", "2.5", "'a'", "[", "]", "(", ")", ",", ".", "?", ":", "!", "-", "+", "*", "/", "%", "==", "<",
            "in", "&&", "||", "has(", "size(", ".exists(v,", ".matches(", "int(", "max(",
        ][..]), 1..40),
    ) {
        load(&source_of(&tokens.join(" ")));
    }

    #[test]
    fn any_template(text in any::<String>(), kind in any::<bool>()) {
        let text = text.replace('\'', "");
        let (from, to) = if kind { ("'fired'", format!("'''{text}'''")) } else { ("'fired'", format!("'''{{{text}}}'''")) };
        load(&source_of("ip.tor").replace(from, &to));
    }

    #[test]
    fn mutated_rule_sets(
        changes in proptest::collection::vec((any::<usize>(), 0_usize..40, any::<u8>(), piece()), 1..5),
    ) {
        let mut source = DEFAULT_SET.to_owned();
        for (start, length, kind, piece) in changes {
            source = mutated(&source, start, length, kind, &piece);
        }
        load(&source);
    }

    #[test]
    fn mutated_cases(
        changes in proptest::collection::vec((any::<usize>(), 0_usize..40, any::<u8>(), piece()), 1..5),
    ) {
        let catalogue = catalogue();
        let rule_set = RuleSet::load(DEFAULT_SET, &catalogue).unwrap();
        let mut source = DEFAULT_CASES.to_owned();
        for (start, length, kind, piece) in changes {
            source = mutated(&source, start, length, kind, &piece);
        }
        if let Err(error) = run_cases(&rule_set, &catalogue, &source) {
            check_places(&source, &error);
        }
    }
}

#[test]
fn deep_nesting_ends_in_an_error_on_a_small_stack() {
    let sources = [
        source_of(&"(".repeat(4_000)),
        source_of(&"!".repeat(4_000)),
        source_of(&"-".repeat(4_000)),
        source_of(&"[".repeat(4_000)),
        source_of(&"has(".repeat(1_000)),
        source_of(&"a?".repeat(2_000)),
        source_of(&"a?a:".repeat(1_000)),
        source_of(&format!("ip.asn{} > 1", " + 1".repeat(1_000))),
        source_of(&format!("{}ip.tor{}", "(".repeat(63), ")".repeat(63))),
        format!("name = {}", "[".repeat(100_000)),
        format!("name = {}", "{a=".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
    ];
    // Half of what test threads and Tokio workers have.
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let thread = small.spawn(move || sources.iter().for_each(|source| load(source))).unwrap();
    thread.join().unwrap();
}

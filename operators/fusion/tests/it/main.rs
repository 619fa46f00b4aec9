//! The cases of `tests/golden`.

use fusion::RuleLibrary;
use rules::RuleSet;

/// A rule set of the tests' own, so that a change of the built-in one changes no case.
const RULES: &str = include_str!("../data/rules.toml");

#[test]
fn golden_cases() {
    pipeline::golden::check("tests/golden", &[&fusion::REGISTRATION], |context| {
        let rules = RuleSet::load(RULES, fusion::catalogue()).expect("the rules of the tests are valid");
        let shared = context.shared(|_| Ok::<_, std::convert::Infallible>(RuleLibrary::new(rules)));
        shared.expect("nothing can fail");
    });
}

//! Laws of three-valued logic, over random conditions and sessions in which much is unknown.

use proptest::prelude::*;
use rules::{Catalogue, Entry, OwnedValue, RuleSet, Type};

use crate::frame::{random_config, rule_set_of, verdict};

const NAMES: [&str; 8] = ["b.p", "b.q", "b.r", "n.i", "n.j", "d.x", "t.s", "l.names"];

fn catalogue() -> Catalogue {
    let types =
        [Type::Bool, Type::Bool, Type::Bool, Type::Int, Type::Int, Type::Double, Type::Text, Type::TextList];
    let entries = NAMES.iter().zip(types).map(|(name, value_type)| Entry::new(*name, value_type, ""));
    Catalogue::new(entries.collect()).unwrap()
}

/// Makes conditions from all that can be unknown; without `has`, which tells known from unknown by design.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        proptest::sample::select(
            &[
                "b.p",
                "b.q",
                "b.r",
                "n.i < n.j",
                "n.i / n.j == 1",
                "n.i in [n.j, 1, 2]",
                "max(n.i, n.j) > 1",
                "d.x > double(n.i)",
                "d.x * 2.0 <= 1",
                "t.s == 'a'",
                "t.s in ['a', 'b']",
                "t.s in l.names",
                "t.s.lowerAscii().startsWith('a')",
                "int(t.s) == n.i",
                "size(l.names) > n.i",
                "l.names.exists(v, v == t.s || b.p)",
                "l.names.all(v, v != 'a' && b.q)",
                "(b.r ? n.i : n.j) > 0",
            ][..]
        )
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|operands| format!("({})", operands.join(" && "))),
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|operands| format!("({})", operands.join(" || "))),
            inner.clone().prop_map(|operand| format!("!({operand})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("(({left}) == ({right}))")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(condition, then, otherwise)| format!("({condition} ? {then} : {otherwise})")),
        ]
    })
}

fn known_facts() -> impl Strategy<Value = Vec<OwnedValue>> {
    (
        any::<[bool; 3]>(),
        (-2_i64..3, -2_i64..3),
        -2_i32..3,
        "[abA1]?",
        proptest::collection::vec("[ab1]", 0..3),
    )
        .prop_map(|(bools, ints, double, text, list)| {
            let mut facts: Vec<_> = bools.map(OwnedValue::Bool).to_vec();
            facts.extend([ints.0, ints.1].map(OwnedValue::Int));
            facts.push(OwnedValue::Double(f64::from(double)));
            facts.push(OwnedValue::Text(text));
            facts.push(OwnedValue::TextList(list));
            facts
        })
}

/// Returns the facts without those whose bit is not set.
fn masked(facts: &[OwnedValue], mask: u8) -> Vec<OwnedValue> {
    let keep = |(place, fact): (usize, &OwnedValue)| {
        if mask & 1 << place == 0 { OwnedValue::Unknown } else { fact.clone() }
    };
    facts.iter().enumerate().map(keep).collect()
}

fn judged(rule_set: &RuleSet, facts: &Vec<OwnedValue>) -> Option<bool> {
    verdict(&rule_set.evaluate("", facts))
}

proptest! {
    #![proptest_config(random_config(2_000))]

    /// What is decided with some values unknown stays so whatever they turn out to be.
    #[test]
    fn knowing_more_changes_no_verdict(
        condition in condition(), facts in known_facts(), mask in any::<u8>(), more in any::<u8>(),
    ) {
        let rule_set = rule_set_of(&condition, &catalogue());
        let less_known = judged(&rule_set, &masked(&facts, mask));
        let more_known = judged(&rule_set, &masked(&facts, mask | more));
        prop_assert!(less_known.is_none() || less_known == more_known, "{condition}: {less_known:?} {more_known:?}");
    }

    /// The causes named are unknown, each once, and nothing is undecided without a cause.
    #[test]
    fn causes_are_true(condition in condition(), facts in known_facts(), mask in any::<u8>()) {
        let rule_set = rule_set_of(&condition, &catalogue());
        let facts = masked(&facts, mask);
        let evaluation = rule_set.evaluate("", &facts);
        if let Some(undecided) = evaluation.unknown.first() {
            prop_assert!(!undecided.missing.is_empty() || !undecided.undefined.is_empty(), "{condition}");
            for (index, name) in undecided.missing.iter().enumerate() {
                let slot = NAMES.iter().position(|known| known == name).unwrap();
                prop_assert_eq!(&facts[slot], &OwnedValue::Unknown, "{} of {}", name, condition);
                prop_assert!(!undecided.missing[..index].contains(name), "{name} is named twice");
            }
            // To learn everything but the causes does not help: they are what is missing.
            let mut others_known = facts.clone();
            for (slot, fact) in others_known.iter_mut().enumerate() {
                if *fact == OwnedValue::Unknown && !undecided.missing.contains(&NAMES[slot]) {
                    *fact = default_of(slot);
                }
            }
            prop_assert_eq!(judged(&rule_set, &others_known), None, "{}", condition);
        }
    }

    /// Negation, and both laws of De Morgan, hold for unknown as well.
    #[test]
    fn laws_of_logic(
        left in condition(), right in condition(), facts in known_facts(), mask in any::<u8>(),
    ) {
        let facts = masked(&facts, mask);
        let judge = |condition: &str| judged(&rule_set_of(condition, &catalogue()), &facts);
        prop_assert_eq!(judge(&format!("!({left})")), judge(&left).map(|truth| !truth));
        prop_assert_eq!(judge(&format!("!({left} && {right})")), judge(&format!("!({left}) || !({right})")));
        prop_assert_eq!(judge(&format!("!({left} || {right})")), judge(&format!("!({left}) && !({right})")));
        prop_assert_eq!(judge(&format!("({left}) && ({right})")), judge(&format!("({right}) && ({left})")));
    }
}

fn default_of(slot: usize) -> OwnedValue {
    match slot {
        0..=2 => OwnedValue::Bool(true),
        3..=4 => OwnedValue::Int(1),
        5 => OwnedValue::Double(1.0),
        6 => OwnedValue::Text("a".to_owned()),
        _ => OwnedValue::TextList(vec!["a".to_owned()]),
    }
}

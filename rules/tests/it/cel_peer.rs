//! The `cel` crate, an independent implementation of CEL, gives the same truth where every value is known.

use std::collections::HashMap;
use std::sync::Arc;

use cel::{Context, Env, extensions};
use proptest::prelude::*;
use rules::{Catalogue, Entry, OwnedValue, Type};

use crate::frame::{random_config, rule_set_of, verdict};

/// Is one expression in our words and in the peer's, which has some functions under other names.
#[derive(Clone, Debug)]
struct Pair {
    ours: String,
    peer: String,
}

impl Pair {
    fn same(text: impl Into<String>) -> Pair {
        let text = text.into();
        Pair { ours: text.clone(), peer: text }
    }
}

/// Fills each `$` of both templates with the parts in order.
fn join(ours: &str, peer: &str, parts: &[Pair]) -> Pair {
    let fill = |template: &str, part: fn(&Pair) -> &str| {
        let mut filled = template.to_owned();
        for pair in parts {
            filled = filled.replacen('$', &part(pair).replace('$', "\u{1}"), 1);
        }
        filled.replace('\u{1}', "$")
    };
    Pair { ours: fill(ours, |pair| &pair.ours), peer: fill(peer, |pair| &pair.peer) }
}

fn same(template: &'static str, parts: &[Pair]) -> Pair {
    join(template, template, parts)
}

const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

fn names(all: &'static [&'static str]) -> BoxedStrategy<Pair> {
    proptest::sample::select(all).prop_map(Pair::same).boxed()
}

/// Ints stay small enough that no operation below overflows.
fn int_expression(depth: u32) -> BoxedStrategy<Pair> {
    let leaf =
        prop_oneof![names(&["n.i", "n.j"]), (-20_i64..20).prop_map(|value| Pair::same(value.to_string())),];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || int_expression(depth - 1);
    prop_oneof![
        2 => leaf,
        1 => (inner(), inner()).prop_map(|(a, b)| same("($ + $)", &[a, b])),
        1 => (inner(), inner()).prop_map(|(a, b)| same("($ - $)", &[a, b])),
        1 => (inner(), 1_i64..5).prop_map(|(a, b)| same("($ * $)", &[a, Pair::same(b.to_string())])),
        1 => (inner(), 1_i64..5).prop_map(|(a, b)| same("($ / $)", &[a, Pair::same(b.to_string())])),
        1 => (inner(), 1_i64..5).prop_map(|(a, b)| same("($ % -$)", &[a, Pair::same(b.to_string())])),
        1 => inner().prop_map(|a| same("-$", &[Pair { ours: format!("({})", a.ours), peer: format!("({})", a.peer) }])),
        1 => inner().prop_map(|a| join("abs($)", "math.abs($)", &[a])),
        1 => (inner(), inner()).prop_map(|(a, b)| join("min($, $)", "math.least($, $)", &[a, b])),
        1 => (inner(), inner()).prop_map(|(a, b)| join("max($, $)", "math.greatest($, $)", &[a, b])),
        1 => text_expression(depth - 1).prop_map(|a| same("size($)", &[a])),
        1 => double_expression(depth - 1).prop_map(|a| same("int($)", &[a])),
        1 => (bool_expression(depth - 1), inner(), inner())
            .prop_map(|(a, b, c)| same("($ ? $ : $)", &[a, b, c])),
    ]
    .boxed()
}

fn double_expression(depth: u32) -> BoxedStrategy<Pair> {
    let leaf = prop_oneof![
        names(&["d.x", "d.y"]),
        (-80_i32..80).prop_map(|value| Pair::same(format!("{:?}", f64::from(value) / 4.0))),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || double_expression(depth - 1);
    prop_oneof![
        2 => leaf,
        1 => (inner(), inner()).prop_map(|(a, b)| same("($ + $)", &[a, b])),
        1 => (inner(), inner()).prop_map(|(a, b)| same("($ - $)", &[a, b])),
        1 => (inner(), 1_i64..5).prop_map(|(a, b)| same("($ * $)", &[a, Pair::same(format!("{b}.5"))])),
        1 => (inner(), 1_i64..5).prop_map(|(a, b)| same("($ / $)", &[a, Pair::same(format!("{b}.5"))])),
        1 => inner().prop_map(|a| join("abs($)", "math.abs($)", &[a])),
        1 => (inner(), inner()).prop_map(|(a, b)| join("min($, $)", "math.least($, $)", &[a, b])),
        1 => (inner(), inner()).prop_map(|(a, b)| join("max($, $)", "math.greatest($, $)", &[a, b])),
        1 => int_expression(depth - 1).prop_map(|a| same("double($)", &[a])),
    ]
    .boxed()
}

fn text_expression(depth: u32) -> BoxedStrategy<Pair> {
    let leaf = prop_oneof![
        names(&["t.s", "t.u"]),
        "[abAB]{0,3}|ñ|é€".prop_map(|value| Pair::same(format!("'{value}'"))),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || text_expression(depth - 1);
    prop_oneof![
        3 => leaf,
        1 => (inner(), inner()).prop_map(|(a, b)| same("($ + $)", &[a, b])),
        1 => inner().prop_map(|a| same("$.lowerAscii()", &[a])),
        1 => (bool_expression(depth - 1), inner(), inner())
            .prop_map(|(a, b, c)| same("($ ? $ : $)", &[a, b, c])),
    ]
    .boxed()
}

fn bool_expression(depth: u32) -> BoxedStrategy<Pair> {
    let leaf = prop_oneof![
        names(&["flag.a", "flag.b", "true", "false", "has(flag.a)", "has(t.s)"]),
        names(&["t.s", "d.x"]).prop_map(|a| join("absent($)", "!has($)", &[a])),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || bool_expression(depth - 1);
    let compared = |operand: fn(u32) -> BoxedStrategy<Pair>| {
        (operand(depth - 1), proptest::sample::select(&COMPARISONS[..]), operand(depth - 1))
            .prop_map(|(a, operator, b)| same("($ $ $)", &[a, Pair::same(operator), b]))
    };
    prop_oneof![
        1 => leaf,
        2 => (inner(), inner()).prop_map(|(a, b)| same("($ && $)", &[a, b])),
        2 => (inner(), inner()).prop_map(|(a, b)| same("($ || $)", &[a, b])),
        1 => (inner(), inner(), inner()).prop_map(|(a, b, c)| same("($ && $ || $)", &[a, b, c])),
        1 => inner().prop_map(|a| same("!($)", &[a])),
        1 => (inner(), inner()).prop_map(|(a, b)| same("($ == $)", &[a, b])),
        1 => (inner(), inner(), inner()).prop_map(|(a, b, c)| same("($ ? $ : $)", &[a, b, c])),
        2 => compared(int_expression),
        2 => compared(double_expression),
        2 => compared(text_expression),
        2 => (int_expression(depth - 1), proptest::sample::select(&COMPARISONS[..]), double_expression(depth - 1))
            .prop_map(|(a, operator, b)| same("($ $ $)", &[a, Pair::same(operator), b])),
        1 => (text_expression(depth - 1), text_expression(depth - 1), text_expression(depth - 1))
            .prop_map(|(a, b, c)| same("($ in [$, $])", &[a, b, c])),
        1 => (int_expression(depth - 1), int_expression(depth - 1), int_expression(depth - 1))
            .prop_map(|(a, b, c)| same("($ in [$, $])", &[a, b, c])),
        1 => text_expression(depth - 1).prop_map(|a| same("($ in l.names)", &[a])),
        1 => (text_expression(depth - 1), text_expression(depth - 1))
            .prop_map(|(a, b)| same("$.startsWith($)", &[a, b])),
        1 => (text_expression(depth - 1), text_expression(depth - 1))
            .prop_map(|(a, b)| same("$.endsWith($)", &[a, b])),
        1 => (text_expression(depth - 1), text_expression(depth - 1))
            .prop_map(|(a, b)| same("$.contains($)", &[a, b])),
        1 => text_expression(depth - 1).prop_map(|a| same("$.matches('^[ab]+|ñ')", &[a])),
        // The body stays flat, because we refuse to shadow `v`, which the peer allows.
        1 => text_expression(0).prop_map(|a| same("l.names.exists(v, v == $)", &[a])),
        1 => text_expression(0).prop_map(|a| same("l.names.all(v, v.size() > 1 || v != $)", &[a])),
        1 => int_expression(depth - 1).prop_map(|a| same("(size(l.names) > $)", &[a])),
    ]
    .boxed()
}

#[derive(Clone, Debug)]
struct Session {
    flags: (bool, bool),
    ints: (i64, i64),
    doubles: (f64, f64),
    texts: (String, String),
    names: Vec<String>,
}

fn session() -> impl Strategy<Value = Session> {
    let text = || "[abAB]{0,3}|ñ|é€";
    let quarter = || (-80_i32..80).prop_map(|value| f64::from(value) / 4.0);
    (
        any::<(bool, bool)>(),
        (-20_i64..20, -20_i64..20),
        (quarter(), quarter()),
        (text(), text()),
        proptest::collection::vec(text(), 0..4),
    )
        .prop_map(|(flags, ints, doubles, texts, names)| Session { flags, ints, doubles, texts, names })
}

fn catalogue() -> Catalogue {
    let types = [
        ("flag.a", Type::Bool),
        ("flag.b", Type::Bool),
        ("n.i", Type::Int),
        ("n.j", Type::Int),
        ("d.x", Type::Double),
        ("d.y", Type::Double),
        ("t.s", Type::Text),
        ("t.u", Type::Text),
        ("l.names", Type::TextList),
    ];
    Catalogue::new(types.map(|(name, value_type)| Entry::new(name, value_type, "")).to_vec()).unwrap()
}

fn our_facts(session: &Session) -> Vec<OwnedValue> {
    vec![
        OwnedValue::Bool(session.flags.0),
        OwnedValue::Bool(session.flags.1),
        OwnedValue::Int(session.ints.0),
        OwnedValue::Int(session.ints.1),
        OwnedValue::Double(session.doubles.0),
        OwnedValue::Double(session.doubles.1),
        OwnedValue::Text(session.texts.0.clone()),
        OwnedValue::Text(session.texts.1.clone()),
        OwnedValue::TextList(session.names.clone()),
    ]
}

fn peer_context<'p>(session: &Session, env: &Arc<Env>) -> Context<'p, 'static> {
    let mut context = Context::with_env(Arc::clone(env));
    let mut add = |name: &str, members: Vec<(&str, cel::Value)>| {
        let members: HashMap<String, cel::Value> =
            members.into_iter().map(|(member, value)| (member.to_owned(), value)).collect();
        context.add_variable_from_value(name, members);
    };
    add("flag", vec![("a", session.flags.0.into()), ("b", session.flags.1.into())]);
    add("n", vec![("i", session.ints.0.into()), ("j", session.ints.1.into())]);
    add("d", vec![("x", session.doubles.0.into()), ("y", session.doubles.1.into())]);
    add("t", vec![("s", session.texts.0.as_str().into()), ("u", session.texts.1.as_str().into())]);
    add("l", vec![("names", session.names.clone().into())]);
    context
}

fn peer_env() -> Arc<Env> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings).unwrap();
    env.add_extension(extensions::math).unwrap();
    Arc::new(env)
}

proptest! {
    #![proptest_config(random_config(1_000))]

    #[test]
    fn the_peer_agrees(pair in bool_expression(4), sessions in proptest::collection::vec(session(), 4)) {
        let catalogue = catalogue();
        let rule_set = rule_set_of(&pair.ours, &catalogue);
        let env = peer_env();
        let program = env.compile(&pair.peer).unwrap_or_else(|error| panic!("{}: {error}", pair.peer));
        for session in sessions {
            let ours = verdict(&rule_set.evaluate("", &our_facts(&session)));
            let peer = program.execute(&peer_context(&session, &env));
            prop_assert_eq!(peer, Ok(cel::Value::Bool(ours.unwrap())), "{} with {:?}", pair.ours, session);
        }
    }
}

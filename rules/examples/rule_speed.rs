//! Measures how many sessions a second 50 rules judge on one core, beside the `cel` interpreter.
//!
//! `cargo run --release -p tamiz-rules --example rule_speed`
//!
//! Both engines get the same 50 conditions, compiled once, and the same sessions, of which few fire a rule.
//! The peer's context is made once a session outside the time measured, which favours it: ours reads the facts
//! where they lie. The rows differ in how much is known; the peer has no unknown and is measured where all is.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cel::{Context, Env, Program, extensions};
use rules::{Catalogue, Entry, OwnedValue, RuleSet, Type};

const SESSIONS: usize = 1_000;
const MEASURED: Duration = Duration::from_secs(3);

fn main() {
    let catalogue = Catalogue::new(NAMES.map(|(name, value_type)| Entry::new(name, value_type, "")).to_vec())
        .expect("the names are valid");
    let conditions = conditions();
    let rule_set = RuleSet::load(&source(&conditions), &catalogue).expect("the rules are valid");
    let ordinary: Vec<_> = (0..SESSIONS).map(|index| session(index, false)).collect();
    let risky: Vec<_> = (0..SESSIONS).map(|index| session(index, true)).collect();
    let unknown = vec![vec![OwnedValue::Unknown; NAMES.len()]; SESSIONS];

    println!("{} rules, one thread, {} s a row", rule_set.rules().len(), MEASURED.as_secs());
    println!("{:<44}{:>12}{:>10}{:>10}", "", "sessions/s", "fired", "unknown");
    let row = |name: &str, sessions: &[Vec<OwnedValue>]| {
        let (mut fired, mut undecided) = (0, 0);
        for session in sessions {
            let evaluation = rule_set.evaluate("default", session);
            fired += evaluation.fired.len();
            undecided += evaluation.unknown.len();
        }
        let rate = rate(|index| {
            black_box(rule_set.evaluate("default", &sessions[index % SESSIONS]));
        });
        let each = |count: usize| count as f64 / SESSIONS as f64;
        println!("{name:<44}{rate:>12.0}{:>10.2}{:>10.2}", each(fired), each(undecided));
        (rate, fired)
    };
    let (our_rate, our_fired) = row("tamiz, ordinary sessions", &ordinary);
    row("tamiz, risky sessions (texts filled)", &risky);
    row("tamiz, nothing known (causes named)", &unknown);
    let (peer_rate, peer_fired) = peer(&conditions, &ordinary);
    assert_eq!(our_fired, peer_fired, "both engines must fire the same rules");
    println!(
        "{:<44}{peer_rate:>12.0}{:>10.2}",
        "cel interpreter, ordinary sessions",
        peer_fired as f64 / SESSIONS as f64
    );
    println!("ratio {:.1}", our_rate / peer_rate);
}

const NAMES: [(&str, Type); 19] = [
    ("ip.address", Type::Text),
    ("ip.country_code", Type::Text),
    ("ip.service_provider", Type::Text),
    ("ip.asn", Type::Int),
    ("ip.tor", Type::Bool),
    ("ip.vpn", Type::Bool),
    ("ip.datacenter", Type::Bool),
    ("ip.proxy", Type::Bool),
    ("ip.private_relay", Type::Bool),
    ("ip.blacklisted", Type::Bool),
    ("geo.location.country_code", Type::Text),
    ("geo.location.inside_prison", Type::Bool),
    ("geo.location.prison_distance_m", Type::Double),
    ("geo.location.accuracy_m", Type::Double),
    ("geo.address.country_code", Type::Text),
    ("geo.address.inside_prison", Type::Bool),
    ("geo.address.prison_distance_m", Type::Double),
    ("geo.address_location_distance_m", Type::Double),
    ("session.email", Type::Text),
];

/// Returns 50 conditions of the kinds that real rules have: flags, lists, limits, comparisons of two signals.
fn conditions() -> Vec<String> {
    let mut conditions: Vec<String> = [
        "ip.tor",
        "ip.vpn && !(has(ip.private_relay) && ip.private_relay)",
        "ip.datacenter && !(has(ip.private_relay) && ip.private_relay)",
        "ip.proxy && !(has(ip.private_relay) && ip.private_relay)",
        "ip.blacklisted",
        "ip.private_relay",
        "ip.country_code != geo.location.country_code",
        "geo.location.inside_prison && geo.location.country_code in ['MX']",
        "!(geo.location.country_code in ['MX'])",
        "!geo.location.inside_prison && geo.location.prison_distance_m > 0.0 \
         && geo.location.prison_distance_m < 50.0 && geo.location.country_code in ['MX']",
        "geo.address.inside_prison && geo.address.country_code in ['MX']",
        "!(geo.address.country_code in ['MX'])",
        "!geo.address.inside_prison && geo.address.prison_distance_m > 0.0 \
         && geo.address.prison_distance_m < 50.0 && geo.address.country_code in ['MX']",
        "geo.address_location_distance_m > 100000.0",
        "session.email.endsWith('@mailinator.com')",
        "ip.service_provider.contains('Hosting')",
    ]
    .map(str::to_owned)
    .to_vec();
    for index in conditions.len()..50 {
        conditions.push(match index % 5 {
            0 => format!("ip.asn == {} || ip.asn == {}", 60_000 + index, 61_000 + index),
            1 => format!("ip.country_code in ['AA', 'BB', 'Q{index}'] && !ip.tor"),
            2 => format!("geo.address_location_distance_m > {index}000000.0 && ip.vpn"),
            3 => format!("session.email.startsWith('robot{index}') || ip.address.startsWith('{index}.0.0.')"),
            _ => format!("geo.location.accuracy_m > {index}000.0 && (ip.datacenter || ip.proxy)"),
        });
    }
    conditions
}

fn source(conditions: &[String]) -> String {
    let mut source = "name = 'speed'\n".to_owned();
    for (index, condition) in conditions.iter().enumerate() {
        source += &format!(
            "[[rule]]\ncode = 'RULE_{index}'\nseverity = 'evidence'\nweight = 10\nwhen = \"{condition}\"\n\
             text.en = 'The address {{ip.address}} is in {{ip.country_code}}.'\n\
             text.es = 'La dirección {{ip.address}} está en {{ip.country_code}}.'\n"
        );
    }
    source
}

/// Makes a session; one ordinary session in fifty comes through a VPN from abroad.
fn session(index: usize, is_risky: bool) -> Vec<OwnedValue> {
    let is_odd = is_risky || index.is_multiple_of(50);
    let country = if is_odd { "US" } else { "MX" };
    let text = |value: &str| OwnedValue::Text(value.to_owned());
    vec![
        text(&format!("201.141.{}.{}", index / 256, index % 256)),
        text(country),
        text(if is_odd { "Example Hosting LLC" } else { "Uninet S.A. de C.V." }),
        OwnedValue::Int(8151 + index as i64 % 100),
        OwnedValue::Bool(false),
        OwnedValue::Bool(is_odd),
        OwnedValue::Bool(is_odd),
        OwnedValue::Bool(false),
        OwnedValue::Bool(false),
        OwnedValue::Bool(is_risky),
        text("MX"),
        OwnedValue::Bool(false),
        OwnedValue::Double(12_345.6 + index as f64),
        OwnedValue::Double(12.0),
        text("MX"),
        OwnedValue::Bool(false),
        OwnedValue::Double(8_765.4),
        OwnedValue::Double(if is_risky { 250_000.0 } else { 3_200.0 }),
        text(&format!("persona{index}@example.com")),
    ]
}

/// Calls until the time is over and returns calls a second.
fn rate(mut call: impl FnMut(usize)) -> f64 {
    for index in 0..SESSIONS {
        call(index);
    }
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < MEASURED {
        for _ in 0..100 {
            call(count);
            count += 1;
        }
    }
    count as f64 / start.elapsed().as_secs_f64()
}

fn peer(conditions: &[String], sessions: &[Vec<OwnedValue>]) -> (f64, usize) {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings).expect("the extension fits the standard library");
    let env = Arc::new(env);
    let programs: Vec<Program> =
        conditions.iter().map(|condition| env.compile(condition).expect("the conditions are CEL")).collect();
    let contexts: Vec<Context<'_, '_>> = sessions.iter().map(|session| peer_context(session, &env)).collect();
    let fired = |context: &Context<'_, '_>| {
        let fires = |program: &&Program| program.execute(context) == Ok(cel::Value::Bool(true));
        programs.iter().filter(fires).count()
    };
    let total = contexts.iter().map(&fired).sum();
    let rate = rate(|index| {
        black_box(fired(&contexts[index % SESSIONS]));
    });
    (rate, total)
}

/// Nests the facts in maps by the segments of their names, which is how the peer reads `geo.location.accuracy_m`.
fn peer_context<'p>(session: &[OwnedValue], env: &Arc<Env>) -> Context<'p, 'static> {
    let mut root = Group::default();
    for ((name, _), value) in NAMES.iter().zip(session) {
        let mut group = &mut root;
        let (path, leaf) = name.rsplit_once('.').expect("each name has a group");
        for segment in path.split('.') {
            group = group.groups.entry(segment).or_default();
        }
        group.values.insert(leaf, peer_value(value));
    }
    let mut context = Context::with_env(Arc::clone(env));
    for (name, group) in root.groups {
        context.add_variable_from_value(name, group.into_value());
    }
    context
}

#[derive(Default)]
struct Group {
    groups: BTreeMap<&'static str, Group>,
    values: BTreeMap<&'static str, cel::Value>,
}

impl Group {
    fn into_value(self) -> cel::Value {
        let groups = self.groups.into_iter().map(|(name, group)| (name.to_owned(), group.into_value()));
        let values = self.values.into_iter().map(|(name, value)| (name.to_owned(), value));
        let members: HashMap<String, cel::Value> = groups.chain(values).collect();
        members.into()
    }
}

fn peer_value(value: &OwnedValue) -> cel::Value {
    match value {
        OwnedValue::Unknown => cel::Value::Null,
        OwnedValue::Bool(value) => (*value).into(),
        OwnedValue::Int(value) => (*value).into(),
        OwnedValue::Double(value) => (*value).into(),
        OwnedValue::Text(value) => value.as_str().into(),
        OwnedValue::TextList(values) => values.clone().into(),
    }
}

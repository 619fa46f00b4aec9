//! Samples against the reference data and the default rules: what they say they are is what these say of them.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use geodata::{DataConfig, DataSets, NEAR_DISTANCE_M, Position, PrisonFacts, distance_m};
use rules::{Catalogue, Entry, Evaluation, OwnedValue, RuleSet, Severity, Type};
use schemas::json::{session_from_json, sessions_from_avro};
use schemas::{LeafKind, Place, Session};

use super::network::class_of;
use super::*;

const DEFAULT_RULES: &str = include_str!("../../../rules/sets/default.toml");
const COUNTRY_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../geodata/tests/data/flat-country.mmdb");
/// Lists with networks inside and outside of Mexico, some of them on several lists.
const LISTS: [(&str, &str); 6] = [
    ("ip.tor", "185.220.101.0/24\n187.130.4.0/24\n2a0b:f4c2::/48\n"),
    ("ip.vpn", "187.131.0.0/16\n189.1.0.0/16\n187.134.7.0/24\n187.130.4.0/25\n"),
    ("ip.datacenter", "187.132.0.0/16\n8.8.8.0/24\n187.131.9.0/24\n"),
    ("ip.proxy", "187.133.1.1\n187.133.1.2\n187.134.7.9\n"),
    ("ip.relay", "187.134.0.0/16\n172.224.226.0/24\n"),
    ("ip.blacklist", "187.135.0.0/24\n187.134.8.0/24\n"),
];
/// An L, a square in the middle of a city, a square abroad, and a fine and a coarse point.
const PRISONS: &str = r#"{"type":"FeatureCollection","features":[
{"type":"Feature","id":"l","properties":{"name":"L"},"geometry":{"type":"Polygon","coordinates":[[
 [-99.7520,19.4180],[-99.7460,19.4180],[-99.7460,19.4200],[-99.7500,19.4200],[-99.7500,19.4240],[-99.7520,19.4240],[-99.7520,19.4180]]]}},
{"type":"Feature","id":"colima","properties":{"name":"Colima"},"geometry":{"type":"Polygon","coordinates":[[
 [-103.728,19.243],[-103.726,19.243],[-103.726,19.245],[-103.728,19.245],[-103.728,19.243]]]}},
{"type":"Feature","id":"abroad","properties":{"name":"Abroad"},"geometry":{"type":"Polygon","coordinates":[[
 [4.75,52.30],[4.76,52.30],[4.76,52.31],[4.75,52.31],[4.75,52.30]]]}},
{"type":"Feature","id":"fine","properties":{"name":"Fine","accuracy_m":20},"geometry":{"type":"Point","coordinates":[-89.70,20.90]}},
{"type":"Feature","id":"coarse","properties":{"name":"Coarse","accuracy_m":1500},"geometry":{"type":"Point","coordinates":[-116.97,32.45]}}
]}"#;

struct Fixture {
    data: DataSets,
    _folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec![format!("ip.country={COUNTRY_FILE}")];
    for (name, text) in LISTS.into_iter().chain([("places.prisons", PRISONS)]) {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        arguments.push(format!("{name}={}", path.display()));
    }
    Fixture { data: open(&arguments), _folder: folder }
}

fn open(arguments: &[String]) -> DataSets {
    let overrides = arguments.iter().map(|argument| argument.parse().unwrap()).collect();
    DataSets::open(&DataConfig { assets_folder: None, overrides }).unwrap()
}

/// Shares with many of each trait.
fn many() -> Shares {
    Trait::ALL.into_iter().fold(Shares::none(), |shares, wanted| {
        let fraction = match wanted.group() {
            Group::Network | Group::Place => 0.11,
            Group::Delivery => 0.2,
        };
        shares.with(wanted, fraction)
    })
}

fn options(count: u64, shares: Shares) -> SampleOptions {
    SampleOptions { count, seed: 11, shares, ..SampleOptions::default() }
}

/// The sessions once all their stages are there, in the order in which they are whole.
fn whole_sessions(records: &[Sampled]) -> Vec<(Session, Expected)> {
    let mut stages: BTreeMap<String, Session> = BTreeMap::new();
    let mut whole = Vec::new();
    for sampled in records {
        let session = &sampled.session;
        if sampled.part == Part::Repeat {
            assert_eq!(stages[&session.session_id], *session, "a repetition is the same");
            continue;
        }
        let stage = stages
            .entry(session.session_id.clone())
            .and_modify(|stage| stage.absorb(session.clone()))
            .or_insert_with(|| session.clone());
        if sampled.part.completes() {
            whole.push((stage.clone(), sampled.expected.clone()));
        }
    }
    whole
}

/// The signals of a session as the operators make them of the same data, without any of their code.
fn facts(session: &Session, data: &DataSets) -> BTreeMap<String, OwnedValue> {
    let mut facts = BTreeMap::new();
    let mut set = |name: String, value: Option<OwnedValue>| {
        facts.insert(name, value.unwrap_or(OwnedValue::Unknown));
    };
    let text = |value: &str| OwnedValue::Text(value.to_owned());
    if let Some(address) = &session.ip {
        let found = data.ip.lookup(address.parse::<IpAddr>().unwrap());
        assert_eq!(found.reserved, None, "{address}");
        set("ip.address".into(), Some(text(address)));
        set("ip.country_code".into(), found.country_code.map(text));
        for (name, value) in [
            ("ip.tor", found.tor_exit),
            ("ip.vpn", found.vpn),
            ("ip.datacenter", found.datacenter),
            ("ip.proxy", found.public_proxy),
            ("ip.private_relay", found.private_relay),
            ("ip.blacklisted", found.blacklisted),
        ] {
            set(name.into(), value.map(OwnedValue::Bool));
        }
    }
    let (location, address) = (position(session.location.as_ref()), position(session.address.as_ref()));
    for (name, position, accuracy_m) in [
        ("location", location, session.location.as_ref().and_then(|place| place.accuracy_m)),
        ("address", address, None),
    ] {
        let Some(position) = position else { continue };
        let prison = data.places.prison(position);
        let hint = prison.low_confidence_hint.filter(|_| prison.inside.is_none());
        set(format!("geo.{name}.country_code"), data.places.country(position).map(text));
        set(format!("geo.{name}.accuracy_m"), accuracy_m.map(OwnedValue::Double));
        let inside = prison.inside.filter(|_| is_fine(&prison, accuracy_m));
        set(format!("geo.{name}.inside_prison"), inside.map(OwnedValue::Bool));
        let away_m = hint.map(|hint| hint.distance_m).or(prison.distance_m);
        set(format!("geo.{name}.prison_distance_m"), away_m.map(OwnedValue::Double));
        let prison_accuracy_m = hint.map(|hint| hint.accuracy_m).or(prison.accuracy_m);
        set(format!("geo.{name}.prison_accuracy_m"), prison_accuracy_m.map(OwnedValue::Double));
    }
    let apart_m = location.zip(address).map(|(location, address)| distance_m(location, address));
    set("geo.address_location_distance_m".into(), apart_m.map(OwnedValue::Double));
    facts
}

/// A circle of the location's accuracy lies on one side of the edge and of its surroundings.
fn is_fine(prison: &PrisonFacts<'_>, accuracy_m: Option<f64>) -> bool {
    let accuracy_m = accuracy_m.unwrap_or_default();
    let room_m = if prison.inside == Some(true) { accuracy_m } else { accuracy_m + NEAR_DISTANCE_M };
    accuracy_m <= NEAR_DISTANCE_M || prison.edge_distance_m.is_none_or(|edge_m| edge_m >= room_m)
}

fn position(place: Option<&Place>) -> Option<Position> {
    Position::new(place?.lat?, place?.lng?)
}

fn catalogue() -> Catalogue {
    let leaves = schemas::session_leaves().into_iter().map(|leaf| {
        let value_type = match leaf.kind {
            LeafKind::Bool => Type::Bool,
            LeafKind::Int => Type::Int,
            LeafKind::Double => Type::Double,
            LeafKind::Text => Type::Text,
            LeafKind::TextList => Type::TextList,
        };
        Entry::new(leaf.name, value_type, leaf.doc)
    });
    Catalogue::new(leaves.collect()).unwrap()
}

/// The outcome of the rules that fired, as fusion decides it.
fn decision(evaluation: &Evaluation<'_>, review_score_min: f64) -> &'static str {
    let left: f64 =
        evaluation.fired.iter().map(|fired| 1.0 - f64::from(fired.weight_hundredths) / 100.0).product();
    match evaluation.fired.iter().map(|fired| fired.severity).max() {
        Some(Severity::Flag) => "flag",
        Some(Severity::Review) => "review",
        _ if 100.0 * (1.0 - left) >= review_score_min => "review",
        _ => "pass",
    }
}

/// Evaluates the default rules on every session and compares with what is expected of it.
fn assert_expected(sessions: &[(Session, Expected)], data: &DataSets) {
    let catalogue = catalogue();
    let rule_set = RuleSet::load(DEFAULT_RULES, &catalogue).unwrap();
    let review_score_min = rule_set.policy("").review_score_min;
    for (session, expected) in sessions {
        let mut values = vec![OwnedValue::Unknown; catalogue.entries().len()];
        for (name, value) in facts(session, data) {
            values[catalogue.slot(&name).unwrap()] = value;
        }
        let evaluation = rule_set.evaluate("", &values);
        let codes: Vec<&str> = evaluation.fired.iter().map(|fired| fired.code).collect();
        assert_eq!(codes, expected.codes, "{expected:?} {session:?}");
        let decided = decision(&evaluation, review_score_min);
        assert_eq!(decided, expected.decision.as_str(), "{expected:?} {session:?}");
    }
}

/// Asks the reference data whether a session has the traits it says, and the code that each must lead to.
fn assert_traits(session: &Session, expected: &Expected, data: &DataSets) {
    let has = |wanted: Trait| expected.traits.contains(&wanted.as_str());
    let must_fire = |code: &str| assert!(expected.codes.contains(&code), "{code} {expected:?}");
    let found = session.ip.as_ref().map(|address| data.ip.lookup(address.parse().unwrap()));
    assert_eq!(found.is_none(), has(Trait::NoIp));
    for (wanted, code) in [
        (Trait::Tor, "IP_TOR"),
        (Trait::Vpn, "IP_VPN"),
        (Trait::Datacenter, "IP_DATACENTER"),
        (Trait::Proxy, "IP_PROXY"),
        (Trait::PrivateRelay, "IP_PRIVATE_RELAY"),
        (Trait::Blacklisted, "IP_BLACKLISTED"),
    ] {
        if has(wanted) {
            assert_eq!(found.unwrap().class(class_of(wanted).unwrap()), Some(true), "{session:?}");
            must_fire(code);
        }
    }
    let location = position(session.location.as_ref());
    let address = position(session.address.as_ref());
    assert_eq!(location.is_none(), has(Trait::NoLocation));
    assert_eq!(address.is_none(), has(Trait::AddressAsText));
    let Some(location) = location else { return };
    let prison = data.places.prison(location);
    assert_eq!(prison.inside == Some(true), has(Trait::InPrison), "{prison:?} {session:?}");
    let is_near = prison.inside == Some(false) && prison.distance_m.is_some_and(|away_m| away_m < 50.0);
    assert_eq!(is_near, has(Trait::NearPrison), "{prison:?} {session:?}");
    assert_eq!(prison.inside.is_none() && data.places.has_prisons(), has(Trait::MaybeNearPrison));
    let country = data.places.country(location).expect("nobody is at sea");
    assert_eq!(country != "MX", has(Trait::OutsideCountry), "{session:?}");
    for (wanted, code) in [
        (Trait::InPrison, "LOCATION_INSIDE_PRISON"),
        (Trait::NearPrison, "LOCATION_NEAR_PRISON"),
        (Trait::MaybeNearPrison, "LOCATION_NEAR_PRISON_UNCERTAIN"),
        (Trait::OutsideCountry, "LOCATION_OUTSIDE_COUNTRY"),
        (Trait::FarApart, "ADDRESS_LOCATION_DISTANCE"),
    ] {
        if has(wanted) {
            must_fire(code);
        }
    }
    let Some(address) = address else { return };
    let away_m = distance_m(location, address);
    let may_be_far = has(Trait::FarApart) || has(Trait::OutsideCountry) || has_prison_trait(expected);
    assert!(away_m < 20_000.0 || may_be_far, "{away_m} {session:?}");
    assert!(away_m > 100_000.0 || !has(Trait::FarApart), "{away_m} {session:?}");
}

fn has_prison_trait(expected: &Expected) -> bool {
    let traits = [Trait::InPrison, Trait::NearPrison, Trait::MaybeNearPrison];
    traits.iter().any(|wanted| expected.traits.contains(&wanted.as_str()))
}

#[test]
fn five_thousand_sessions_are_what_they_say() {
    let Fixture { data, _folder } = fixture();
    let sampler = sample(options(5_000, many()), &data).unwrap();
    assert_eq!(sampler.notices(), [] as [&str; 0]);
    let records: Vec<Sampled> = sampler.collect();
    let sessions = whole_sessions(&records);
    assert_eq!(sessions.len(), 5_000);
    for (session, expected) in &sessions {
        assert_traits(session, expected, &data);
    }
    assert_expected(&sessions, &data);

    let decisions: BTreeSet<&str> = sessions.iter().map(|(_, expected)| expected.decision.as_str()).collect();
    assert_eq!(decisions.into_iter().collect::<Vec<_>>(), ["flag", "pass", "review"]);
    for wanted in Trait::ALL {
        let count =
            sessions.iter().filter(|(_, expected)| expected.traits.contains(&wanted.as_str())).count();
        let mean = 5_000.0 * many().get(wanted);
        // Five standard deviations of a binomial count.
        let most = 5.0 * (mean * (1.0 - many().get(wanted))).sqrt();
        assert!((count as f64 - mean).abs() < most, "{wanted}: {count} of {mean}");
    }
}

#[test]
fn an_ordinary_session_fires_nothing_whatever_the_seed() {
    let Fixture { data, _folder } = fixture();
    for seed in 0..5 {
        let options = SampleOptions { seed, ..options(400, Shares::none()) };
        let sessions = whole_sessions(&sample(options, &data).unwrap().collect::<Vec<_>>());
        assert!(sessions.iter().all(|(_, expected)| expected.codes.is_empty() && expected.traits.is_empty()));
        assert_expected(&sessions, &data);
    }
}

#[test]
fn residents_abroad_have_no_mexican_keys() {
    let Fixture { data, _folder } = fixture();
    let shares = Shares::none().with(Trait::OutsideCountry, 1.0);
    let sessions = whole_sessions(&sample(options(400, shares), &data).unwrap().collect::<Vec<_>>());
    assert_expected(&sessions, &data);
    let residents =
        sessions.iter().filter(|(_, expected)| expected.codes.contains(&"ADDRESS_OUTSIDE_COUNTRY"));
    assert!((120..280).contains(&residents.clone().count()));
    for (session, _) in residents {
        // Only Mexicans have Mexican keys, and only Brazil has both networks in the fixture and people who live there.
        assert_eq!((&session.curp, &session.rfc), (&None, &None));
        assert_eq!(session.address.as_ref().unwrap().country.as_deref(), Some("BR"));
        assert!(session.phone_number.as_ref().unwrap().starts_with("+55"));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
    let Fixture { data, _folder } = fixture();
    for format in [SampleFormat::Jsonl, SampleFormat::Avro] {
        let first = bytes(options(300, many()), &data, format);
        assert_eq!(first, bytes(options(300, many()), &data, format));
        let other = SampleOptions { seed: 12, ..options(300, many()) };
        assert_ne!(first.0, bytes(other, &data, format).0);
    }
}

fn bytes(options: SampleOptions, data: &DataSets, format: SampleFormat) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut expected_out) = (Vec::new(), Vec::new());
    let mut told = Vec::new();
    let count = options.count;
    let mut progress = |sessions| told.push(sessions);
    let report =
        write_samples(options, data, &mut out, Some(&mut expected_out), format, &mut progress).unwrap();
    assert_eq!((report.sessions, told.last()), (count, Some(&count)));
    (out, expected_out)
}

#[test]
fn fewer_sessions_are_the_beginning_of_more() {
    let Fixture { data, _folder } = fixture();
    let by_id = |count| -> BTreeMap<String, (Session, Expected)> {
        let records: Vec<Sampled> = sample(options(count, many()), &data).unwrap().collect();
        let sessions = whole_sessions(&records).into_iter();
        sessions.map(|(session, expected)| (session.session_id.clone(), (session, expected))).collect()
    };
    let (fewer, more) = (by_id(200), by_id(400));
    assert_eq!((fewer.len(), more.len()), (200, 400), "identifiers are unique");
    assert!(fewer.iter().all(|(id, session)| more[id] == *session));
}

#[test]
fn records_arrive_in_time_and_stages_after_each_other() {
    let Fixture { data, _folder } = fixture();
    let options = options(2_000, many());
    let (start, rate_per_s) = (options.start, options.rate_per_s);
    let records: Vec<Sampled> = sample(options, &data).unwrap().collect();
    let times: Vec<i64> = records
        .iter()
        .filter(|sampled| sampled.part != Part::Repeat)
        .map(|sampled| sampled.session.event_time.unwrap())
        .collect();
    assert!(times.is_sorted() && times[0] >= start);
    let mut open = BTreeSet::new();
    for sampled in &records {
        let session = &sampled.session;
        match sampled.part {
            Part::FirstStage => {
                assert_eq!(
                    (session.complete, &session.location, &session.document),
                    (Some(false), &None, &None)
                );
                assert!(open.insert(&session.session_id));
            }
            Part::LastStage => {
                assert_eq!(session.complete, Some(true));
                assert_eq!((&session.ip, &session.name), (&None, &None));
                assert!(open.remove(&session.session_id));
            }
            Part::Whole | Part::Repeat => assert_eq!(session.complete, Some(true)),
        }
    }
    assert!(open.is_empty(), "every first stage is followed by a last one");
    // It is six in the morning in Mexico City, when a third of the mean arrives, and then it grows.
    let lasted_s = (times[times.len() - 1] - start) as f64 / 1_000.0;
    let rate = 2_000.0 / lasted_s / rate_per_s;
    assert!((0.3..0.6).contains(&rate), "{rate}");
}

#[test]
fn what_is_written_can_be_read_again() {
    let Fixture { data, _folder } = fixture();
    let records: Vec<Session> =
        sample(options(300, many()), &data).unwrap().map(|sampled| sampled.session).collect();
    let (lines, expectations) = bytes(options(300, many()), &data, SampleFormat::Jsonl);
    let read: Vec<Session> = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| session_from_json(line).unwrap().session)
        .collect();
    assert_eq!(read, records);
    let (container, beside) = bytes(options(300, many()), &data, SampleFormat::Avro);
    let read: Vec<Session> =
        sessions_from_avro(container.as_slice()).map(|session| session.unwrap()).collect();
    assert_eq!(read, records);
    assert_eq!(expectations, beside);
    let ids: BTreeSet<String> = String::from_utf8(expectations)
        .unwrap()
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(value["traits"].is_array() && value["codes"].is_array() && value["decision"].is_string());
            value["session_id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 300, "one expectation a session");
    assert!(records.iter().all(|session| ids.contains(&session.session_id)));
}

#[test]
fn what_the_data_has_nothing_for_is_left_out_and_said() {
    let data = open(&[]);
    let sampler = sample(options(200, many()), &data).unwrap();
    let notices = sampler.notices().join("\n");
    for text in [
        "no address of MX is known",
        "no session is tor: ip.tor has no address for it",
        "no session is in_prison: places.prisons has no outline in MX",
        "no session is near_prison: places.prisons has neither",
        "no session is maybe_near_prison: places.prisons has no coarse point in MX",
    ] {
        assert!(notices.contains(text), "{notices}");
    }
    assert_eq!(sampler.shares().get(Trait::Tor), 0.0);
    assert_eq!(sampler.shares().get(Trait::OutsideCountry), many().get(Trait::OutsideCountry));
    let sessions = whole_sessions(&sampler.collect::<Vec<_>>());
    assert!(sessions.iter().all(|(session, _)| session.ip.is_none()));
    assert_expected(&sessions, &data);
}

#[test]
fn impossible_options_are_refused() {
    let data = open(&[]);
    let refuse = |options: SampleOptions| sample(options, &data).err().unwrap().to_string();
    let default = SampleOptions::default;
    let rate = |rate_per_s| refuse(SampleOptions { rate_per_s, ..default() });
    assert_eq!(rate(0.0), "a rate of 0 sessions a second is not possible");
    assert_eq!(rate(f64::NAN), "a rate of NaN sessions a second is not possible");
    assert!(
        refuse(SampleOptions { start: -1, ..default() }).starts_with("the first session cannot be at -1 ms")
    );
    let tenant = |name: &str| refuse(SampleOptions { tenant: Some(name.to_owned()), ..default() });
    assert!(tenant("").contains("is empty, too long"));
    assert!(tenant("a\nb").contains("control character"));
    let shares = Shares::none().with(Trait::Tor, 0.7).with(Trait::NoIp, 0.7);
    assert!(refuse(SampleOptions { shares, ..default() }).contains("exclude each other"));
    assert_eq!(sample(SampleOptions { count: 0, ..default() }, &data).unwrap().count(), 0);
}

#[test]
fn the_command_line_says_the_same_as_the_options() {
    use clap::Parser;
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: SampleArgs,
    }
    let parse = |words: &[&str]| Line::try_parse_from([&["sample"], words].concat()).map(|line| line.args);
    let args = parse(&[]).unwrap();
    assert_eq!((args.options(), args.format()), (SampleOptions::default(), SampleFormat::Jsonl));
    let words = "-n 5 --seed 9 --tenant acme --start 2027-01-01T00:00:00Z --rate 10 --share tor=0.5 --only-given-shares -o a.avro";
    let args = parse(&words.split(' ').collect::<Vec<_>>()).unwrap();
    let expected = SampleOptions {
        count: 5,
        seed: 9,
        tenant: Some("acme".to_owned()),
        start: 1_798_761_600_000,
        rate_per_s: 10.0,
        shares: Shares::none().with(Trait::Tor, 0.5),
    };
    assert_eq!((args.options(), args.format()), (expected, SampleFormat::Avro));
    let help = <Line as clap::CommandFactory>::command().render_long_help().to_string();
    for known in Trait::ALL {
        assert!(help.contains(known.as_str()), "{known} is not in the help");
    }
    let refuse = |words: &[&str]| parse(words).unwrap_err().to_string();
    assert!(refuse(&["--share", "vpm=0.1"]).contains("did you mean vpn?"));
    assert!(refuse(&["--start", "today"]).contains("expected a time with its offset"));
}

#[test]
fn the_command_writes_files_and_refuses_what_it_cannot_write() {
    let Fixture { data, _folder } = fixture();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let mut args = SampleArgs {
        count: 20,
        seed: 1,
        output: file("sessions.jsonl"),
        format: None,
        expected: Some(file("expected.jsonl")),
        tenant: None,
        start: None,
        rate: 1.0,
        shares: Vec::new(),
        only_given_shares: true,
        json: false,
    };
    run(&args, &data).unwrap();
    for name in ["sessions.jsonl", "expected.jsonl"] {
        assert_eq!(fs::read_to_string(file(name)).unwrap().lines().count(), 20);
    }
    args.output = file("no/such/folder");
    let error = run(&args, &data).unwrap_err();
    assert!(error.to_string().starts_with("cannot create ") && error.chain().count() == 2, "{error:?}");
    (args.output, args.json) = ("-".into(), true);
    assert!(run(&args, &data).unwrap_err().to_string().contains("give --output FILE"));
}

/// The same with real networks and lists, where the data of the project's neighbours is at hand.
#[test]
fn real_data_agrees_as_well() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/geodata");
    if !shared.is_dir() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let prisons = folder.path().join("prisons.geojson");
    fs::write(&prisons, PRISONS).unwrap();
    let mut arguments = vec![format!("places.prisons={}", prisons.display())];
    for (name, file) in [
        ("ip.country", "ip/geo-whois-asn-country.mmdb"),
        ("ip.tor", "ip/lists/tor-exits.csv"),
        ("ip.vpn", "ip/lists/x4bnet-vpn-ipv4.txt"),
        ("ip.vpn", "ip/lists/x4bnet-vpn-ipv6.txt"),
        ("ip.datacenter", "ip/lists/x4bnet-datacenter-ipv4.txt"),
        ("ip.relay", "ip/lists/cloud-apple-proxy-ipv4_merged.txt"),
        ("ip.proxy", "ip/lists/open-proxies.json"),
        ("ip.blacklist", "ip/lists/ipsum-level2.txt"),
    ] {
        arguments.push(format!("{name}={}", shared.join(file).display()));
    }
    let data = open(&arguments);
    let sampler = sample(options(5_000, many()), &data).unwrap();
    assert_eq!(sampler.notices(), [] as [&str; 0]);
    let sessions = whole_sessions(&sampler.collect::<Vec<_>>());
    for (session, expected) in &sessions {
        assert_traits(session, expected, &data);
    }
    assert_expected(&sessions, &data);
    let countries = sessions.iter().filter_map(|(session, _)| session.address.as_ref()?.country.as_deref());
    assert!(countries.collect::<BTreeSet<_>>().len() > 10);
}

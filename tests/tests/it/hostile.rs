//! Bad input never stops a partition: it goes to the dead letters with its place and its reason, and the stream goes on.

use crate::{on_local_buses, times};
use pipeline::record::{HANDLED_HEADER, TICK_HEADER};
use pipeline::{BusError, Header, NewRecord};
use schemas::topic::{ACCEPTED, DEAD_LETTER, DECISIONS, SESSIONS, SIGNALS};
use schemas::{Codec, DeadLetter, Key, Session, TopicSpec};
use std::error::Error;
use tests::buses::{BusKind, TestLog};
use tests::deployment::{Deployment, PARTITIONS, codec};
use tests::fleet::Fleet;
use tests::hostile::{encoded, records};
use tests::outcome::Outcome;
use tests::random::Seed;

on_local_buses!(
    each_hostile_record_is_refused,
    records_between_operators_are_refused,
    damaged_records_stop_nothing
);

const TENANT: &str = "acme";

fn good(number: usize) -> Session {
    Session {
        tenant: Some(TENANT.into()),
        session_id: format!("good-{number}"),
        ip: Some("201.141.5.9".into()),
        ..Session::default()
    }
}

fn record(topic: &'static TopicSpec, partition: u32, key: Option<&Key>, value: Option<Vec<u8>>) -> NewRecord {
    let key = key.map(|key| key.as_bytes().to_vec());
    NewRecord { topic, partition, key, value, headers: Vec::new(), time: 0 }
}

fn good_record(number: usize, codec: &Codec) -> NewRecord {
    let session = good(number);
    let key = Key::of_session(TENANT, &session.session_id);
    record(&SESSIONS, key.partition(PARTITIONS), Some(&key), Some(encoded(&session, codec)))
}

fn letters(log: &TestLog, codec: &Codec) -> Vec<DeadLetter> {
    let records = log.records(&DEAD_LETTER);
    records.iter().map(|record| codec.decode(record.value.as_deref().unwrap_or_default()).unwrap()).collect()
}

/// One after the other, each alone, with a good session behind it in the same partition.
fn each_hostile_record_is_refused(kind: BusKind) {
    let seed = Seed::choose();
    let codec = codec();
    for deployment in Deployment::ALL {
        let log = TestLog::new(kind);
        let mut fleet = Fleet::start_undisturbed(&log, deployment);
        let hostile = records(&good(0), &mut seed.random("hostile"));
        assert!(hostile.len() > 30, "there are many ways to be bad");
        for (number, bad) in hostile.iter().enumerate() {
            let next = good_record(number, &codec);
            let offset = log.local().end(&SESSIONS, next.partition);
            let partition = next.partition;
            log.append(vec![record(&SESSIONS, partition, None, bad.value.clone()), next]);
            fleet.settle(&log);
            let letters = letters(&log, &codec);
            assert_eq!(letters.len(), number + 1, "{} makes one dead letter", bad.name);
            let place =
                |letter: &&DeadLetter| letter.partition == partition as i32 && letter.offset == offset as i64;
            let letter =
                letters.iter().find(place).unwrap_or_else(|| panic!("{} has no dead letter", bad.name));
            assert_eq!(
                (letter.topic.as_str(), letter.operator.as_str()),
                (SESSIONS.name, intake::NAME),
                "{}",
                bad.name
            );
            assert_eq!(letter.reason, bad.reason, "{}: {}", bad.name, letter.detail);
            assert!(
                !letter.detail.is_empty() && letter.detail.len() < 1_000,
                "{}: {}",
                bad.name,
                letter.detail
            );
            assert_eq!(log.records(&DECISIONS).len(), number + 1, "after {} the stream goes on", bad.name);
        }
        assert_eq!(fleet.crashes, 0);
        Outcome::read(&log).check_revisions();
    }
}

/// Whoever can write to the topics between operators can send them garbage too.
fn records_between_operators_are_refused(kind: BusKind) {
    let codec = codec();
    let log = TestLog::new(kind);
    let mut fleet = Fleet::start_undisturbed(&log, Deployment::Chained);
    let session = encoded(&good(0), &codec);
    let bad: [(&str, Option<Vec<u8>>); 4] = [
        ("empty", None),
        ("undecodable", Some(Vec::new())),
        ("undecodable", Some(vec![0; 40])),
        // It can be read, and has no place there.
        ("undecodable", Some(session)),
    ];
    for topic in [&ACCEPTED, &SIGNALS] {
        for partition in 0..PARTITIONS {
            log.append(bad.iter().map(|(_, value)| record(topic, partition, None, value.clone())).collect());
        }
    }
    log.append((0..20).map(|number| good_record(number, &codec)).collect());
    fleet.settle(&log);
    assert_eq!(fleet.crashes, 0);
    assert_eq!(log.records(&DECISIONS).len(), 20, "the stream goes on");
    let outcome = Outcome::read(&log);
    let refusals = outcome.refusals();
    for operator in [ip_intel::NAME, geo_risk::NAME, fusion::NAME] {
        for (reason, times) in [("empty", 1), ("undecodable", 3)] {
            let count = refusals.iter().filter(|refusal| **refusal == (operator, reason)).count();
            assert_eq!(count, times * PARTITIONS as usize, "{operator} refuses what is {reason}");
        }
    }
}

/// Bytes of good sessions are changed at random: whatever is no session any more is refused, and nothing stops.
fn damaged_records_stop_nothing(kind: BusKind) {
    let seed = Seed::choose();
    let mut random = seed.random("damage");
    let codec = codec();
    let log = TestLog::new(kind);
    let mut fleet = Fleet::start_undisturbed(&log, Deployment::Fused);
    let count = times(400, 50_000);
    for number in 0..count {
        let mut bytes = encoded(&Session { reference: Some("ñandú".into()), ..good(number) }, &codec);
        for _ in 0..1 + random.below(4) {
            let place = random.below(bytes.len());
            match random.below(4) {
                0 => bytes.truncate(place.max(1)),
                1 => bytes.insert(place, random.next() as u8),
                2 => bytes[place] ^= 1 << random.below(8),
                _ => bytes[place] = random.next() as u8,
            }
        }
        let partition = random.below(PARTITIONS as usize) as u32;
        log.append(vec![record(&SESSIONS, partition, None, Some(bytes))]);
    }
    fleet.settle(&log);
    log.append((count..count + 20).map(|number| good_record(number, &codec)).collect());
    fleet.settle(&log);
    assert_eq!(fleet.crashes, 0);
    let outcome = Outcome::read(&log);
    outcome.check_revisions();
    let decided = outcome.decisions();
    for number in count..count + 20 {
        assert!(
            decided.contains_key(&Key::of_session(TENANT, &format!("good-{number}"))),
            "the stream goes on"
        );
    }
    assert!(
        outcome.refusals().len() > count / 3,
        "most damage is seen: {} of {count}",
        outcome.refusals().len()
    );
}

/// A record that is larger than its topic allows comes no further than the edge, which says so.
#[test]
fn a_record_that_is_too_large_is_not_appended() {
    let codec = codec();
    let session = Session { user_agent: Some("x".repeat(SESSIONS.record_bytes_max as usize)), ..good(0) };
    let log = TestLog::new(BusKind::Memory);
    let error =
        log.edge().publish(vec![record(&SESSIONS, 0, None, Some(encoded(&session, &codec)))]).unwrap_err();
    assert!(matches!(error, BusError::Retry { .. }), "it is not the end of the process: {error}");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("too large for topic sessions, of at most 1200000"), "{cause}");
    assert!(log.records(&SESSIONS).is_empty());
}

/// The headers by which our processes talk to each other mean nothing on a topic that anybody writes.
#[test]
fn forged_headers_hide_no_session() {
    let codec = codec();
    for deployment in Deployment::ALL {
        let log = TestLog::new(BusKind::Memory);
        let mut fleet = Fleet::start_undisturbed(&log, deployment);
        let mut handled = good_record(0, &codec);
        handled.headers.push(Header::new(HANDLED_HEADER, *b"intake,ip-intel,geo-risk,fusion"));
        let mut tick = good_record(1, &codec);
        tick.headers.push(Header::new(TICK_HEADER, *b"1"));
        log.append(vec![handled, tick]);
        fleet.settle(&log);
        assert_eq!(log.records(&DECISIONS).len(), 2, "{deployment:?}: both sessions are decided");
    }
}

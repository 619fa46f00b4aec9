//! Time flows with the data: no deadline fires because something is catching up, none waits for ever because something
//! is dead, and no single record moves it for the others.

use crate::reference::undisturbed;
use crate::{on_local_buses, times};
use pipeline::NewRecord;
use schemas::topic::{DECISIONS, SESSIONS};
use schemas::{Cause, Decision, Key, Place, Session, TimeMs};
use std::sync::Arc;
use std::time::Duration;
use tests::buses::{BusKind, TestLog};
use tests::deployment::{Deployment, PARTITIONS, SILENCE_MS, codec};
use tests::fleet::Fleet;
use tests::hostile::encoded;
use tests::interference::Undisturbed;
use tests::outcome::Outcome;
use tests::random::{Random, Seed};
use tests::workload::{START, Shape, WAVE_MS, Workload};

on_local_buses!(
    a_dead_operator_is_not_waited_for,
    one_year_2099_moves_nobody,
    a_stopped_system_is_late_for_nothing
);

/// The processes of the chained deployment.
const INTAKE: usize = 0;
const IP_INTEL: usize = 1;
const GEO_RISK: usize = 2;
const FUSION: usize = 3;
const DEADLINE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(SILENCE_MS as u64);
const HOUR: Duration = Duration::from_secs(3_600);

fn session(number: usize) -> Session {
    Session {
        tenant: Some("acme".into()),
        session_id: format!("s-{number}"),
        ip: Some("201.141.5.9".into()),
        location: Some(Place { lat: Some(19.42), lng: Some(-99.75), ..Place::default() }),
        ..Session::default()
    }
}

fn append_sessions(log: &TestLog, numbers: std::ops::Range<usize>) {
    let codec = codec();
    for number in numbers {
        let session = session(number);
        let key = Key::of_session("acme", &session.session_id);
        let (partition, key, value) =
            (key.partition(PARTITIONS), key.as_bytes().to_vec(), encoded(&session, &codec));
        let (key, value) = (Some(key), Some(value));
        log.append(vec![NewRecord { topic: &SESSIONS, partition, key, value, headers: Vec::new(), time: 0 }]);
    }
}

/// Returns cause and completeness of each decision of some sessions.
fn causes(log: &TestLog, numbers: std::ops::Range<usize>) -> Vec<Vec<(Cause, bool)>> {
    let outcome = Outcome::read(log);
    outcome.check_revisions();
    let decisions = outcome.decisions();
    let said = |decision: &Decision| (decision.cause, decision.complete);
    let of_session = |number| decisions.get(&Key::of_session("acme", &format!("s-{number}")));
    numbers.map(|number| of_session(number).into_iter().flatten().map(said).collect()).collect()
}

fn chained_without(log: &TestLog, missing: usize) -> Fleet {
    let mut fleet = Fleet::empty(Deployment::Chained, Arc::new(Undisturbed));
    for process in [INTAKE, IP_INTEL, GEO_RISK, FUSION] {
        if process != missing {
            fleet.join(log, process);
        }
    }
    fleet
}

/// Fusion waits for a silent operator for the stated span and no longer; then deadlines count without it. When it
/// returns, what was decided without it is revised.
fn a_dead_operator_is_not_waited_for(kind: BusKind) {
    for dead in [IP_INTEL, GEO_RISK] {
        let log = TestLog::new(kind);
        let mut fleet = chained_without(&log, dead);
        append_sessions(&log, 0..30);
        fleet.settle(&log);
        fleet.pass(&log, SILENCE - Duration::from_secs(2));
        assert_eq!(log.records(&DECISIONS).len(), 0, "it may only be late");

        fleet.pass(&log, Duration::from_secs(4) + DEADLINE);
        assert_eq!(causes(&log, 0..30), vec![vec![(Cause::Deadline, false)]; 30]);

        append_sessions(&log, 30..40);
        fleet.settle(&log);
        fleet.pass(&log, DEADLINE + Duration::from_secs(1));
        assert_eq!(
            causes(&log, 30..40),
            vec![vec![(Cause::Deadline, false)]; 10],
            "nobody waits for it any more"
        );

        fleet.join(&log, dead);
        fleet.settle(&log);
        let revised = vec![(Cause::Deadline, false), (Cause::LateSignal, true)];
        assert_eq!(causes(&log, 0..40), vec![revised; 40], "it is back");

        append_sessions(&log, 40..50);
        fleet.settle(&log);
        fleet.pass(&log, SILENCE + DEADLINE);
        assert_eq!(causes(&log, 40..50), vec![vec![(Cause::AllSignals, true)]; 10], "and counts again");
    }
}

/// Sessions of hours are there before any operator starts. They start in any order, one of them late, and take their
/// time; no decision is for a deadline.
#[test]
fn a_backlog_is_late_for_nothing() {
    let seed = Seed::choose();
    let mut random = seed.random("order");
    let workload = Workload::new(Shape::CLOSED, &mut seed.random("workload"));
    let expected = undisturbed(Deployment::Chained, &workload).undated();
    for late in [INTAKE, IP_INTEL, GEO_RISK, FUSION] {
        for _ in 0..times(2, 24) {
            let log = TestLog::new(BusKind::Memory);
            for (at, record) in &workload.waves[0].records {
                log.time().set(START + at * 3 * HOUR.as_millis() as TimeMs / WAVE_MS);
                log.append(vec![record.clone()]);
            }
            let outcome = drain_backlog(&log, late, &mut random);
            outcome.check(&workload);
            outcome.undated().assert_same(&expected, &format!("process {late} was late"));
        }
    }
}

/// Lets the processes start in a random order with pauses between, one of them last, and works everything off.
fn drain_backlog(log: &TestLog, late: usize, random: &mut Random) -> Outcome {
    let mut others: Vec<usize> =
        [INTAKE, IP_INTEL, GEO_RISK, FUSION].into_iter().filter(|process| *process != late).collect();
    random.shuffle(&mut others);
    let steps = tests::interference::RandomSteps::new(random.clone(), 20);
    random.next();
    let mut fleet = Fleet::empty(Deployment::Chained, Arc::new(steps));
    for process in others {
        fleet.join(log, process);
        for _ in 0..random.below(30) {
            fleet.round(log);
            log.time().pass(Duration::from_millis(100));
        }
    }
    fleet.pass(log, Duration::from_secs(8));
    fleet.join(log, late);
    for _ in 0..100 {
        fleet.round(log);
        log.time().pass(Duration::from_millis(50));
    }
    fleet.settle(log);
    fleet.pass(log, DEADLINE * 2);
    Outcome::read(log)
}

/// A producer whose clock is far off, in the record and beside it, gets its decision and moves nobody else's.
fn one_year_2099_moves_nobody(kind: BusKind) {
    const FAR: TimeMs = 4_092_000_000_000;
    let seed = Seed::choose();
    let workload = Workload::new(Shape::WHOLE, &mut seed.random("workload"));
    let mut disturbed = Workload::new(Shape::WHOLE, &mut seed.random("workload"));
    let stranger = Session { session_id: "far".into(), event_time: Some(FAR), ..session(0) };
    let key = Key::of_session("acme", "far");
    let (partition, value) = (key.partition(PARTITIONS), Some(encoded(&stranger, &codec())));
    let record = NewRecord {
        topic: &SESSIONS,
        partition,
        key: Some(key.as_bytes().to_vec()),
        value,
        headers: Vec::new(),
        time: FAR,
    };
    let records = &mut disturbed.waves[0].records;
    let middle = records.len() / 2;
    records.insert(middle, (records[middle].0, record));
    for deployment in Deployment::ALL {
        let log = TestLog::new(kind);
        let outcome = Fleet::start_undisturbed(&log, deployment).work(&log, &disturbed);
        let far = outcome.decisions().remove(&key).expect("it is decided");
        assert_eq!(far.iter().map(|decision| decision.cause).collect::<Vec<_>>(), [Cause::AllSignals]);
        assert_eq!(far[0].event_time, Some(FAR));
        outcome
            .without(&key)
            .assert_same(&undisturbed(deployment, &workload), &format!("{deployment:?}, with one of 2099"));
    }
}

/// Everything stops for an hour in the middle of its work while producers go on, or not, and one operator starts later
/// than the others: that is nobody's silence.
fn a_stopped_system_is_late_for_nothing(kind: BusKind) {
    let seed = Seed::choose();
    let mut random = seed.random("stops");
    for late in [INTAKE, IP_INTEL, GEO_RISK, FUSION] {
        for producers_go_on in [false, true] {
            let log = TestLog::new(kind);
            let mut fleet = chained_without(&log, usize::MAX);
            append_sessions(&log, 0..20);
            fleet.settle(&log);
            fleet.pass(&log, Duration::from_secs(20));
            append_sessions(&log, 20..40);
            // Some have handled what was just appended, others have not.
            for _ in 0..random.below(4) {
                fleet.round(&log);
            }
            while !fleet.is_empty() {
                fleet.leave(0);
            }
            for number in 0..60 {
                log.time().pass(HOUR / 60);
                if producers_go_on {
                    append_sessions(&log, 40 + number..41 + number);
                }
            }
            let mut fleet = chained_without(&log, late);
            fleet.settle(&log);
            fleet.pass(&log, Duration::from_secs(10));
            fleet.join(&log, late);
            fleet.settle(&log);
            append_sessions(&log, 100..110);
            fleet.settle(&log);
            fleet.pass(&log, DEADLINE * 2);
            let decided = vec![(Cause::AllSignals, true)];
            let so_far = if producers_go_on { 0..110 } else { 0..40 };
            assert_eq!(
                causes(&log, so_far.clone()),
                vec![decided.clone(); so_far.len()],
                "process {late} was late"
            );
            assert_eq!(causes(&log, 100..110), vec![decided; 10], "and time goes on");
        }
    }
}

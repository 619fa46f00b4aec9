//! The suite against real brokers: what is exactly once shows nowhere else.
//!
//! Append times are the broker's, so that two runs differ in them: decisions are compared without their times, and
//! beside that each run is replayed faithfully, with the times it had, byte for byte.

use crate::reference::undisturbed;
use crate::times;
use crate::workers::Stall;
use pipeline::{Edge, LogRecord};
use replay::{Recording, ReplayError, faithful};
use schemas::TopicSpec;
use schemas::topic::{ACCEPTED, DECISIONS, SESSIONS, SIGNALS, STEPS};
use std::collections::BTreeMap;
use std::sync::Arc;
use tests::buses::{BusKind, TestLog};
use tests::deployment::{Deployment, PARTITIONS};
use tests::fleet::Fleet;
use tests::interference::{Call, Fault, Interference, OneFault, RandomFaults, RandomSteps, Undisturbed};
use tests::kafka::KafkaVersion;
use tests::outcome::Outcome;
use tests::random::Seed;
use tests::workload::{Shape, Workload};

/// Makes a module of tests for each version of Kafka.
macro_rules! on_each_version {
    ($($check:ident),+ $(,)?) => {
        mod v4_3_1 {
            $(#[test]
            fn $check() {
                super::$check(tests::kafka::KafkaVersion::V4_3_1);
            })+
        }

        mod v3_9_1 {
            $(#[test]
            fn $check() {
                super::$check(tests::kafka::KafkaVersion::V3_9_1);
            })+
        }
    };
}

on_each_version!(
    straight_through,
    split_anywhere,
    stopped_and_restored,
    crashed_at_random_calls,
    crashed_again_and_again,
    a_zombie_commits_nothing,
    workers_come_and_go,
    rules_change_in_band,
);

/// The topics that a replay reads.
const RECORDED: [&TopicSpec; 5] = [&SESSIONS, &ACCEPTED, &SIGNALS, &DECISIONS, &STEPS];

/// What a cluster holds, read into memory.
struct KafkaRecording {
    edge: Arc<dyn Edge>,
    partitions: BTreeMap<(&'static str, u32), Vec<LogRecord>>,
}

impl KafkaRecording {
    fn read(log: &TestLog) -> Self {
        let mut partitions: BTreeMap<(&'static str, u32), Vec<LogRecord>> = BTreeMap::new();
        for record in RECORDED.iter().flat_map(|topic| log.records(topic)) {
            partitions.entry((record.topic.name, record.partition)).or_default().push(record);
        }
        Self { edge: log.edge(), partitions }
    }
}

impl Recording for KafkaRecording {
    fn partitions(&self) -> u32 {
        PARTITIONS
    }

    fn begins_at(&self, _topic: &'static TopicSpec, _partition: u32) -> Result<u64, ReplayError> {
        // Nothing is old enough to have been deleted.
        Ok(0)
    }

    fn records(
        &self,
        topic: &'static TopicSpec,
        partition: u32,
        from: u64,
        records_max: usize,
    ) -> Result<Vec<LogRecord>, ReplayError> {
        let all = self.partitions.get(&(topic.name, partition)).map(Vec::as_slice).unwrap_or_default();
        let first = all.partition_point(|record| record.offset < from);
        Ok(all[first..].iter().take(records_max).cloned().collect())
    }

    fn compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, ReplayError> {
        let failed = |source| ReplayError::Read { topic: topic.name.to_owned(), partition: 0, source };
        self.edge.read_compacted(topic).map_err(failed)
    }
}

/// Checks what came of a run against the model, the undisturbed run on memory, and its own faithful replay.
fn check(log: &TestLog, deployment: Deployment, workload: &Workload, outcome: &Outcome, what: &str) {
    outcome.check(workload);
    outcome.undated().assert_same(&undisturbed(deployment, workload).undated(), what);
    let recording = KafkaRecording::read(log);
    let mut decisions = 0;
    for hosting in deployment.hostings() {
        let replayed = faithful(&recording, &hosting).expect("the log is whole");
        assert!(replayed.is_faithful(), "{what}: {:?}", replayed.differences);
        decisions += replayed.decisions;
    }
    assert_eq!(
        decisions as usize,
        workload.decisions_after(workload.waves.len()),
        "{what}: all are replayed"
    );
}

/// Works a workload off with something that happens on the way.
fn run(
    version: KafkaVersion,
    deployment: Deployment,
    workload: &Workload,
    what: &str,
    interference: Arc<dyn Interference>,
) {
    let log = TestLog::new(BusKind::Kafka(version));
    let mut fleet = Fleet::start(&log, deployment, interference);
    let outcome = fleet.work(&log, workload);
    check(
        &log,
        deployment,
        workload,
        &outcome,
        &format!("{deployment:?}, {what}, {} crashes", fleet.crashes),
    );
}

fn straight_through(version: KafkaVersion) {
    let seed = Seed::choose();
    let workload = Workload::new(Shape::PATIENT, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        run(version, deployment, &workload, "straight through", Arc::new(Undisturbed));
    }
}

fn split_anywhere(version: KafkaVersion) {
    let seed = Seed::choose();
    let mut random = seed.random("steps");
    for number in 0..times(1, 10) {
        let workload = Workload::new(Shape::PROMPT, &mut seed.random(&format!("workload {number}")));
        for deployment in Deployment::ALL {
            let records_max = 1 + random.below(20);
            let steps = Arc::new(RandomSteps::new(random.clone(), records_max));
            run(version, deployment, &workload, &format!("split into steps of at most {records_max}"), steps);
        }
    }
}

/// Stopped in the middle and started again, with the copies of the tables or without them.
fn stopped_and_restored(version: KafkaVersion) {
    let seed = Seed::choose();
    let mut random = seed.random("stops");
    let workload = Workload::new(Shape::PROMPT, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let log = TestLog::new(BusKind::Kafka(version));
        let steps = Arc::new(RandomSteps::new(random.clone(), 8));
        let outcome = Fleet::start(&log, deployment, steps).work_with(&log, &workload, |fleet, log| {
            for wipes in [false, true, false] {
                for _ in 0..random.below(15) {
                    fleet.round(log);
                }
                if wipes {
                    log.wipe_copies();
                }
                fleet.restart(log);
            }
        });
        check(&log, deployment, &workload, &outcome, "stopped and restored");
    }
}

/// One commit fails at a random place; each way of failing is tried, in one deployment after the other.
fn crashed_at_random_calls(version: KafkaVersion) {
    let seed = Seed::choose();
    let mut random = seed.random("faults");
    let shape = Shape { sessions: 22, hostile: 5, ..Shape::PROMPT };
    for number in 0..times(1, 10) {
        for (fault, deployment) in
            Fault::ALL.into_iter().zip(Deployment::ALL.into_iter().cycle().skip(number))
        {
            let workload = Workload::new(shape, &mut seed.random(&format!("workload {number}")));
            // A fused process commits a few times, each of several more often.
            let place = random.below(if deployment == Deployment::Fused { 3 } else { 12 }) as u64;
            let one = Arc::new(OneFault::new(place, fault, Some(Call::Commit)));
            let interference = Arc::clone(&one) as Arc<dyn Interference>;
            run(version, deployment, &workload, &format!("{fault:?} at commit {place}"), interference);
            assert!(one.has_struck(), "{deployment:?} makes more than {place} commits");
        }
    }
}

fn crashed_again_and_again(version: KafkaVersion) {
    let seed = Seed::choose();
    let mut random = seed.random("faults");
    for number in 0..times(1, 10) {
        let workload = Workload::new(Shape::PROMPT, &mut seed.random(&format!("workload {number}")));
        for deployment in Deployment::ALL {
            let faults = Arc::new(RandomFaults::new(random.clone(), 20));
            random.next();
            run(version, deployment, &workload, "crashed again and again", faults);
        }
    }
}

/// A worker stalls before a commit; meanwhile one of the same name takes its place and does some of its work.
fn a_zombie_commits_nothing(version: KafkaVersion) {
    let seed = Seed::choose();
    let mut random = seed.random("stalls");
    let workload = Workload::new(Shape::PROMPT, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let process = random.below(deployment.processes());
        let log = Arc::new(TestLog::new(BusKind::Kafka(version)));
        let (weak, rounds) = (Arc::downgrade(&log), 20 + random.below(40));
        let stall = Stall::new(1 + random.below(3) as u64, move || {
            let log = weak.upgrade().expect("the log outlives its workers");
            let mut heir =
                Fleet::empty(deployment, Arc::new(RandomSteps::new(tests::random::Random::from_seed(1), 10)));
            // The first worker of each fleet has the same name.
            heir.join(&log, process);
            for _ in 0..rounds {
                heir.round(&log);
            }
            assert_eq!(heir.crashes, 0, "the heir is the one who works");
        });
        let mut fleet = Fleet::empty(deployment, Arc::new(Undisturbed));
        fleet.join_with(&log, process, Arc::clone(&stall) as Arc<dyn Interference>);
        for other in (0..deployment.processes()).filter(|other| *other != process) {
            fleet.join(&log, other);
        }
        let outcome = fleet.work(&log, &workload);
        assert!(stall.has_stalled() && !stall.has_committed(), "the zombie's commit went through");
        assert!(fleet.crashes > 0, "a fenced worker does not go on");
        check(&log, deployment, &workload, &outcome, "with a zombie");
    }
}

fn workers_come_and_go(version: KafkaVersion) {
    let seed = Seed::choose();
    let mut random = seed.random("workers");
    let workload = Workload::new(Shape::PROMPT, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let log = TestLog::new(BusKind::Kafka(version));
        let steps = Arc::new(RandomSteps::new(random.clone(), 4));
        let processes = deployment.processes();
        let outcome = Fleet::start(&log, deployment, steps).work_with(&log, &workload, |fleet, log| {
            for process in 0..processes {
                for _ in 0..random.below(10) {
                    fleet.round(log);
                }
                fleet.join(log, process);
            }
            // The first workers leave while the second ones take over.
            for _ in 0..random.below(100) {
                fleet.round(log);
            }
            for _ in 0..processes {
                fleet.leave(0);
                fleet.round(log);
            }
        });
        check(&log, deployment, &workload, &outcome, "with two workers");
    }
}

/// Another rule set comes into force at one place of every partition. In the chained deployment that place is between
/// the signals of the two waves.
fn rules_change_in_band(version: KafkaVersion) {
    let seed = Seed::choose();
    let workload = Workload::new(Shape { waves: 2, ..Shape::PROMPT }, &mut seed.random("workload"));
    let log = TestLog::new(BusKind::Kafka(version));
    let outcome = Fleet::start_undisturbed(&log, Deployment::Chained).work(&log, &workload);
    check(&log, Deployment::Chained, &workload, &outcome, "with two rule sets");
}

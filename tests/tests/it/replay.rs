//! Faithful replays: what was published comes out of the log again, byte for byte.

use crate::{on_local_buses, times};
use replay::{ReplayError, Replayed, faithful};
use schemas::topic::{DECISIONS, SESSIONS, STEPS};
use std::sync::Arc;
use tests::buses::{BusKind, TestLog};
use tests::deployment::{Deployment, hosting};
use tests::fleet::Fleet;
use tests::interference::{RandomFaults, RandomSteps};
use tests::random::Seed;
use tests::workload::{Shape, Workload};

on_local_buses!(a_run_is_replayed, a_run_full_of_crashes_is_replayed);

/// Replays every process of a deployment, and returns what the one that decides gave.
fn replayed(log: &TestLog, deployment: Deployment) -> Replayed {
    let all = deployment.hostings().into_iter().map(|hosting| {
        let replayed = faithful(&log.local(), &hosting).expect("the log is whole");
        assert!(replayed.steps > 0 && replayed.records > 0, "{} worked", hosting.name());
        replayed
    });
    all.into_iter().find(|replayed| replayed.decisions > 0).expect("one of them decides")
}

fn a_run_is_replayed(kind: BusKind) {
    let seed = Seed::choose();
    let mut random = seed.random("steps");
    for deployment in Deployment::ALL {
        for number in 0..times(2, 50) {
            let workload = Workload::new(Shape::WHOLE, &mut seed.random(&format!("workload {number}")));
            let log = TestLog::new(kind);
            let steps = Arc::new(RandomSteps::new(random.clone(), 1 + random.clone().below(30)));
            random.next();
            Fleet::start(&log, deployment, steps).work(&log, &workload);
            let replayed = replayed(&log, deployment);
            assert!(replayed.is_faithful(), "{:?}", replayed.differences);
            assert_eq!(replayed.decisions, log.records(&DECISIONS).len() as u64, "nothing is left out");
            assert_eq!(replayed.recorded, replayed.decisions);
        }
    }
}

fn a_run_full_of_crashes_is_replayed(kind: BusKind) {
    let seed = Seed::choose();
    let workload = Workload::new(Shape::WHOLE, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let log = TestLog::new(kind);
        let faults = Arc::new(RandomFaults::new(seed.random("faults"), 100));
        Fleet::start(&log, deployment, faults).work(&log, &workload);
        let replayed = replayed(&log, deployment);
        assert!(replayed.is_faithful(), "{:?}", replayed.differences);
    }
}

fn fused_run(shape: Shape) -> TestLog {
    let seed = Seed::choose();
    let workload = Workload::new(shape, &mut seed.random("workload"));
    let log = TestLog::new(BusKind::Memory);
    Fleet::start_undisturbed(&log, Deployment::Fused).work(&log, &workload);
    log
}

/// What is changed in the log afterwards shows, with the session whose decision it is.
#[test]
fn a_decision_that_was_not_made_so_is_found() {
    let log = fused_run(Shape::SHORT);
    let mut forged = log.records(&DECISIONS).remove(0);
    let partition = forged.partition;
    let end = log.local().end(&DECISIONS, partition);
    *forged.value.as_mut().unwrap().last_mut().unwrap() ^= 1;
    let (key, value, headers, time) = (forged.key.clone(), forged.value.clone(), forged.headers, forged.time);
    log.append(vec![pipeline::NewRecord { topic: &DECISIONS, partition, key, value, headers, time }]);
    let replayed = faithful(&log.local(), &Deployment::Fused.hostings()[0]).expect("the log is whole");
    assert_eq!((replayed.differing, replayed.recorded), (1, replayed.decisions + 1));
    let difference = &replayed.differences[0];
    assert_eq!((difference.partition, difference.offset), (partition, Some(end)));
    assert!(difference.session.is_some());
    assert_eq!((difference.recorded.is_some(), difference.replayed.is_some()), (true, false));
}

/// Records that retention has deleted are missed by name, and not replayed as if they had never been.
#[test]
fn a_log_that_is_not_whole_is_refused() {
    let deployment = Deployment::Fused.hostings();
    for topic in [&SESSIONS, &STEPS] {
        let log = fused_run(Shape::SHORT);
        for partition in 0..log.local().partitions() {
            log.local().discard(topic, partition, 2).unwrap();
        }
        let error = faithful(&log.local(), &deployment[0]).unwrap_err();
        assert!(
            matches!(&error, ReplayError::Missing { topic: missing, .. } if missing == topic.name),
            "{error}"
        );
    }
}

/// Tables that other processes have changed too cannot be rebuilt from the steps of one.
#[test]
fn a_log_of_two_deployments_is_refused() {
    let log = fused_run(Shape::SHORT);
    let error = faithful(&log.local(), &hosting(&[fusion::NAME])).unwrap_err();
    assert!(matches!(&error, ReplayError::Regrouped { other, .. } if other.contains('+')), "{error}");
}

//! Straight through, cut anywhere, and stopped midway: where steps end is not to matter.

use crate::reference::undisturbed;
use crate::{on_local_buses, times};
use std::sync::Arc;
use tests::buses::{BusKind, TestLog};
use tests::deployment::Deployment;
use tests::fleet::Fleet;
use tests::interference::{RandomSteps, Undisturbed};
use tests::random::Seed;
use tests::workload::{Shape, Workload};

on_local_buses!(straight_through, split_anywhere, stopped_and_restored);

fn straight_through(kind: BusKind) {
    let seed = Seed::choose();
    let workload = Workload::new(Shape::WHOLE, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let log = TestLog::new(kind);
        let outcome = Fleet::start_undisturbed(&log, deployment).work(&log, &workload);
        outcome.check(&workload);
        outcome.check_variety();
        outcome.assert_same(&undisturbed(deployment, &workload), "this bus and memory differ");
    }
}

fn split_anywhere(kind: BusKind) {
    let seed = Seed::choose();
    let mut random = seed.random("steps");
    let workload = Workload::new(Shape::WHOLE, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let expected = undisturbed(deployment, &workload);
        for _ in 0..times(4, 100) {
            // Mostly steps of a few records, down to steps of one.
            let records_max = 1 + random.below(20);
            let steps = Arc::new(RandomSteps::new(random.clone(), records_max));
            random.next();
            let log = TestLog::new(kind);
            let outcome = Fleet::start(&log, deployment, steps).work(&log, &workload);
            outcome.assert_same(
                &expected,
                &format!("{deployment:?}, split into steps of at most {records_max}"),
            );
        }
    }
}

fn stopped_and_restored(kind: BusKind) {
    let seed = Seed::choose();
    let mut random = seed.random("stops");
    let workload = Workload::new(Shape::WHOLE, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let expected = undisturbed(deployment, &workload);
        for _ in 0..times(2, 30) {
            let log = TestLog::new(kind);
            let steps = Arc::new(RandomSteps::new(random.clone(), 8));
            let mut fleet = Fleet::start(&log, deployment, steps);
            let outcome = fleet.work_with(&log, &workload, |fleet, log| {
                for _ in 0..3 {
                    for _ in 0..random.below(15) {
                        fleet.round(log);
                    }
                    fleet.restart(log);
                }
            });
            outcome.assert_same(&expected, &format!("{deployment:?}, stopped and restored"));
        }
    }
}

/// Both deployments judge alike, the times of decisions aside: those of the chained one depend on when its signals
/// were written.
#[test]
fn fused_and_chained_decide_the_same() {
    let seed = Seed::choose();
    for number in 0..times(3, 100) {
        let workload = Workload::new(Shape::WHOLE, &mut seed.random(&format!("workload {number}")));
        let [fused, chained] = Deployment::ALL.map(|deployment| undisturbed(deployment, &workload).undated());
        fused.assert_same(&chained, "fused and chained differ");
    }
}

/// A workload is used by every test here, so it must hold what they are about.
#[test]
fn the_same_seed_gives_the_same_outcome() {
    let seed = Seed::choose();
    let make = || Workload::new(Shape::SHORT, &mut seed.random("workload"));
    let (first, second) = (make(), make());
    let log = TestLog::new(BusKind::Memory);
    let mut fleet = Fleet::start(&log, Deployment::Chained, Arc::new(Undisturbed));
    let outcome = fleet.work(&log, &first);
    assert_eq!(fleet.crashes, 0);
    outcome.assert_same(&undisturbed(Deployment::Chained, &second), "one seed, two outcomes");
}

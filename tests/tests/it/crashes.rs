//! A worker or its process fails at any call to the bus: before it, after it, or again and again.

use crate::reference::undisturbed;
use crate::{is_long, on_local_buses, times};
use std::sync::Arc;
use tests::buses::{BusKind, TestLog};
use tests::deployment::Deployment;
use tests::fleet::Fleet;
use tests::interference::{Call, Fault, Interference, OneFault, RandomFaults};
use tests::random::Seed;
use tests::workload::{Shape, Workload};

on_local_buses!(crashed_at_every_call, crashed_again_and_again);

/// Every call of a short run fails once in every way. On disk, where a crash opens the store anew, only the calls that
/// change something do, unless all counts are asked for.
fn crashed_at_every_call(kind: BusKind) {
    let seed = Seed::choose();
    let workload = Workload::new(Shape::SHORT, &mut seed.random("workload"));
    let only = (kind == BusKind::Embedded && !is_long()).then_some(Call::Commit);
    for deployment in Deployment::ALL {
        let expected = undisturbed(deployment, &workload);
        for fault in Fault::ALL {
            let struck = (0..).take_while(|place| {
                let one = Arc::new(OneFault::new(*place, fault, only));
                let log = TestLog::new(kind);
                let mut fleet = Fleet::start(&log, deployment, Arc::clone(&one) as Arc<dyn Interference>);
                let outcome = fleet.work(&log, &workload);
                outcome.check_revisions();
                outcome.assert_same(&expected, &format!("{deployment:?}, {fault:?} at call {place}"));
                one.has_struck()
            });
            let calls = struck.count();
            assert!(calls >= 20, "a run makes more than {calls} calls");
        }
    }
}

fn crashed_again_and_again(kind: BusKind) {
    let seed = Seed::choose();
    let mut random = seed.random("faults");
    let workload = Workload::new(Shape::WHOLE, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let expected = undisturbed(deployment, &workload);
        for _ in 0..times(2, 50) {
            let faults = Arc::new(RandomFaults::new(random.clone(), 1 + random.below(100)));
            random.next();
            let log = TestLog::new(kind);
            let mut fleet = Fleet::start(&log, deployment, faults);
            let outcome = fleet.work(&log, &workload);
            outcome.assert_same(&expected, &format!("{deployment:?}, after {} crashes", fleet.crashes));
        }
    }
}

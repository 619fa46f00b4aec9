//! A worker or its process fails at any call to the bus: before it, after it, or again and again.

use crate::reference::undisturbed;
use crate::{is_long, on_local_buses, times};
use std::sync::Arc;
use tests::buses::{BusKind, TestLog};
use tests::deployment::Deployment;
use tests::fleet::Fleet;
use tests::interference::{Fault, Interference, OneFault, RandomFaults};
use tests::random::Seed;
use tests::workload::{Shape, Workload};

on_local_buses!(crashed_at_every_call, crashed_again_and_again);

/// Every call of a short run fails once in every way. On disk, where each run opens stores anew, only some random ones
/// do, unless all counts are asked for.
fn crashed_at_every_call(kind: BusKind) {
    let seed = Seed::choose();
    let mut random = seed.random("places");
    let workload = Workload::new(Shape::SHORT, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let expected = undisturbed(deployment, &workload);
        let calls = calls(deployment, &workload);
        assert!(calls > 100, "a run makes {calls} calls");
        for fault in Fault::ALL {
            let places: Vec<u64> = match kind {
                BusKind::Memory => (0..calls).collect(),
                _ if is_long() => (0..calls).collect(),
                _ => (0..2).map(|_| random.below(calls as usize) as u64).collect(),
            };
            for place in places {
                let one = Arc::new(OneFault::new(place, fault, None));
                let log = TestLog::new(kind);
                let mut fleet = Fleet::start(&log, deployment, Arc::clone(&one) as Arc<dyn Interference>);
                let outcome = fleet.work(&log, &workload);
                assert!(one.has_struck(), "{fault:?} at call {place} of {calls}");
                outcome.assert_same(&expected, &format!("{deployment:?}, {fault:?} at call {place}"));
            }
        }
    }
}

/// Returns how many calls an undisturbed run makes.
fn calls(deployment: Deployment, workload: &Workload) -> u64 {
    let count = Arc::new(OneFault::never(None));
    let log = TestLog::new(BusKind::Memory);
    Fleet::start(&log, deployment, Arc::clone(&count) as Arc<dyn Interference>).work(&log, workload);
    count.calls()
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

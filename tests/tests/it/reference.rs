//! The undisturbed run of a workload, with which all others are compared.

use tests::buses::{BusKind, TestLog};
use tests::deployment::Deployment;
use tests::fleet::Fleet;
use tests::outcome::Outcome;
use tests::workload::Workload;

/// Works a workload off on memory without any disturbance, and checks what came of it against the model.
pub(crate) fn undisturbed(deployment: Deployment, workload: &Workload) -> Outcome {
    let log = TestLog::new(BusKind::Memory);
    let outcome = Fleet::start_undisturbed(&log, deployment).work(&log, workload);
    outcome.check(workload);
    outcome
}

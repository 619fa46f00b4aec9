//! Several workers of a group: one that was replaced without knowing it, and workers that come and go.

use crate::reference::undisturbed;
use crate::{is_long, on_local_buses, times};
use pipeline::BusError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tests::buses::{BusKind, TestLog};
use tests::deployment::Deployment;
use tests::fleet::Fleet;
use tests::interference::{Call, Interference, RandomSteps, Undisturbed};
use tests::outcome::Outcome;
use tests::random::{Random, Seed};
use tests::workload::{Shape, Workload};

on_local_buses!(a_zombie_commits_nothing, workers_come_and_go);

/// Stalls a worker before one of its commits. Until it goes on, others of its group have done its work.
pub(crate) struct Stall {
    commit: u64,
    commits: AtomicU64,
    stalled: AtomicBool,
    committed: AtomicBool,
    meanwhile: Box<dyn Fn() + Send + Sync>,
}

impl Stall {
    pub(crate) fn new(commit: u64, meanwhile: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let (commits, meanwhile) = (AtomicU64::new(0), Box::new(meanwhile));
        Arc::new(Self {
            commit,
            commits,
            stalled: AtomicBool::new(false),
            committed: AtomicBool::new(false),
            meanwhile,
        })
    }

    pub(crate) fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Tells whether the commit that was stalled went through all the same.
    pub(crate) fn has_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }

    fn is_due(&self) -> bool {
        self.commits.load(Ordering::Acquire) == self.commit + 1
    }
}

impl Interference for Stall {
    fn before(&self, call: Call) -> Result<(), BusError> {
        if call == Call::Commit {
            self.commits.fetch_add(1, Ordering::AcqRel);
            if self.is_due() {
                self.stalled.store(true, Ordering::Release);
                (self.meanwhile)();
            }
        }
        Ok(())
    }

    fn after(&self, call: Call) -> Result<(), BusError> {
        if call == Call::Commit && self.is_due() {
            self.committed.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// A worker stalls before a commit, for each commit of a short run in memory and for some on disk. Meanwhile another
/// one joins, works everything off that it is given, and leaves again; what the first then commits is refused.
fn a_zombie_commits_nothing(kind: BusKind) {
    let seed = Seed::choose();
    let mut random = seed.random("places");
    let workload = Workload::new(Shape::SHORT, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let expected = undisturbed(deployment, &workload);
        for process in 0..deployment.processes() {
            let mut stalls = 0;
            for commit in 0.. {
                let skipped = kind == BusKind::Embedded && !is_long() && !random.percent(5);
                if !skipped && !stall_once(kind, deployment, process, commit, &workload, &expected) {
                    break;
                }
                stalls += 1;
            }
            assert!(stalls >= 5, "a worker commits more than {stalls} times");
        }
    }
}

/// Stalls a worker before one of its commits; tells whether there was such a commit.
fn stall_once(
    kind: BusKind,
    deployment: Deployment,
    process: usize,
    commit: u64,
    workload: &Workload,
    expected: &Outcome,
) -> bool {
    let log = Arc::new(TestLog::new(kind));
    let stall = Stall::new(commit, take_over(Arc::downgrade(&log), deployment, process));
    let mut fleet = Fleet::empty(deployment, Arc::new(Undisturbed));
    for other in 0..deployment.processes() {
        let interference: Arc<dyn Interference> =
            if other == process { Arc::clone(&stall) as _ } else { Arc::new(Undisturbed) };
        fleet.join_with(&log, other, interference);
    }
    let outcome = fleet.work(&log, workload);
    assert!(!stall.has_committed(), "the zombie's commit {commit} went through");
    assert_eq!(fleet.crashes, 0, "a zombie reads again and goes on");
    outcome.assert_same(expected, &format!("{deployment:?}, process {process} stalled at commit {commit}"));
    stall.has_stalled()
}

/// Returns what works everything off that another worker of a process may be given.
fn take_over(
    log: Weak<TestLog>,
    deployment: Deployment,
    process: usize,
) -> impl Fn() + Send + Sync + 'static {
    move || {
        let log = log.upgrade().expect("the log outlives its workers");
        let mut heir = Fleet::empty(deployment, Arc::new(Undisturbed));
        heir.join(&log, process);
        heir.settle(&log);
        heir.leave(0);
    }
}

/// Workers of random processes join and leave while records flow, and take turns in any order.
fn workers_come_and_go(kind: BusKind) {
    const WORKERS_MAX: usize = 3;
    let seed = Seed::choose();
    let mut random = seed.random("workers");
    let workload = Workload::new(Shape::WHOLE, &mut seed.random("workload"));
    for deployment in Deployment::ALL {
        let expected = undisturbed(deployment, &workload);
        let processes = deployment.processes();
        for _ in 0..times(3, 100) {
            let log = TestLog::new(kind);
            let mut fleet = Fleet::start(&log, deployment, Arc::new(RandomSteps::new(random.clone(), 6)));
            let mut rebalances = 0;
            let outcome = fleet.work_with(&log, &workload, |fleet, log| {
                for _ in 0..60 * processes {
                    rebalances += usize::from(come_or_go(fleet, log, processes, WORKERS_MAX, &mut random));
                    fleet.turn(log, random.below(fleet.len()));
                }
            });
            assert!(rebalances > 0, "nobody came or went");
            outcome.assert_same(&expected, &format!("{deployment:?}, after {rebalances} rebalances"));
        }
    }
}

/// Lets a worker join or leave now and then, so that each process keeps at least one.
fn come_or_go(
    fleet: &mut Fleet,
    log: &TestLog,
    processes: usize,
    workers_max: usize,
    random: &mut Random,
) -> bool {
    match random.below(20) {
        0 => {
            let process = random.below(processes);
            let joins = fleet.count(process) < workers_max;
            if joins {
                fleet.join(log, process);
            }
            joins
        }
        1 => {
            let worker = random.below(fleet.len());
            let leaves = fleet.count(fleet.process(worker)) > 1;
            if leaves {
                fleet.leave(worker);
            }
            leaves
        }
        _ => false,
    }
}

/// Workers in threads of their own, as a process has them, come to the same decisions as one that does all the work.
#[test]
fn workers_in_threads_decide_the_same() {
    let seed = Seed::choose();
    for deployment in Deployment::ALL {
        for number in 0..times(3, 100) {
            let workload = Workload::new(Shape::PROMPT, &mut seed.random(&format!("workload {number}")));
            let log = TestLog::new(BusKind::Memory);
            log.publish(0, &workload.waves[0]);
            let fleets: Vec<Mutex<Fleet>> =
                (0..3).map(|_| Mutex::new(Fleet::start_undisturbed(&log, deployment))).collect();
            std::thread::scope(|scope| {
                for fleet in &fleets {
                    scope.spawn(|| {
                        fleet.lock().unwrap().settle_at(
                            &log,
                            workload.decisions_after(0),
                            workload.refusals_after(0),
                        )
                    });
                }
            });
            let outcome = Outcome::read(&log);
            outcome.check(&workload);
            outcome.assert_same(&undisturbed(deployment, &workload), "threads decide otherwise");
        }
    }
}

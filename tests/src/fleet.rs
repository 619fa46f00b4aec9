//! The workers of a deployment, turned one after the other by the test: whatever happens between two of them, happens
//! where the test says, and again where the seed is the same.

use crate::buses::TestLog;
use crate::deployment::Deployment;
use crate::interference::{Interference, Undisturbed};
use crate::outcome::Outcome;
use crate::workload::{PAUSE_MS, Workload};
use pipeline::{Runner, RunnerError, Stop, Turn};
use schemas::topic::{DEAD_LETTER, DECISIONS};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Turns after which a fleet that has not come to rest never will.
const ROUNDS_MAX: usize = 20_000;
/// Crashes after which something else is wrong than what the test does.
const CRASHES_MAX: usize = 2_000;
/// How long everything that a wave must lead to may take, where time passes by itself.
const REAL_WAIT_MAX: Duration = Duration::from_secs(90);
/// Rounds after which nothing more is to come, where time passes by itself.
const ROUNDS_AFTER: usize = 20;
/// Steps in which the pause after a wave passes. An input gets a tick in each of them; a worker that crashes loses the
/// one that was due, so that there are several.
const PAUSE_STEP: Duration = Duration::from_secs(5);
/// Steps in which other spans pass: ticks are so close together that nobody seems to be away.
const STEP: Duration = Duration::from_secs(1);

/// The workers of a deployment.
pub struct Fleet {
    deployment: Deployment,
    interference: Arc<dyn Interference>,
    workers: Vec<Worker>,
    joined: usize,
    /// Workers that failed and were replaced.
    pub crashes: usize,
}

struct Worker {
    name: String,
    /// Which of the deployment's processes it belongs to.
    process: usize,
    interference: Arc<dyn Interference>,
    runner: Option<Runner>,
}

impl Fleet {
    /// Makes a fleet without workers.
    pub fn empty(deployment: Deployment, interference: Arc<dyn Interference>) -> Self {
        Self { deployment, interference, workers: Vec::new(), joined: 0, crashes: 0 }
    }

    /// Starts a worker for each process of a deployment.
    pub fn start(log: &TestLog, deployment: Deployment, interference: Arc<dyn Interference>) -> Self {
        let mut fleet = Self::empty(deployment, interference);
        for process in 0..deployment.processes() {
            fleet.join(log, process);
        }
        fleet
    }

    /// Starts workers whom nobody disturbs.
    pub fn start_undisturbed(log: &TestLog, deployment: Deployment) -> Self {
        Self::start(log, deployment, Arc::new(Undisturbed))
    }

    /// Starts one more worker of a process; returns its number.
    pub fn join(&mut self, log: &TestLog, process: usize) -> usize {
        self.join_with(log, process, Arc::clone(&self.interference))
    }

    /// The same, with what is to happen to this worker alone.
    pub fn join_with(&mut self, log: &TestLog, process: usize, interference: Arc<dyn Interference>) -> usize {
        let name = format!("w{}", self.joined);
        self.joined += 1;
        self.workers.push(Worker { name, process, interference, runner: None });
        self.launch(log, self.workers.len() - 1);
        self.workers.len() - 1
    }

    /// Takes a worker away; it gives its partitions back.
    pub fn leave(&mut self, worker: usize) {
        let mut leaving = self.workers.remove(worker);
        leaving.stop();
    }

    /// Returns how many workers there are of a process.
    pub fn count(&self, process: usize) -> usize {
        self.workers.iter().filter(|worker| worker.process == process).count()
    }

    /// Returns how many workers there are.
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Tells whether there is no worker.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Returns the process of a worker.
    pub fn process(&self, worker: usize) -> usize {
        self.workers[worker].process
    }

    /// Stops every worker, closes the log, and starts as many again.
    pub fn restart(&mut self, log: &TestLog) {
        for worker in &mut self.workers {
            worker.stop();
        }
        self.start_again(log);
    }

    fn start_again(&mut self, log: &TestLog) {
        log.reopen();
        for worker in 0..self.workers.len() {
            self.launch(log, worker);
        }
    }

    /// Gives one worker its turn; one that fails is replaced.
    pub fn turn(&mut self, log: &TestLog, worker: usize) -> Turn {
        let runner = self.workers[worker].runner.as_mut().expect("every worker runs");
        match runner.turn() {
            Ok(turn) => turn,
            Err(error) => {
                self.replace(log, worker, &error);
                Turn::Changed
            }
        }
    }

    /// Gives each worker its turn; tells whether none of them had anything to do.
    pub fn round(&mut self, log: &TestLog) -> bool {
        let mut idle = true;
        for worker in 0..self.workers.len() {
            idle &= self.turn(log, worker) == Turn::Idle;
        }
        idle
    }

    /// Gives turns until nobody has anything to do.
    pub fn settle(&mut self, log: &TestLog) {
        let mut idle_rounds = 0;
        for _ in 0..ROUNDS_MAX {
            idle_rounds = if self.round(log) { idle_rounds + 1 } else { 0 };
            // In a turn without records a worker may have appended ticks, which are read in the next.
            if idle_rounds == 2 {
                return;
            }
        }
        panic!("the workers do not come to rest");
    }

    /// Gives turns until so much has come out, and then some more to see that no more comes. For where time passes by
    /// itself, so that an idle worker tells nothing.
    pub fn settle_at(&mut self, log: &TestLog, decisions: usize, letters: usize) {
        let until = Instant::now() + REAL_WAIT_MAX;
        loop {
            self.round(log);
            let seen = (log.seen(&DECISIONS), log.seen(&DEAD_LETTER));
            if seen.0 >= decisions && seen.1 >= letters {
                break;
            }
            let expected = (decisions, letters);
            assert!(
                Instant::now() < until,
                "decisions and dead letters are {seen:?}, to become {expected:?}"
            );
        }
        for _ in 0..ROUNDS_AFTER {
            self.round(log);
        }
    }

    /// Lets time pass, in steps short enough that every input gets its ticks.
    pub fn pass(&mut self, log: &TestLog, span: Duration) {
        self.pass_in_steps(log, span, STEP);
    }

    fn pass_in_steps(&mut self, log: &TestLog, span: Duration, step_max: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let step = left.min(step_max);
            log.time().pass(step);
            self.settle(log);
            left -= step;
        }
    }

    /// Works a whole workload off, wave by wave, and returns what came of it.
    pub fn work(&mut self, log: &TestLog, workload: &Workload) -> Outcome {
        self.work_with(log, workload, |_, _| ())
    }

    /// The same, and calls the test when the records of a wave are there and none of them is handled.
    pub fn work_with(
        &mut self,
        log: &TestLog,
        workload: &Workload,
        mut in_wave: impl FnMut(&mut Self, &TestLog),
    ) -> Outcome {
        for (number, wave) in workload.waves.iter().enumerate() {
            if let Some(rules) = &wave.rules {
                log.publish_rules(rules);
                if !log.is_real_time() {
                    self.settle(log);
                }
            }
            log.publish(number, wave);
            in_wave(self, log);
            if log.is_real_time() {
                self.settle_at(log, workload.decisions_after(number), workload.refusals_after(number));
            } else {
                self.settle(log);
                self.pass_in_steps(log, Duration::from_millis(PAUSE_MS.unsigned_abs()), PAUSE_STEP);
            }
        }
        Outcome::read(log)
    }

    fn launch(&mut self, log: &TestLog, worker: usize) {
        let worker = &mut self.workers[worker];
        // Made anew, as a process that starts has loaded nothing yet.
        let hosting = self.deployment.hosting(worker.process);
        worker.runner = Some(log.worker(&worker.name, &hosting, &worker.interference));
    }

    fn replace(&mut self, log: &TestLog, worker: usize, error: &RunnerError) {
        self.crashes += 1;
        let error = pipeline::telemetry::describe_error(error);
        assert!(self.crashes <= CRASHES_MAX, "workers fail all the time: {error}");
        if log.is_one_process() {
            for worker in &mut self.workers {
                worker.runner = None;
            }
            self.start_again(log);
        } else {
            self.workers[worker].runner = None;
            self.launch(log, worker);
        }
    }
}

impl Worker {
    /// Stops in good order, as far as the test lets it.
    fn stop(&mut self) {
        let stop = Stop::default();
        stop.ask();
        if let Some(runner) = self.runner.take()
            && let Err(error) = runner.run(&stop)
        {
            assert!(matches!(error, RunnerError::Bus(_)), "only the bus can fail in a stop: {error}");
        }
    }
}

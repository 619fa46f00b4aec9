//! Golden tests: what operators do, as data. A case is a file with the input of an operator and, below it, the effects
//! that it is expected to have; [`check`] is the only code of such a test.
//!
//! A case is run in four ways, and all must have the same effects to the last byte: straight through; split into steps
//! at random places; stopped after each number of steps and taken up by a new process; and on disk, where that process
//! opens the log and the tables again. Time stands but where the input moves it, so that a case gives the same today
//! and on any machine.
//!
//! With `TAMIZ_BLESS=1` the expected part is written instead of compared: read the difference before you commit it.
//! Random places come from a seed that a failure names; `TAMIZ_SEED` sets it. Reading order: `case` (the file), this
//! file (the ways), `outcome` (what is compared), `layout` (how files and differences are written).

mod case;
mod layout;
mod outcome;

use crate::bus::local::{LocalBus, LocalLog};
use crate::bus::{ManualClock, WallClock};
use crate::config::Config;
use crate::host::{HostContext, Registration, join};
use crate::hosting::Hosting;
use crate::runner::{Runner, RunnerSettings, Turn};
use crate::store::{DiskLimits, DiskStore, MemoryStore, Store};
use crate::telemetry::describe_error;
use case::Case;
use outcome::Outcome;
use schemas::Codec;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Variable that makes [`check`] write the expected part.
pub const BLESS_VARIABLE: &str = "TAMIZ_BLESS";
/// Variable that sets the seed.
pub const SEED_VARIABLE: &str = "TAMIZ_SEED";
/// Records of a step, at most, where steps are cut at random.
const SPLIT_RECORDS_MAX: u64 = 4;
/// Places at which a run is stopped; a case with more steps is stopped at the first of them.
const STOPS_MAX: usize = 100;
/// Steps after which a case counts as one that never ends.
const STEPS_MAX: usize = 10_000;
/// Cases that are run at a time.
const CASES_AT_A_TIME: usize = 8;
/// No tick of the runner falls into a test.
const NEVER: Duration = Duration::from_secs(1 << 31);
const DISK: DiskLimits =
    DiskLimits { cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20, journal_bytes_max: 64 << 20 };

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs every case of a folder through operators and compares what they do with what is expected of them.
///
/// The folder is relative to the crate's own, and so are the files of data that settings name. `prepare` may put what
/// operators share into the context before they are made, as another set of rules.
///
/// # Panics
///
/// Where a case fails, with the difference; where there is no case.
#[track_caller]
pub fn check(folder: impl AsRef<Path>, operators: &[&Registration], prepare: impl Fn(&HostContext) + Sync) {
    let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(new_seed);
    let paths = case_files(folder.as_ref());
    assert!(!paths.is_empty(), "there is no case in {}", folder.as_ref().display());
    let bless = std::env::var_os(BLESS_VARIABLE).is_some_and(|value| value == "1");
    let golden = Golden { operators, prepare: &prepare, seed };
    let mut failures = golden.check_files(&paths, bless);
    failures.sort();
    let (failed, count) = (failures.len(), paths.len());
    let failures = failures.join("\n\n");
    assert!(failed == 0, "{failed} of {count} cases failed ({SEED_VARIABLE}={seed}):\n\n{failures}\n");
}

fn case_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    paths.sort();
    paths
}

struct Golden<'a> {
    operators: &'a [&'a Registration],
    prepare: &'a (dyn Fn(&HostContext) + Sync),
    seed: u64,
}

/// How a case is run.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// One step for all that there is to read.
    Straight,
    /// Steps of random length.
    Split,
    /// Steps of one record; after so many turns another process goes on.
    StoppedAfter(usize),
    /// Steps of random length on disk; after so many turns another process opens the log and goes on.
    OnDisk(usize),
}

impl Golden<'_> {
    /// Returns what failed. Several cases run at a time, because they mostly wait for the disk.
    fn check_files(&self, paths: &[PathBuf], bless: bool) -> Vec<String> {
        let check = |path: &PathBuf| match self.check_file(path, bless) {
            Ok(()) => None,
            Err(failure) => Some(format!("{}: {}", path.display(), describe_error(failure.as_ref()))),
        };
        let mut failures = Vec::new();
        for some in paths.chunks(CASES_AT_A_TIME) {
            std::thread::scope(|scope| {
                let running: Vec<_> = some.iter().map(|path| scope.spawn(move || check(path))).collect();
                for case in running {
                    failures.extend(case.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
                }
            });
        }
        failures
    }

    fn check_file(&self, path: &Path, bless: bool) -> Result<(), Failure> {
        let case = Case::read(path)?;
        let straight = self.run(&case, Way::Straight)?;
        let expected = straight.to_json();
        let (split, turns) = self.run_counting(&case, Way::Split)?;
        same(&straight, &split, Way::Split)?;
        let (_, steps) = self.run_counting(&case, Way::StoppedAfter(usize::MAX))?;
        for stop in 0..=steps.min(STOPS_MAX) {
            let way = Way::StoppedAfter(stop);
            same(&straight, &self.run(&case, way)?, way)?;
        }
        let way = Way::OnDisk(Random(self.seed).below(turns as u64 + 1) as usize);
        same(&straight, &self.run(&case, way)?, way)?;
        if bless { case.bless(path, &expected) } else { case.compare(&expected) }
    }

    fn run(&self, case: &Case, way: Way) -> Result<Outcome, Failure> {
        Ok(self.run_counting(case, way)?.0)
    }

    /// Returns what came out, and the number of turns that it took.
    fn run_counting(&self, case: &Case, way: Way) -> Result<(Outcome, usize), Failure> {
        let folder = tempfile::tempdir()?;
        let memory: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let open = || -> Result<Arc<dyn Store>, Failure> {
            match way {
                Way::OnDisk(_) => Ok(Arc::new(DiskStore::open(folder.path(), DISK)?)),
                _ => Ok(Arc::clone(&memory)),
            }
        };
        let stop = match way {
            Way::StoppedAfter(turns) | Way::OnDisk(turns) => turns,
            Way::Straight | Way::Split => usize::MAX,
        };
        let mut process = self.start(case, open()?)?;
        case.publish(&process.log, &process.clock)?;
        let mut random = Random(self.seed);
        let mut next_length = || match way {
            Way::Straight => usize::MAX,
            Way::StoppedAfter(_) => 1,
            Way::Split | Way::OnDisk(_) => random.below(SPLIT_RECORDS_MAX) as usize + 1,
        };
        let mut turns = process.work(stop, &mut next_length)?;
        if turns == stop {
            let now = process.clock.now_ms();
            // Everything of the process goes: the next one has only what was committed.
            drop(process);
            process = self.start(case, open()?)?;
            process.clock.set(now);
            turns += process.work(usize::MAX, &mut next_length)?;
        }
        Ok((Outcome::of(case, &process.log, &process.hosting)?, turns))
    }

    fn start(&self, case: &Case, store: Arc<dyn Store>) -> Result<Process, Failure> {
        let config = Config::load(None, case.settings()?.into_iter())?;
        let partitions = config.deployment.partitions;
        let context = HostContext::new(config);
        (self.prepare)(&context);
        let hosting = Arc::new(join(&context, self.operators, &[], Arc::new(Codec::new()))?);
        let clock = Arc::new(ManualClock::default());
        let log = LocalLog::open(store, Arc::clone(&clock) as Arc<dyn WallClock>, partitions, false)?;
        let bus = LocalBus::join(Arc::clone(&log), "golden", hosting.inputs(), &hosting.stateful())?;
        let runner = Runner::new(Box::new(bus), Arc::clone(&hosting), SETTINGS);
        Ok(Process { log, clock, hosting, runner })
    }
}

const SETTINGS: RunnerSettings = RunnerSettings {
    worker: 0,
    step_records_max: usize::MAX,
    poll_wait: Duration::ZERO,
    tick: NEVER,
    tick_quiet: NEVER,
    quiet_after: NEVER,
    retries_max: 1,
    retry_wait: Duration::ZERO,
};

/// What a process of its own would have.
struct Process {
    log: Arc<LocalLog>,
    clock: Arc<ManualClock>,
    hosting: Arc<Hosting>,
    runner: Runner,
}

impl Process {
    /// Works until there is nothing to read, at most so many turns; returns how many there were.
    fn work(&mut self, turns_max: usize, next_length: &mut impl FnMut() -> usize) -> Result<usize, Failure> {
        let mut turns = 0;
        while turns < turns_max {
            match self.runner.turn_of(next_length())? {
                Turn::Idle => break,
                Turn::Changed => {}
                Turn::Worked(_) => turns += 1,
            }
            if turns > STEPS_MAX {
                return Err(format!("there is still something to read after {STEPS_MAX} steps").into());
            }
        }
        Ok(turns)
    }
}

/// Compares the effects of one way with those of another, byte for byte.
fn same(straight: &Outcome, other: &Outcome, way: Way) -> Result<(), Failure> {
    if straight == other {
        return Ok(());
    }
    let (before, after) = (layout::text(&straight.to_json()), layout::text(&other.to_json()));
    if before == after {
        let place = straight.first_difference(other);
        return Err(format!("{way:?} differs from a straight run in the bytes of {place}").into());
    }
    Err(format!("{way:?} (+) differs from a straight run (-):\n{}", layout::difference(&before, &after))
        .into())
}

fn new_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    /// Returns a number below another; that it is not quite even for large ones does not matter here.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{Descriptor, Event, Operator, Reject, TimeSource};
    use crate::{Built, Step};
    use schemas::topic::{DECISIONS, SESSIONS};
    use schemas::{Decision, Key, Session};
    use std::sync::atomic::{AtomicI32, Ordering};

    /// Numbers the sessions it reads, in itself, which no operator may.
    struct Numbering {
        descriptor: Descriptor,
        read: AtomicI32,
    }

    impl Operator for Numbering {
        type Input = Arc<Session>;

        fn descriptor(&self) -> &Descriptor {
            &self.descriptor
        }

        fn on_event(&self, event: Event<Arc<Session>>, step: &mut Step<'_>) -> Result<(), Reject> {
            let revision = self.read.fetch_add(1, Ordering::Relaxed);
            let session_id = event.input.session_id.clone();
            let key = Key::of_session("default", &session_id);
            step.emit(&DECISIONS, &key, Decision { session_id, revision, ..Decision::default() });
            Ok(())
        }
    }

    fn build(_: &HostContext) -> Result<Built, Box<dyn std::error::Error + Send + Sync>> {
        let descriptor = Descriptor {
            name: "numbering",
            version: "1",
            input: &SESSIONS,
            outputs: &[&DECISIONS],
            tables: &[],
            time: TimeSource::AppendTime,
            progress_to: &[],
        };
        Ok(Built {
            operator: Arc::new(Numbering { descriptor, read: AtomicI32::new(0) }),
            libraries: Vec::new(),
        })
    }

    const NUMBERING: Registration = Registration { name: "numbering", input: &SESSIONS, build };

    /// Runs a case and returns its file as it stands afterwards, or what failed.
    fn run(text: &str, bless: bool) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("case.json");
        fs::write(&path, text).expect("a file is written");
        let golden = Golden { operators: &[&NUMBERING], prepare: &|_| {}, seed: 7 };
        golden.check_file(&path, bless).map_err(|failure| describe_error(failure.as_ref()))?;
        Ok(fs::read_to_string(&path).expect("the file is there"))
    }

    fn case(inputs: usize, expected: &str) -> String {
        let input = r#"{"topic": "sessions", "time": "2026-03-01T12:00:00Z", "value": {"session_id": "s"}}"#;
        format!(r#"{{"about": "a case", "input": [{}]{expected}}}"#, vec![input; inputs].join(","))
    }

    #[test]
    fn an_operator_with_state_of_its_own_is_found_out() {
        let failure = run(&case(2, ""), true).expect_err("the second process starts from nothing");
        assert!(failure.starts_with("StoppedAfter(1) (+) differs from a straight run (-):"), "{failure}");
        assert!(failure.contains("-         \"revision\": 1,\n+         \"revision\": 0,"), "{failure}");
    }

    #[test]
    fn what_is_blessed_is_expected_and_nothing_else_is() {
        let blessed = run(&case(1, ""), true).expect("the case is blessed");
        assert_eq!(run(&blessed, false).expect("the case is as blessed"), blessed);
        let failure = run(&blessed.replace("\"cause\": \"all_signals\"", "\"cause\": \"deadline\""), false);
        let failure = failure.expect_err("the effect is another");
        assert!(
            failure.contains("-         \"cause\": \"deadline\",\n+         \"cause\": \"all_signals\","),
            "{failure}"
        );
        let failure = run(&case(1, r#", "expected": {}"#), false).expect_err("an effect is not expected");
        assert!(failure.contains("+   \"records\": ["), "{failure}");
        let failure = run(&case(1, ""), false).expect_err("nothing is expected");
        assert!(failure.contains("nothing is expected yet"), "{failure}");
    }

    #[test]
    fn a_mistake_in_a_case_is_told() {
        let failure = |text: &str| run(text, false).expect_err("the case is refused");
        let with = |input: &str| format!(r#"{{"about": "a case", "input": [{input}]}}"#);
        assert!(failure(r#"{"about": "", "input": []}"#).contains("about is empty"));
        assert!(
            failure(&with(r#"{"topic": "x", "time": "2026-03-01T12:00:00Z"}"#))
                .contains("input 1: there is no topic")
        );
        assert!(
            failure(&with(r#"{"topic": "sessions", "time": "noon"}"#))
                .contains("input 1: \"noon\" is no time")
        );
        let ip = with(r#"{"topic": "sessions", "time": "2026-03-01T12:00:00Z", "value": {"ipp": "x"}}"#);
        assert!(failure(&ip).contains("Session.ipp: Session has no such field"));
        let setting = r#"{"about": "a case", "settings": {"runtime.worker": 1}, "input": []}"#;
        assert!(failure(setting).contains("did you mean \"workers\""));
    }
}

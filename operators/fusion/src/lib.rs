//! Fusion decides: it waits for the signals that a stage of a session leads to expect, applies the rule set in force,
//! and issues a decision with its reasons; a later stage or a late signal brings a revision.
//!
//! Stages are decided in their order, each from the signals made of it alone, so that neither the way the operators
//! are hosted nor the order in which signals arrive changes what is decided, as long as no deadline fires. Reading
//! order: [`Fusion`] (waiting and revising), [`plan`] (what to expect), [`judge`] (rules and score), [`decide`] (the
//! record), [`library`] (rule sets by hash).

mod decide;
mod judge;
mod library;
mod plan;

pub use judge::score;
pub use library::{DEFAULT_RULES, RuleLibrary, catalogue};
pub use plan::{KNOWN_SIGNALS, KnownSignal};

use decide::decision;
use pipeline::{
    Built, Descriptor, Event, Header, HostContext, Operator, Registration, Reject, SignalPort, Step,
    TableSpec, TimeSource, Timer,
};
use plan::Plan;
use rules::RuleSet;
use schemas::topic::{DECISIONS, DECISIONS_LATEST, SIGNALS};
use schemas::{
    Accepted, Cause, Decision, FusionSession, Key, LastDecision, Message, Signal, StageState, TimeMs,
};
use std::sync::Arc;

/// Name of the operator.
pub const NAME: &str = "fusion";
/// The kind of control that names the rule set in force.
pub const RULES_CONTROL: &str = "rules";
/// How long a session is kept after its last record, for late signals.
const SESSION_TTL_MS: TimeMs = 30 * 24 * 3_600_000;

static SESSIONS_TABLE: TableSpec =
    TableSpec { number: pipeline::table::FIRST_TABLE, name: "sessions", ttl_ms: Some(SESSION_TTL_MS) };

/// How a process hosts the operator.
pub const REGISTRATION: Registration = Registration { name: NAME, input: &SIGNALS, build };

fn build(context: &HostContext) -> Result<Built, Box<dyn std::error::Error + Send + Sync>> {
    let operators =
        context.config.deployment.operators.iter().filter(|name| *name != NAME).cloned().collect();
    let silence_ms = context.config.runtime.silence_ms;
    let library = context.shared(|_| Ok::<_, std::convert::Infallible>(RuleLibrary::default()))?;
    let operator = Fusion::new(FusionSettings { operators, silence_ms }, Arc::clone(&library));
    Ok(Built { operator: Arc::new(operator), libraries: vec![library] })
}

/// What fusion waits for.
#[derive(Clone, Debug)]
pub struct FusionSettings {
    /// The operators of the deployment: their progress is fusion's time, and their signals are expected.
    pub operators: Vec<String>,
    /// An operator that is silent for so long does not hold the time up any more.
    pub silence_ms: TimeMs,
}

/// The operator.
pub struct Fusion {
    descriptor: Descriptor,
    settings: FusionSettings,
    library: Arc<RuleLibrary>,
}

impl Fusion {
    /// Makes the operator over a library of rule sets.
    pub fn new(settings: FusionSettings, library: Arc<RuleLibrary>) -> Self {
        let descriptor = Descriptor {
            name: NAME,
            version: env!("CARGO_PKG_VERSION"),
            input: &SIGNALS,
            outputs: &[&DECISIONS, &DECISIONS_LATEST],
            tables: std::slice::from_ref(&SESSIONS_TABLE),
            time: TimeSource::Progress {
                operators: settings.operators.clone(),
                silence_ms: settings.silence_ms,
            },
            progress_to: &[],
        };
        Self { descriptor, settings, library }
    }

    /// Returns the rule set in force in this partition; before any was published, the built-in one.
    fn rules(&self, step: &Step<'_>) -> Arc<RuleSet> {
        self.library.get(step.control(RULES_CONTROL))
    }

    fn on_stage(&self, accepted: &Arc<Accepted>, step: &mut Step<'_>) {
        let key = Key::of_session(&accepted.tenant, &accepted.session_id);
        let mut row = session(step, &key);
        let known =
            row.stages.last().map(|stage| stage.accepted.stage).max(row.last.as_ref().map(|last| last.stage));
        if known.is_some_and(|known| accepted.stage <= known) {
            return;
        }
        let rules = self.rules(step);
        let due_at = due(accepted, &rules);
        row.stages.push(StageState { accepted: Arc::clone(accepted), due_at, ..StageState::default() });
        step.set_timer(due_at, &timer_key(&key, accepted.stage));
        self.advance(row, &key, &rules, step);
    }

    fn on_signal(&self, signal: &Arc<Signal>, step: &mut Step<'_>) {
        let key = Key::of_session(&signal.tenant, &signal.session_id);
        let mut row = session(step, &key);
        // A signal of a stage that another has replaced says nothing any more.
        let Some(stage) = row.stages.iter_mut().find(|stage| stage.accepted.stage_hash == signal.stage_hash)
        else {
            return;
        };
        match stage.signals.iter_mut().find(|known| known.name == signal.name) {
            Some(known) if known == signal => return,
            Some(known) => *known = Arc::clone(signal),
            None => stage.signals.push(Arc::clone(signal)),
        }
        let rules = self.rules(step);
        self.advance(row, &key, &rules, step);
    }

    /// Decides every stage that can be decided, the oldest first, and keeps the last for late signals.
    fn advance(&self, mut row: FusionSession, key: &Key, rules: &RuleSet, step: &mut Step<'_>) {
        while let Some(stage) = row.stages.first() {
            let followed = row.stages.len() > 1;
            match self.readiness(stage, row.last.as_ref(), followed) {
                Readiness::Waits => break,
                Readiness::Skipped => {}
                Readiness::Due(cause) => self.decide(&mut row, cause, key, rules, step),
            }
            if !followed {
                break;
            }
            let stage = row.stages.remove(0);
            step.cancel_timer(stage.due_at, &timer_key(key, stage.accepted.stage));
        }
        step.put(&SESSIONS_TABLE, key.as_bytes(), row);
    }

    fn readiness(&self, stage: &StageState, last: Option<&LastDecision>, followed: bool) -> Readiness {
        if last.is_some_and(|last| last.stage >= stage.accepted.stage) {
            // Decided, and now replaced: only a signal of its own is a reason to decide it again, not that rules changed.
            return if followed { Readiness::Skipped } else { Readiness::Due(Cause::LateSignal) };
        }
        if stage.expired {
            return Readiness::Due(Cause::Deadline);
        }
        let complete = Plan::new(&stage.accepted, &stage.signals, &self.settings.operators).is_complete();
        // A stage that said itself that more would come is not decided once more has come.
        match (stage.accepted.session.complete, followed) {
            (Some(false), true) => Readiness::Skipped,
            (Some(false), false) => Readiness::Waits,
            _ if !complete => Readiness::Waits,
            _ if last.is_some() => Readiness::Due(Cause::Stage),
            _ => Readiness::Due(Cause::AllSignals),
        }
    }

    /// Decides the oldest stage, and issues the decision where it is the first of its stage or differs from the last.
    fn decide(&self, row: &mut FusionSession, cause: Cause, key: &Key, rules: &RuleSet, step: &mut Step<'_>) {
        let Some(stage) = row.stages.first() else { return };
        let plan = Plan::new(&stage.accepted, &stage.signals, &self.settings.operators);
        if plan.is_complete() {
            step.cancel_timer(stage.due_at, &timer_key(key, stage.accepted.stage));
        }
        if let Some(decision) = decision(stage, &plan, row.last.as_ref(), cause, rules, step.append_time()) {
            row.last = Some(remembered(&decision));
            emit(decision, key, step);
        }
    }
}

/// Whether a stage can be decided.
enum Readiness {
    /// Not yet.
    Waits,
    /// It never is: a later stage takes its place.
    Skipped,
    /// Now, for this cause.
    Due(Cause),
}

impl Operator for Fusion {
    type Input = SignalPort;

    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn on_event(&self, event: Event<SignalPort>, step: &mut Step<'_>) -> Result<(), Reject> {
        match event.input {
            SignalPort::Stage(accepted) => self.on_stage(&accepted, step),
            SignalPort::Signal(signal) => self.on_signal(&signal, step),
            // The runtime has already put the rule set in force.
            SignalPort::Marker(_) => {}
        }
        Ok(())
    }

    fn on_timer(&self, timer: &Timer, step: &mut Step<'_>) -> Result<(), Reject> {
        let Some((key, number)) = read_timer_key(&timer.key) else {
            return Err(Reject::new("damaged_timer", "a timer's key is too short"));
        };
        let mut row = session(step, &key);
        let Some(stage) = row.stages.iter_mut().find(|stage| stage.accepted.stage == number) else {
            return Ok(());
        };
        if row.last.as_ref().is_some_and(|last| last.stage >= number) {
            return Ok(());
        }
        stage.expired = true;
        let rules = self.rules(step);
        self.advance(row, &key, &rules, step);
        Ok(())
    }
}

fn session(step: &mut Step<'_>, key: &Key) -> FusionSession {
    let row = step.get::<FusionSession>(&SESSIONS_TABLE, key.as_bytes());
    row.map(Arc::unwrap_or_clone).unwrap_or_default()
}

/// Returns when a stage is decided at the latest: the deadline counts from the session's opening, and for a stage that
/// comes after it, from the stage.
fn due(accepted: &Accepted, rules: &RuleSet) -> TimeMs {
    let deadline_ms = rules.policy(&accepted.tenant).deadline_ms;
    let from_opening = accepted.opened_at.saturating_add(deadline_ms);
    if accepted.append_time < from_opening {
        from_opening
    } else {
        accepted.append_time.saturating_add(deadline_ms)
    }
}

fn remembered(decision: &Decision) -> LastDecision {
    LastDecision {
        revision: decision.revision,
        decision_id: decision.decision_id.clone(),
        stage: decision.stage,
        complete: decision.complete,
        decision: decision.decision,
        risk_score: decision.risk_score,
        next_action: decision.next_action,
        codes: decision.reasons.iter().map(|reason| reason.code.clone()).collect(),
        not_evaluated: decision
            .not_evaluated
            .iter()
            .map(|signal| format!("{} {}", signal.signal, signal.status))
            .collect(),
        rule_set: decision.rule_set.clone(),
    }
}

fn emit(decision: Decision, key: &Key, step: &mut Step<'_>) {
    let headers = vec![
        Header::new("decision", decision.decision.as_str()),
        Header::new("revision", decision.revision.to_string()),
        Header::new("tenant", decision.tenant.as_str()),
        Header::new("cause", decision.cause.as_str()),
    ];
    let message = Message::from(decision);
    step.emit_with_headers(&DECISIONS, key, message.clone(), headers.clone());
    step.emit_with_headers(&DECISIONS_LATEST, key, message, headers);
}

fn timer_key(key: &Key, stage: i32) -> Vec<u8> {
    [stage.to_be_bytes().as_slice(), key.as_bytes()].concat()
}

fn read_timer_key(bytes: &[u8]) -> Option<(Key, i32)> {
    let (stage, key) = bytes.split_first_chunk::<4>()?;
    Some((Key::from_bytes(key), i32::from_be_bytes(*stage)))
}

//! The decision record: what was decided of a stage, why, and what differs from the revision before.

use crate::judge::{Judgement, judge};
use crate::plan::Plan;
use rules::RuleSet;
use schemas::{Cause, Decision, Key, LastDecision, Outcome, Signal, SignalReport, StageState, Text, TimeMs};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Bytes of a decision's id.
const ID_BYTES: usize = 16;
/// Reasons that a recommendation names.
const NAMED_REASONS_MAX: usize = 3;

/// Decides a stage; nothing where a late signal leaves the answer as it was.
pub(crate) fn decision(
    stage: &StageState,
    plan: &Plan<'_>,
    last: Option<&LastDecision>,
    cause: Cause,
    rules: &RuleSet,
    decided_at: TimeMs,
) -> Option<Decision> {
    let judgement = judge(&stage.accepted, plan, rules);
    let mut decision = record(stage, plan, &judgement, rules);
    decision.changed = last.map(|last| changes(last, &decision)).unwrap_or_default();
    if cause == Cause::LateSignal && decision.changed.is_empty() {
        return None;
    }
    decision.revision = last.map_or(0, |last| last.revision) + 1;
    decision.decision_id = decision_id(&decision.tenant, &decision.session_id, decision.revision);
    decision.supersedes = last.map(|last| last.decision_id.clone());
    decision.previous_decision = last.map(|last| last.decision);
    decision.cause = cause;
    decision.decided_at = decided_at;
    Some(decision)
}

/// Returns the id of a decision: a hash of tenant, session and revision, so that the same decision has the same id
/// however often and wherever it is made.
fn decision_id(tenant: &str, session_id: &str, revision: i32) -> String {
    let mut hash = Sha256::new();
    hash.update(Key::of_session(tenant, session_id).as_bytes());
    hash.update(revision.to_be_bytes());
    schemas::hex(&hash.finalize()[..ID_BYTES])
}

fn record(stage: &StageState, plan: &Plan<'_>, judgement: &Judgement, rules: &RuleSet) -> Decision {
    let accepted = &stage.accepted;
    let session = &accepted.session;
    Decision {
        tenant: accepted.tenant.clone(),
        session_id: accepted.session_id.clone(),
        account_id: session.account_id.as_ref().unwrap_or(&accepted.session_id).clone(),
        external_id: session.external_id.clone(),
        request_id: session.request_id.clone(),
        reference: session.reference.clone(),
        referring_session_id: session.referring_session_id.clone(),
        complete: plan.is_complete(),
        decision: judgement.outcome,
        risk_score: judgement.risk_score,
        next_action: judgement.next_action,
        reasons: judgement.reasons.clone(),
        risk_flags: judgement.risk_flags.clone(),
        recommendation: recommendation(judgement, plan),
        not_evaluated: plan.not_evaluated(),
        undecided_rules: judgement.undecided.clone(),
        signals: plan.present.iter().map(|signal| report(signal)).collect(),
        stage: accepted.stage,
        stage_hash: accepted.stage_hash.clone(),
        rule_set: rules.hash().to_owned(),
        data: data(&plan.present),
        event_time: session.event_time,
        subject_id: accepted.subject_id.clone(),
        ..Decision::default()
    }
}

fn report(signal: &Signal) -> SignalReport {
    SignalReport {
        name: signal.name.clone(),
        status: signal.status,
        reason: signal.reason.clone(),
        operator: signal.operator.clone(),
        operator_version: signal.operator_version.clone(),
        body: signal.body.clone(),
    }
}

fn data(signals: &[&Signal]) -> BTreeMap<String, String> {
    signals
        .iter()
        .flat_map(|signal| signal.data.iter())
        .map(|(name, hash)| (name.clone(), hash.clone()))
        .collect()
}

/// Returns what differs from the decision before, by field; `inputs` where a later stage was judged.
fn changes(last: &LastDecision, now: &Decision) -> Vec<String> {
    let codes: Vec<&str> = now.reasons.iter().map(|reason| reason.code.as_str()).collect();
    let not_evaluated = now.not_evaluated.iter().map(|signal| format!("{} {}", signal.signal, signal.status));
    let differs = [
        ("inputs", last.stage != now.stage),
        ("decision", last.decision != now.decision),
        ("risk_score", last.risk_score != now.risk_score),
        ("next_action", last.next_action != now.next_action),
        ("reasons", last.codes != codes),
        ("not_evaluated", !last.not_evaluated.iter().cloned().eq(not_evaluated)),
        ("complete", last.complete != now.complete),
    ];
    let mut changes: Vec<String> =
        differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect();
    // Another rule set that gives the same answer is no change of the answer.
    if !changes.is_empty() && last.rule_set != now.rule_set {
        changes.push("rule_set".to_owned());
    }
    changes
}

fn recommendation(judgement: &Judgement, plan: &Plan<'_>) -> Text {
    let named = judgement.reasons.iter().take(NAMED_REASONS_MAX);
    let codes: Vec<&str> = named.map(|reason| reason.code.as_str()).collect();
    let codes = codes.join(", ");
    let (mut en, mut es) = match judgement.outcome {
        Outcome::Pass if codes.is_empty() => {
            ("Approve: no rule fired.".to_owned(), "Aprobar: no se activó ninguna regla.".to_owned())
        }
        Outcome::Pass => (
            format!("Approve: only weak evidence ({codes})."),
            format!("Aprobar: solo hay indicios débiles ({codes})."),
        ),
        Outcome::Review => (
            format!("Let a person look at it ({codes}); do not reject on this alone."),
            format!("Requiere la revisión de una persona ({codes}); no rechazar solo por esto."),
        ),
        Outcome::Flag => {
            (format!("Hold and investigate ({codes})."), format!("Retener e investigar ({codes})."))
        }
    };
    if !plan.is_complete() {
        let missing = plan.missing.join(", ");
        en.push_str(&format!(" Decided without: {missing}."));
        es.push_str(&format!(" Decidido sin: {missing}."));
    }
    Text { en, es }
}

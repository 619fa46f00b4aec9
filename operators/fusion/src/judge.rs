//! Rules and score: from the fused values of a stage to an outcome.

use crate::plan::Plan;
use rules::{Evaluation, Facts, Fired, OwnedValue, Policy, RuleSet, Slot, Value};
use schemas::{Accepted, LeafValue, NextAction, Outcome, Reason, Scalar, Severity, Text};
use std::collections::BTreeMap;

/// Code of the reason that a signal which the policy requires is not there.
pub(crate) const REQUIRED_SIGNAL_MISSING: &str = "REQUIRED_SIGNAL_MISSING";

/// What the rules say of a stage.
pub(crate) struct Judgement {
    pub outcome: Outcome,
    pub risk_score: f64,
    pub next_action: NextAction,
    /// Heaviest first.
    pub reasons: Vec<Reason>,
    pub risk_flags: Vec<String>,
    pub undecided: Vec<schemas::UndecidedRule>,
}

struct Fused<'a>(Vec<LeafValue<'a>>);

impl Facts for Fused<'_> {
    fn value(&self, slot: Slot) -> Value<'_> {
        match self.0.get(slot) {
            Some(LeafValue::Bool(value)) => Value::Bool(*value),
            Some(LeafValue::Int(value)) => Value::Int(*value),
            Some(LeafValue::Double(value)) => Value::Double(*value),
            Some(LeafValue::Text(value)) => Value::Text(value),
            Some(LeafValue::TextList(value)) => Value::TextList(value),
            Some(LeafValue::Unknown) | None => Value::Unknown,
        }
    }
}

/// Applies a rule set to a stage and its signals.
pub(crate) fn judge(accepted: &Accepted, plan: &Plan<'_>, rules: &RuleSet) -> Judgement {
    let body = |name: &str| {
        plan.present.iter().find(|signal| signal.name == name).and_then(|signal| signal.body.as_ref())
    };
    let evaluation = rules.evaluate(&accepted.tenant, &Fused(accepted.fused(body)));
    let policy = rules.policy(&accepted.tenant);
    let mut reasons: Vec<Reason> = evaluation.fired.iter().map(reason).collect();
    reasons.extend(required_signals(plan, policy));
    reasons.sort_by(|a, b| {
        let heaviest =
            (b.severity, b.weight).partial_cmp(&(a.severity, a.weight)).unwrap_or(std::cmp::Ordering::Equal);
        heaviest.then_with(|| a.code.cmp(&b.code))
    });
    let raw = score(reasons.iter().map(|reason| reason.weight));
    let outcome = outcome(&reasons, raw, policy);
    Judgement {
        outcome,
        risk_score: banded(raw, outcome, policy),
        next_action: next_action(outcome, &evaluation),
        risk_flags: flags(&evaluation),
        undecided: undecided(&evaluation),
        reasons,
    }
}

/// Returns the risk score of independent pieces of evidence, 0 to 100: 100 · (1 − ∏(1 − weight)), the chance that at
/// least one of them holds where each holds with its weight ("noisy or": J. Pearl, *Probabilistic Reasoning in
/// Intelligent Systems*, 1988, section 4.3.2).
pub fn score(weights: impl Iterator<Item = f64>) -> f64 {
    100.0 * (1.0 - weights.map(|weight| 1.0 - weight.clamp(0.0, 1.0)).product::<f64>())
}

fn outcome(reasons: &[Reason], raw: f64, policy: &Policy) -> Outcome {
    match reasons.iter().map(|reason| reason.severity).max() {
        Some(Severity::Flag) => Outcome::Flag,
        Some(Severity::Review) => Outcome::Review,
        // Evidence alone, however much of it, asks for a person and never decides against one.
        _ if raw >= policy.review_score_min => Outcome::Review,
        _ => Outcome::Pass,
    }
}

/// Brings a score into the band of its outcome, rounded to one decimal, so that the two never contradict each other.
fn banded(raw: f64, outcome: Outcome, policy: &Policy) -> f64 {
    const STEP: f64 = 0.1;
    let (least, most) = match outcome {
        Outcome::Pass => (0.0, policy.review_score_min - STEP),
        Outcome::Review => (policy.review_score_min, policy.flag_score_min - STEP),
        Outcome::Flag => (policy.flag_score_min, 100.0),
    };
    let rounded = |value: f64| (value * 10.0).round() / 10.0;
    rounded(raw.clamp(least, most.max(least)))
}

fn next_action(outcome: Outcome, evaluation: &Evaluation<'_>) -> NextAction {
    let asked = evaluation.fired.iter().max_by_key(|fired| (fired.severity, fired.weight_hundredths));
    let asked =
        asked.and_then(|fired| fired.next_action).and_then(|action| NextAction::parse(action.as_str()));
    match (outcome, asked) {
        (Outcome::Pass, _) => NextAction::Approve,
        (Outcome::Flag, _) => NextAction::Hold,
        // Neither approval nor a hold fits a review, whatever a rule asks for.
        (Outcome::Review, Some(action)) if !matches!(action, NextAction::Approve | NextAction::Hold) => {
            action
        }
        (Outcome::Review, _) => NextAction::ManualReview,
    }
}

fn reason(fired: &Fired<'_>) -> Reason {
    Reason {
        code: fired.code.to_owned(),
        severity: match fired.severity {
            rules::Severity::Evidence => Severity::Evidence,
            rules::Severity::Review => Severity::Review,
            rules::Severity::Flag => Severity::Flag,
        },
        weight: f64::from(fired.weight_hundredths) / 100.0,
        text: Text { en: fired.text_en.clone(), es: fired.text_es.clone() },
        values: fired.values.iter().map(|(name, value)| ((*name).to_owned(), scalar(value))).collect(),
    }
}

fn scalar(value: &OwnedValue) -> Scalar {
    match value {
        OwnedValue::Unknown => Scalar::Null,
        OwnedValue::Bool(value) => Scalar::Bool(*value),
        OwnedValue::Int(value) => Scalar::Long(*value),
        OwnedValue::Double(value) => Scalar::Double(*value),
        OwnedValue::Text(value) => Scalar::Text(value.clone()),
        OwnedValue::TextList(values) => Scalar::Text(values.join(", ")),
    }
}

/// Returns a reason for review where a signal that the policy requires holds no values: nobody passes by leaving
/// things out.
fn required_signals(plan: &Plan<'_>, policy: &Policy) -> Option<Reason> {
    let lacking: Vec<&str> =
        policy.required_signals.iter().map(String::as_str).filter(|name| !plan.is_ok(name)).collect();
    if lacking.is_empty() {
        return None;
    }
    let names = lacking.join(", ");
    Some(Reason {
        code: REQUIRED_SIGNAL_MISSING.to_owned(),
        severity: Severity::Review,
        weight: 0.0,
        text: Text {
            en: format!("Required signals are missing: {names}."),
            es: format!("Faltan señales requeridas: {names}."),
        },
        values: BTreeMap::from([("signals".to_owned(), Scalar::Text(names))]),
    })
}

fn flags(evaluation: &Evaluation<'_>) -> Vec<String> {
    let mut flags: Vec<String> = Vec::new();
    for flag in evaluation.fired.iter().filter_map(|fired| fired.risk_flag) {
        if !flags.iter().any(|known| known == flag) {
            flags.push(flag.to_owned());
        }
    }
    flags
}

fn undecided(evaluation: &Evaluation<'_>) -> Vec<schemas::UndecidedRule> {
    let rule = |undecided: &rules::Undecided<'_>| {
        let missing = undecided.missing.iter().map(|name| (*name).to_owned());
        let undefined = undecided.undefined.iter().map(|undefined| undefined.as_str().to_owned());
        schemas::UndecidedRule {
            code: undecided.rule.to_owned(),
            missing: missing.chain(undefined).collect(),
        }
    };
    evaluation.unknown.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        RuleSet::load("name = \"empty\"\n", crate::catalogue())
            .expect("an empty rule set is legal")
            .policy("t")
            .clone()
    }

    fn fired(severity: Severity, weight: f64) -> Reason {
        Reason { severity, weight, ..Reason::default() }
    }

    #[test]
    fn the_score_is_the_noisy_or_of_the_weights() {
        assert_eq!(score([].into_iter()), 0.0);
        assert!((score([0.5].into_iter()) - 50.0).abs() < 1e-9);
        assert!((score([0.5, 0.5].into_iter()) - 75.0).abs() < 1e-9);
        assert!((score([0.9, 0.25].into_iter()) - 92.5).abs() < 1e-9);
    }

    #[test]
    fn the_score_never_contradicts_the_outcome() {
        let policy = policy();
        for raw in [0.0, 12.34, 29.96, 30.0, 69.99, 70.0, 100.0] {
            let (pass, review, flag) = (
                banded(raw, Outcome::Pass, &policy),
                banded(raw, Outcome::Review, &policy),
                banded(raw, Outcome::Flag, &policy),
            );
            assert!(pass < policy.review_score_min, "{raw}: {pass}");
            assert!(review >= policy.review_score_min && review < policy.flag_score_min, "{raw}: {review}");
            assert!((policy.flag_score_min..=100.0).contains(&flag), "{raw}: {flag}");
        }
        assert_eq!(banded(12.34, Outcome::Pass, &policy), 12.3);
    }

    #[test]
    fn evidence_alone_asks_for_a_person_and_never_flags() {
        let policy = policy();
        assert_eq!(outcome(&[fired(Severity::Evidence, 0.1)], 10.0, &policy), Outcome::Pass);
        assert_eq!(outcome(&[fired(Severity::Evidence, 0.99)], 99.0, &policy), Outcome::Review);
        assert_eq!(outcome(&[fired(Severity::Review, 0.01)], 1.0, &policy), Outcome::Review);
        assert_eq!(outcome(&[fired(Severity::Flag, 0.01)], 1.0, &policy), Outcome::Flag);
    }
}

use super::time::time_to_text;
use crate::{Decision, Reason, SignalBody, SignalReport, TimeMs, session_leaves};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Returns a decision in the form that consumers read; absent values are null, so that every decision has the same
/// members.
pub fn decision_to_json(decision: &Decision) -> Value {
    json!({
        "tenant": decision.tenant,
        "session_id": decision.session_id,
        "account_id": decision.account_id,
        "external_id": decision.external_id,
        "request_id": decision.request_id,
        "reference": decision.reference,
        "referring_session_id": decision.referring_session_id,
        "decision_id": decision.decision_id,
        "revision": decision.revision,
        "supersedes": decision.supersedes,
        "complete": decision.complete,
        "cause": decision.cause,
        "previous_decision": decision.previous_decision,
        "changed": decision.changed,
        "decision": decision.decision,
        "risk_score": rounded(decision.risk_score, 10.0),
        "next_action": decision.next_action,
        "reasons": decision.reasons.iter().map(reason_to_json).collect::<Vec<_>>(),
        "risk_flags": decision.risk_flags,
        "recommendation": decision.recommendation,
        "not_evaluated": decision.not_evaluated,
        "undecided_rules": decision.undecided_rules,
        "signals": signals_to_json(&decision.signals),
        "stage": decision.stage,
        "stage_hash": decision.stage_hash,
        "rule_set": decision.rule_set,
        "data": decision.data,
        "event_time": decision.event_time.map(time_to_json),
        "decided_at": time_to_json(decision.decided_at),
    })
}

fn reason_to_json(reason: &Reason) -> Value {
    json!({
        "code": reason.code,
        "severity": reason.severity,
        "weight": rounded(reason.weight, 100.0),
        "text": reason.text,
        "values": reason.values,
    })
}

fn signals_to_json(signals: &[SignalReport]) -> Map<String, Value> {
    signals.iter().map(|signal| (signal.name.clone(), report_to_json(signal))).collect()
}

fn report_to_json(signal: &SignalReport) -> Value {
    let mut members = Map::new();
    members.insert("status".into(), signal.status.as_str().into());
    if let Some(reason) = &signal.reason {
        members.insert("reason".into(), reason.as_str().into());
    }
    members.insert("operator".into(), signal.operator.as_str().into());
    members.insert("operator_version".into(), signal.operator_version.as_str().into());
    members.extend(body_to_json(&signal.name, signal.body.as_ref()));
    Value::Object(members)
}

/// Returns the values of a signal under their names; those of one that could not be made are all null.
pub(super) fn body_to_json(signal: &str, body: Option<&SignalBody>) -> Map<String, Value> {
    /// Names of each signal's values.
    static NAMES: LazyLock<HashMap<&'static str, Vec<String>>> = LazyLock::new(names);
    let tagged = body.and_then(|body| serde_json::to_value(body).ok());
    // An enum serializes as an object with one member: the name of the record, and the record.
    let record = match tagged {
        Some(Value::Object(tagged)) => tagged.into_iter().next().map(|(_, record)| record),
        _ => None,
    };
    match record {
        Some(Value::Object(members)) => members,
        _ => NAMES.get(signal).into_iter().flatten().map(|name| (name.clone(), Value::Null)).collect(),
    }
}

fn names() -> HashMap<&'static str, Vec<String>> {
    let mut names: HashMap<&'static str, Vec<String>> = HashMap::new();
    for leaf in session_leaves() {
        let mut segments = leaf.name.split('.');
        let (Some(first), Some(second)) = (segments.next(), segments.next()) else { continue };
        let Some(signal) = SignalBody::NAMES.iter().find(|name| **name == first) else { continue };
        let known = names.entry(signal).or_default();
        if known.last().is_none_or(|last| last != second) {
            known.push(second.to_owned());
        }
    }
    names
}

/// Returns a time as its text, or as the number where it has none.
pub(super) fn time_to_json(time: TimeMs) -> Value {
    time_to_text(time).map_or_else(|| time.into(), Value::from)
}

/// Rounds to tenths (`parts` 10) or hundredths (100), so that sums of doubles do not show.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;
    use std::collections::BTreeMap;

    fn decision() -> Decision {
        Decision {
            tenant: "acme".into(),
            session_id: "s-1".into(),
            account_id: "a-1".into(),
            decision_id: "d-1".into(),
            revision: 1,
            complete: true,
            decision: Outcome::Flag,
            risk_score: 100.0 * (1.0 - (1.0 - 0.9) * (1.0 - 0.2)) - 4.5,
            next_action: NextAction::Hold,
            reasons: vec![Reason {
                code: "LOCATION_INSIDE_PRISON".into(),
                severity: Severity::Flag,
                weight: 0.3 * 3.0,
                text: Text { en: "Inside.".into(), es: "Dentro.".into() },
                values: BTreeMap::from([
                    ("a".into(), Scalar::Null),
                    ("b".into(), Scalar::Bool(true)),
                    ("c".into(), Scalar::Long(7)),
                    ("d".into(), Scalar::Double(0.5)),
                    ("e".into(), Scalar::Text("x".into())),
                ]),
            }],
            undecided_rules: vec![UndecidedRule { code: "IP_TOR".into(), missing: vec!["ip.tor".into()] }],
            signals: vec![
                SignalReport {
                    name: "ip".into(),
                    operator: "ip-intel".into(),
                    operator_version: "1".into(),
                    body: Some(SignalBody::IpSignal(IpSignal { tor: Some(true), ..IpSignal::default() })),
                    ..SignalReport::default()
                },
                SignalReport {
                    name: "geo".into(),
                    status: SignalStatus::Failed,
                    reason: Some("no data".into()),
                    ..SignalReport::default()
                },
            ],
            rule_set: "sha256:00".into(),
            event_time: Some(1_772_366_400_000),
            decided_at: 1_772_366_400_250,
            ..Decision::default()
        }
    }

    #[test]
    fn members_stand_in_the_documented_order() {
        let json = decision_to_json(&decision());
        let names: Vec<&str> =
            json.as_object().expect("a decision is an object").keys().map(String::as_str).collect();
        let expected = "tenant session_id account_id external_id request_id reference referring_session_id decision_id \
            revision supersedes complete cause previous_decision changed decision risk_score next_action reasons \
            risk_flags recommendation not_evaluated undecided_rules signals stage stage_hash rule_set data event_time \
            decided_at";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn values_read_as_documented() {
        let json = decision_to_json(&decision());
        let member = |pointer: &str| json.pointer(pointer).map(Value::to_string).unwrap_or_default();
        for (pointer, text) in [
            ("/risk_score", "87.5"),
            ("/decision", "\"flag\""),
            ("/cause", "\"all_signals\""),
            ("/next_action", "\"hold\""),
            ("/previous_decision", "null"),
            ("/reasons/0/weight", "0.9"),
            ("/reasons/0/severity", "\"flag\""),
            ("/reasons/0/text", r#"{"en":"Inside.","es":"Dentro."}"#),
            ("/reasons/0/values", r#"{"a":null,"b":true,"c":7,"d":0.5,"e":"x"}"#),
            ("/undecided_rules", r#"[{"code":"IP_TOR","missing":["ip.tor"]}]"#),
            ("/signals/ip/status", "\"ok\""),
            ("/signals/ip/reason", ""),
            ("/signals/ip/tor", "true"),
            ("/signals/ip/vpn", "null"),
            (
                "/signals/geo",
                r#"{"status":"failed","reason":"no data","operator":"","operator_version":"","location":null,"address":null,"address_location_distance_m":null}"#,
            ),
            ("/event_time", "\"2026-03-01T12:00:00.000Z\""),
            ("/decided_at", "\"2026-03-01T12:00:00.250Z\""),
        ] {
            assert_eq!(member(pointer), text, "{pointer}");
        }
    }

    /// Flattened values shall not hide what is said of the signal itself.
    #[test]
    fn no_value_of_a_signal_has_a_name_of_the_report() {
        for (signal, values) in names() {
            for name in ["status", "reason", "operator", "operator_version"] {
                assert!(!values.iter().any(|value| value == name), "{signal}.{name}");
            }
        }
        assert_eq!(names().len(), SignalBody::NAMES.len());
    }

    #[test]
    fn an_absent_body_has_the_members_of_a_present_one() {
        let members = |body: Option<SignalBody>, signal: &str| body_to_json(signal, body.as_ref());
        assert_eq!(members(None, "ip"), members(Some(IpSignal::default().into()), "ip"));
        assert_eq!(members(None, "geo"), members(Some(GeoSignal::default().into()), "geo"));
        assert!(members(None, "nothing").is_empty());
    }
}

//! What to expect of a stage: the signals that its inputs lead to, those that are there, and those that are not.

use schemas::{Accepted, NotEvaluated, Session, Signal, SignalStatus};
use std::sync::Arc;

/// A signal that a deployment can make.
pub struct KnownSignal {
    /// Its name.
    pub name: &'static str,
    /// The operator that makes it.
    pub operator: &'static str,
    /// Tells whether a session holds what it is made from; the operator makes it exactly then.
    pub applies: fn(&Session) -> bool,
    /// What a session lacks to which it does not apply.
    pub lack: &'static str,
}

/// Every signal, one entry an operator.
pub const KNOWN_SIGNALS: &[KnownSignal] = &[
    KnownSignal {
        name: "ip",
        operator: "ip-intel",
        applies: has_address,
        lack: "the session has no IP address",
    },
    KnownSignal {
        name: "geo",
        operator: "geo-risk",
        applies: has_position,
        lack: "the session has no coordinates",
    },
];

fn has_address(session: &Session) -> bool {
    session.ip.is_some()
}

fn has_position(session: &Session) -> bool {
    let places = [&session.location, &session.address];
    places.into_iter().flatten().any(|place| place.lat.is_some() && place.lng.is_some())
}

/// The signals of a stage against what is expected of it.
pub(crate) struct Plan<'a> {
    /// The signals that are there, in the order of [`KNOWN_SIGNALS`].
    pub present: Vec<&'a Signal>,
    /// Those that are expected and not there yet.
    pub missing: Vec<&'static str>,
    /// Those that nobody makes: not part of the deployment, or without anything to be made from.
    absent: Vec<NotEvaluated>,
}

impl<'a> Plan<'a> {
    /// Compares what is there with what is expected.
    pub fn new(accepted: &Accepted, signals: &'a [Arc<Signal>], operators: &[String]) -> Self {
        let mut plan = Self { present: Vec::new(), missing: Vec::new(), absent: Vec::new() };
        for known in KNOWN_SIGNALS {
            let absent = |status: &str, reason: &str| NotEvaluated {
                signal: known.name.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
            };
            if let Some(signal) = signals.iter().find(|signal| signal.name == known.name) {
                plan.present.push(signal);
            } else if !operators.iter().any(|operator| operator == known.operator) {
                plan.absent.push(absent("not_configured", "its operator is not part of this deployment"));
            } else if !(known.applies)(&accepted.session) {
                plan.absent.push(absent("not_applicable", known.lack));
            } else {
                plan.missing.push(known.name);
            }
        }
        plan
    }

    /// Tells whether every expected signal is there.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Returns the signals that a decision has to do without, and why.
    pub fn not_evaluated(&self) -> Vec<NotEvaluated> {
        let mut signals: Vec<NotEvaluated> = Vec::new();
        for signal in self.present.iter().filter(|signal| signal.status != SignalStatus::Ok) {
            signals.push(NotEvaluated {
                signal: signal.name.clone(),
                status: signal.status.as_str().to_owned(),
                reason: signal.reason.clone(),
            });
        }
        signals.extend(self.missing.iter().map(|name| NotEvaluated {
            signal: (*name).to_owned(),
            status: "missing".to_owned(),
            reason: Some("it had not come by the deadline".to_owned()),
        }));
        signals.extend(self.absent.iter().cloned());
        signals.sort_by(|a, b| a.signal.cmp(&b.signal));
        signals
    }

    /// Tells whether a signal was made and holds values.
    pub fn is_ok(&self, name: &str) -> bool {
        self.present.iter().any(|signal| signal.name == name && signal.status == SignalStatus::Ok)
    }
}

//! What to expect of a stage: the signals that its inputs lead to, those that are there, and those that are not.

use schemas::{Accepted, NotEvaluated, Session, Signal, SignalStatus};

/// Every signal that a deployment can make: its name, what it needs of a session, and that in words.
pub const KNOWN_SIGNALS: &[(&str, fn(&Session) -> bool, &str)] =
    &[("ip", has_address, "the session has no IP address"), ("geo", has_position, "the session has no coordinates")];

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
    pub fn new(accepted: &Accepted, signals: &'a [Signal], deployed: &[String]) -> Self {
        let mut plan = Self { present: Vec::new(), missing: Vec::new(), absent: Vec::new() };
        for (name, applies, lack) in KNOWN_SIGNALS {
            let absent = |status: &str, reason: &str| NotEvaluated {
                signal: (*name).to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
            };
            if let Some(signal) = signals.iter().find(|signal| signal.name == *name) {
                plan.present.push(signal);
            } else if !deployed.iter().any(|deployed| deployed == name) {
                plan.absent.push(absent("not_configured", "its operator is not part of this deployment"));
            } else if !applies(&accepted.session) {
                plan.absent.push(absent("not_applicable", lack));
            } else {
                plan.missing.push(name);
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

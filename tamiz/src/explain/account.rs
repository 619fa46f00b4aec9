//! One decision, told from its JSON form: the outcome first, then why, then what was missing, then everything else.

use super::Language;
use super::phrases::{Phrases, meaning};
use crate::text::{Style, plain, wrapped};
use anyhow::Result;
use schemas::session_leaves;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Members of a signal that say something of the signal itself.
const REPORT_MEMBERS: &[&str] = &["status", "reason", "operator", "operator_version"];
/// Least difference of two scores that shows, since they are told with one decimal.
const SCORE_DIFFERENCE_MIN: f64 = 0.05;

/// Writes the account of a decision.
pub(super) fn write(
    decision: &Value,
    revisions: &[Value],
    language: Language,
    style: Style,
    out: &mut dyn Write,
) -> Result<()> {
    let mut account = Account { decision, phrases: Phrases::of(language), style, out };
    account.summary(revisions)?;
    account.reasons()?;
    account.score()?;
    account.without()?;
    account.undecided()?;
    account.signals()?;
    account.versions()?;
    account.revisions(revisions)?;
    Ok(())
}

struct Account<'a> {
    decision: &'a Value,
    phrases: &'static Phrases,
    style: Style,
    out: &'a mut dyn Write,
}

impl Account<'_> {
    fn summary(&mut self, revisions: &[Value]) -> io::Result<()> {
        let (phrases, decision) = (self.phrases, self.decision);
        let outcome = text(decision, "decision");
        let headline = self.style.outcome(&outcome, &self.style.bold(meaning(phrases.outcomes, &outcome)));
        let score = decision["risk_score"].as_f64().unwrap_or_default();
        writeln!(self.out, "{headline}  {} {score:.1} {}", phrases.risk, phrases.of_hundred)?;
        let session = format!(
            "{} {}, {} {}, {} {}",
            phrases.session,
            text(decision, "session_id"),
            phrases.tenant,
            text(decision, "tenant"),
            phrases.account,
            text(decision, "account_id")
        );
        writeln!(self.out, "{}", wrapped("", &session))?;
        writeln!(
            self.out,
            "{}\n",
            wrapped("", &plain(decision["recommendation"][phrases.code].as_str().unwrap_or("")))
        )?;
        let last = revisions.iter().filter_map(|revision| revision["revision"].as_u64()).max();
        let decided = format!(
            "{}, {} {} {} {}",
            text(decision, "decided_at"),
            phrases.revision,
            decision["revision"],
            phrases.of,
            last.unwrap_or(1)
        );
        self.fact(phrases.next_step, meaning(phrases.next_actions, &text(decision, "next_action")))?;
        self.fact(phrases.decided, &decided)?;
        self.fact(phrases.occasion, meaning(phrases.causes, &text(decision, "cause")))?;
        self.fact(phrases.event_time, &text(decision, "event_time"))?;
        let echoed = ["external_id", "request_id", "reference", "referring_session_id"].into_iter();
        let echoed = echoed.filter(|name| decision[name].is_string());
        let echoed: Vec<String> = echoed.map(|name| format!("{name} {}", text(decision, name))).collect();
        self.fact(phrases.echoed, &echoed.join(", "))?;
        let flags = list(&decision["risk_flags"]).iter().filter_map(Value::as_str);
        self.fact(phrases.flags, &plain(&flags.collect::<Vec<_>>().join(", ")))
    }

    /// Writes a line with a name, unless there is nothing to say.
    fn fact(&mut self, name: &str, text: &str) -> io::Result<()> {
        const NAME_CHARS: usize = 17;
        if text.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "{}", wrapped(&format!("  {name:<NAME_CHARS$}"), text))
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "\n{}", self.style.bold(text))
    }

    fn reasons(&mut self) -> io::Result<()> {
        let (phrases, decision) = (self.phrases, self.decision);
        self.heading(phrases.why)?;
        let reasons = list(&decision["reasons"]);
        if reasons.is_empty() {
            return writeln!(self.out, "  {}", phrases.no_reasons);
        }
        for (number, reason) in (1..).zip(reasons) {
            let severity = text(reason, "severity");
            let first = format!("  {number}. ");
            let indent = " ".repeat(first.chars().count());
            writeln!(
                self.out,
                "{}",
                wrapped(&first, &plain(reason["text"][phrases.code].as_str().unwrap_or("")))
            )?;
            let code = self.style.outcome(&severity, &text(reason, "code"));
            let weight = reason["weight"].as_f64().unwrap_or_default();
            writeln!(
                self.out,
                "{indent}{code}, {}, {} {weight:.2}",
                meaning(phrases.severities, &severity),
                phrases.weight
            )?;
            let values = reason["values"].as_object();
            let values: Vec<String> =
                values.into_iter().flatten().map(|(name, value)| self.value(name, value)).collect();
            if !values.is_empty() {
                let lead = format!("{indent}{}: ", phrases.seen);
                writeln!(self.out, "{}", self.style.dim(&wrapped(&lead, &values.join(", "))))?;
            }
        }
        Ok(())
    }

    /// Tells how the weights give the score, by the formula that fusion goes by.
    fn score(&mut self) -> io::Result<()> {
        let (phrases, decision) = (self.phrases, self.decision);
        self.heading(phrases.score)?;
        let weights: Vec<f64> =
            list(&decision["reasons"]).iter().filter_map(|reason| reason["weight"].as_f64()).collect();
        let together = fusion::score(weights.iter().copied());
        let told = decision["risk_score"].as_f64().unwrap_or_default();
        let mut text = match weights.len() {
            0 => phrases.score_none.to_owned(),
            1 => format!("{} {together:.1}.", phrases.score_one),
            _ => {
                let others: Vec<String> = weights.iter().map(|weight| format!("(1 − {weight:.2})")).collect();
                format!("{} {together:.1} = 100 · (1 − {}).", phrases.score_many, others.join(" · "))
            }
        };
        if (together - told).abs() >= SCORE_DIFFERENCE_MIN {
            text.push_str(&format!(" {} {told:.1}.", phrases.score_banded));
        }
        writeln!(self.out, "{}", wrapped("  ", &text))
    }

    fn without(&mut self) -> io::Result<()> {
        let (phrases, decision) = (self.phrases, self.decision);
        let signals = list(&decision["not_evaluated"]);
        if signals.is_empty() {
            return Ok(());
        }
        self.heading(phrases.without)?;
        for signal in signals {
            let status = text(signal, "status");
            let mut line = format!("{}: {}", text(signal, "signal"), meaning(phrases.statuses, &status));
            if signal["reason"].is_string() {
                line.push_str(&format!(" ({})", text(signal, "reason")));
            }
            writeln!(self.out, "{}", wrapped("  - ", &line))?;
        }
        Ok(())
    }

    /// Tells the rules that could not be judged, together where they lack the same.
    fn undecided(&mut self) -> io::Result<()> {
        let (phrases, decision) = (self.phrases, self.decision);
        let mut by_lack: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
        for rule in list(&decision["undecided_rules"]) {
            by_lack.entry(self.lack(rule)).or_default().push(text(rule, "code"));
        }
        if by_lack.is_empty() {
            return Ok(());
        }
        self.heading(phrases.undecided)?;
        for (lack, codes) in by_lack {
            let meaning = if let [name] = lack.as_slice() { self.documented(name) } else { String::new() };
            let line = format!("{}: {} {}{meaning}", codes.join(", "), phrases.lacking, lack.join(", "));
            writeln!(self.out, "{}", wrapped("  - ", &line))?;
        }
        Ok(())
    }

    /// Returns what a rule lacked, each once: of a signal without values, which was told already, its name alone.
    fn lack(&self, rule: &Value) -> Vec<String> {
        let without = list(&self.decision["not_evaluated"]);
        let mut lack: Vec<String> = Vec::new();
        for name in list(&rule["missing"]).iter().filter_map(Value::as_str) {
            let signal = name.split('.').next().unwrap_or(name);
            let is_without = without.iter().any(|known| known["signal"] == signal);
            let told = plain(if is_without { signal } else { name }).into_owned();
            if !lack.contains(&told) {
                lack.push(told);
            }
        }
        lack
    }

    /// Returns what a value means, for readers of English, in which the schemas are documented.
    fn documented(&self, name: &str) -> String {
        let leaf = session_leaves().into_iter().find(|leaf| leaf.name == name);
        match leaf {
            Some(leaf) if self.phrases.code == "en" => {
                let first = leaf.doc.split_inclusive(['.', ';']).next().unwrap_or(leaf.doc);
                format!(" ({})", first.trim_end_matches(['.', ';']))
            }
            _ => String::new(),
        }
    }

    fn signals(&mut self) -> io::Result<()> {
        let (phrases, decision) = (self.phrases, self.decision);
        let Some(signals) = decision["signals"].as_object().filter(|signals| !signals.is_empty()) else {
            return Ok(());
        };
        self.heading(phrases.signals)?;
        for (name, signal) in signals {
            let status = text(signal, "status");
            if status != "ok" {
                let line = format!("{}: {}", plain(name), meaning(phrases.statuses, &status));
                writeln!(self.out, "{}", wrapped("  ", &line))?;
                continue;
            }
            let mut values = Vec::new();
            flatten("", signal.as_object(), &mut values);
            let known = values.iter().filter(|(_, value)| !value.is_null());
            let known: Vec<String> = known.map(|(name, value)| self.value(name, value)).collect();
            let unknown: Vec<&str> =
                values.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name.as_str()).collect();
            let lead = format!("  {}: ", plain(name));
            writeln!(self.out, "{}", wrapped(&lead, &known.join(", ")))?;
            if !unknown.is_empty() {
                let lead = format!("{}{}: ", " ".repeat(lead.chars().count()), phrases.not_known);
                writeln!(self.out, "{}", self.style.dim(&wrapped(&lead, &plain(&unknown.join(", ")))))?;
            }
        }
        Ok(())
    }

    fn versions(&mut self) -> io::Result<()> {
        let (phrases, decision) = (self.phrases, self.decision);
        self.heading(phrases.versions)?;
        self.fact(phrases.rule_set, &text(decision, "rule_set"))?;
        let mut name = phrases.data;
        for (data_set, hash) in decision["data"].as_object().into_iter().flatten() {
            let hash = hash.as_str().unwrap_or_default();
            self.fact(name, &plain(&format!("{data_set} {hash}")))?;
            // The name stands once, before the first.
            name = "";
        }
        let operators = decision["signals"].as_object().into_iter().flatten();
        let operators =
            operators.filter(|(_, signal)| signal["operator"].as_str().is_some_and(|name| !name.is_empty()));
        let operators: Vec<String> = operators
            .map(|(_, signal)| format!("{} {}", text(signal, "operator"), text(signal, "operator_version")))
            .collect();
        self.fact(phrases.operators, &operators.join(", "))
    }

    fn revisions(&mut self, revisions: &[Value]) -> io::Result<()> {
        let phrases = self.phrases;
        let last = revisions.iter().filter_map(|revision| revision["revision"].as_u64()).max().unwrap_or(1);
        if last <= 1 {
            return Ok(());
        }
        self.heading(phrases.revisions)?;
        for number in 1..=last {
            let found = revisions.iter().find(|revision| revision["revision"] == number);
            let Some(revision) = found else {
                writeln!(self.out, "  {number}. {}", phrases.not_found)?;
                continue;
            };
            let outcome = text(revision, "decision");
            let changed = list(&revision["changed"]).iter().filter_map(Value::as_str);
            let changed: Vec<&str> = changed.map(|name| meaning(phrases.changes, name)).collect();
            let mut line = format!(
                "{}  {} {:.1}: {}",
                text(revision, "decided_at"),
                meaning(phrases.outcomes, &outcome),
                revision["risk_score"].as_f64().unwrap_or_default(),
                meaning(phrases.causes, &text(revision, "cause"))
            );
            if !changed.is_empty() {
                line.push_str(&format!("; {}: {}", phrases.changed, plain(&changed.join(", "))));
            }
            writeln!(
                self.out,
                "{}",
                self.style.outcome(&outcome, &wrapped(&format!("  {number}. "), &line))
            )?;
        }
        Ok(())
    }

    /// Returns a value with its name.
    fn value(&self, name: &str, value: &Value) -> String {
        let phrases = self.phrases;
        let is_distance = name.ends_with("_m");
        let shown = match value {
            Value::Null => phrases.unknown.to_owned(),
            Value::Bool(true) => phrases.yes.to_owned(),
            Value::Bool(false) => phrases.no.to_owned(),
            Value::Number(number) if is_distance => {
                format!("{:.1} m", number.as_f64().unwrap_or_default())
            }
            Value::String(text) => plain(text).into_owned(),
            other => plain(&other.to_string()).into_owned(),
        };
        format!("{} {shown}", plain(name))
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Returns a member as text that steers no terminal; empty where there is none.
fn text(record: &Value, name: &str) -> String {
    plain(record[name].as_str().unwrap_or_default()).into_owned()
}

/// Appends the values of a signal under their dotted names.
fn flatten(prefix: &str, members: Option<&Map<String, Value>>, values: &mut Vec<(String, Value)>) {
    for (name, value) in members.into_iter().flatten() {
        if prefix.is_empty() && REPORT_MEMBERS.contains(&name.as_str()) {
            continue;
        }
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(inner) => flatten(&format!("{name}."), Some(inner), values),
            value => values.push((name, value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decision() -> Value {
        json!({
            "tenant": "acme", "session_id": "s-1", "account_id": "a-1", "external_id": null, "request_id": "r-1",
            "reference": "case \u{1b}[2J7", "referring_session_id": null, "decision_id": "d-2", "revision": 2,
            "supersedes": "d-1", "complete": true, "cause": "stage", "previous_decision": "pass",
            "changed": ["inputs", "decision"], "decision": "flag", "risk_score": 92.5, "next_action": "hold",
            "reasons": [
                {"code": "LOCATION_INSIDE_PRISON", "severity": "flag", "weight": 0.9,
                 "text": {"en": "The location is inside a prison.", "es": "La ubicación está dentro de una prisión."},
                 "values": {"geo.location.inside_prison": true, "geo.location.prison_distance_m": 0.0}},
                {"code": "IP_DATACENTER", "severity": "review", "weight": 0.25,
                 "text": {"en": "A data centre.", "es": "Un centro de datos."}, "values": {}}],
            "risk_flags": ["inside_prison"], "recommendation": {"en": "Hold and investigate.", "es": "Retener e investigar."},
            "not_evaluated": [{"signal": "face", "status": "not_configured", "reason": "its operator is not part of this deployment"}],
            "undecided_rules": [
                {"code": "IP_TOR", "missing": ["ip.tor"]}, {"code": "IP_X", "missing": ["ip.tor"]},
                {"code": "FACE", "missing": ["face.score", "face.alive", "ip.vpn"]}],
            "signals": {
                "ip": {"status": "ok", "operator": "ip-intel", "operator_version": "0.1.0", "country_code": "MX", "tor": null},
                "geo": {"status": "ok", "operator": "geo-risk", "operator_version": "0.1.0", "location": {"inside_prison": true}}},
            "stage": 2, "stage_hash": "00", "rule_set": "sha256:11", "data": {"places.prisons": "sha256:22", "ip.country": "sha256:33"},
            "event_time": "2026-03-01T12:00:00.000Z", "decided_at": "2026-03-01T12:00:01.000Z",
        })
    }

    fn told(decision: &Value, revisions: &[Value], language: Language) -> String {
        let mut out = Vec::new();
        write(decision, revisions, language, Style::plain(), &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("it is UTF-8")
    }

    #[test]
    fn an_account_tells_everything_in_english() {
        let first = json!({"revision": 1, "decision": "pass", "risk_score": 0.0, "cause": "all_signals", "decided_at": "t"});
        let text = told(&decision(), &[first, decision()], Language::En);
        for line in [
            "FLAG  risk 92.5 of 100",
            "Session s-1, tenant acme, account a-1",
            "Hold and investigate.",
            "  Next step        hold the session and investigate",
            "  Decided          2026-03-01T12:00:01.000Z, revision 2 of 2",
            "  Occasion         a later stage of the session came",
            "  Known to you as  request_id r-1, reference case \\u{1b}[2J7",
            "  1. The location is inside a prison.",
            "     LOCATION_INSIDE_PRISON, asks to hold the session, weight 0.90",
            "     seen: geo.location.inside_prison yes, geo.location.prison_distance_m 0.0 m",
            "  Taken as independent of each other, the reasons together give 92.5 = 100 · (1 − (1 − 0.90) · (1 −",
            "  - face: not set up here (its operator is not part of this deployment)",
            "  - FACE: for want of face, ip.vpn",
            "  - IP_TOR, IP_X: for want of ip.tor (A Tor exit)",
            "  ip: country_code MX",
            "      not known: tor",
            "  geo: location.inside_prison yes",
            "  rules            sha256:11",
            "  data             places.prisons sha256:22",
            "                   ip.country sha256:33",
            "  operators        ip-intel 0.1.0, geo-risk 0.1.0",
            "  1. t PASS 0.0: every expected signal was there",
            "  2. 2026-03-01T12:00:01.000Z FLAG 92.5: a later stage of the session came; changed: what the",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn an_account_tells_the_same_in_spanish() {
        let text = told(&decision(), &[decision()], Language::Es);
        for part in [
            "EN ALERTA  riesgo 92.5 de 100",
            "Retener e investigar.",
            "La ubicación está dentro de una prisión.",
            "pide retener la sesión, peso 0.90",
            "geo.location.inside_prison sí",
            "face: no está configurada aquí",
            "IP_TOR, IP_X: por falta de ip.tor\n",
            "1. no está entre las decisiones a la mano",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn a_score_that_was_moved_into_its_band_says_so() {
        let mut decision = decision();
        decision["risk_score"] = json!(95.0);
        assert!(told(&decision, &[], Language::En).contains("it is told as 95.0."));
        decision["reasons"] = json!([]);
        decision["risk_score"] = json!(0.0);
        let text = told(&decision, &[], Language::En);
        assert!(
            text.contains("No rule fired.") && text.contains("Without a reason the score is 0.\n"),
            "{text}"
        );
    }

    #[test]
    fn a_decision_of_another_version_is_told_as_far_as_it_goes() {
        let text = told(&json!({"decision": "new_word", "cause": 7, "reasons": "none"}), &[], Language::En);
        assert!(text.starts_with("new_word  risk 0.0 of 100"), "{text}");
    }
}

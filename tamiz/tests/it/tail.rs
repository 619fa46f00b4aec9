use crate::fixture::{Fixture, ORDINARY, TOR_EXIT};
use serde_json::{Value, json};

/// Three sessions of two tenants, decided.
fn decided() -> Fixture {
    let fixture = Fixture::new();
    let lines = [
        json!({"session_id": "s-1", "ip": ORDINARY}),
        json!({"session_id": "s-2", "ip": TOR_EXIT}),
        json!({"tenant": "acme", "session_id": "s-3", "ip": ORDINARY}),
    ];
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fixture.write("sessions.jsonl", lines);
    fixture.tamiz(&["publish", "--input", "sessions.jsonl"]).ok();
    fixture.work();
    fixture
}

fn ids(records: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = records.iter().filter_map(|record| record["session_id"].as_str()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn decisions_are_printed_in_a_line_each_or_as_json() {
    let fixture = decided();
    let json = fixture.tamiz(&["tail", "--json"]).json();
    assert_eq!(ids(&json), ["s-1", "s-2", "s-3"]);
    let tor = json.iter().find(|decision| decision["session_id"] == "s-2").expect("it is decided");
    assert_eq!((&tor["decision"], &tor["reasons"][0]["code"]), (&json!("review"), &json!("IP_TOR")));
    let text = fixture.tamiz(&["tail"]).ok();
    let line = text.lines().find(|line| line.contains("default/s-2")).expect("it has a line");
    assert!(line.contains("  review   ") && line.ends_with("revision 1 (all_signals)  IP_TOR"), "{line}");
    assert!(!text.contains('\x1b'), "what is no terminal gets no colours");
    assert_eq!(ids(&fixture.tamiz(&["tail", "--json", "--tenant", "acme"]).json()), ["s-3"]);
    assert_eq!(fixture.tamiz(&["tail", "--json", "--count", "2"]).json().len(), 2);
}

#[test]
fn any_topic_can_be_read() {
    let fixture = decided();
    let signals = fixture.tamiz(&["tail", "signals", "--json"]).json();
    let signal = signals.iter().find(|record| record["value"]["name"] == "ip").expect("there are signals");
    assert_eq!(signal["topic"], "signals");
    assert!(signal["key"].as_str().is_some_and(|key| key.contains("/s-")), "{signal}");
    let latest = fixture.tamiz(&["tail", "decisions.latest", "--json"]).json();
    assert_eq!(ids(&latest), ["s-1", "s-2", "s-3"]);
    let text = fixture.tamiz(&["tail", "sessions", "--tenant", "acme"]).ok();
    assert!(text.contains("  acme/s-3  {\"tenant\":\"acme\",\"session_id\":\"s-3\""), "{text}");
    fixture.append(&schemas::topic::SESSIONS, "s-4", b"no record");
    let text = fixture.tamiz(&["tail", "sessions"]).ok();
    assert!(text.contains("default/s-4  (undecodable: not in the registry's wire format"), "{text}");
    let (_, err) = fixture.tamiz(&["tail", "decision"]).failed();
    assert!(err.contains("there is no topic \"decision\", did you mean \"decisions\"?"), "{err}");
}

#[test]
fn a_log_that_is_not_there_or_to_which_nobody_writes_is_told() {
    let (_, err) = Fixture::new().tamiz(&["tail"]).failed();
    assert!(err.contains("there is no log in") && err.contains("start `tamiz up`"), "{err}");
    let (_, err) = decided().tamiz(&["tail", "--from", "latest"]).failed();
    assert!(err.contains("use --from earliest"), "{err}");
}

#[test]
fn a_running_process_streams_its_decisions() {
    let mut fixture = decided();
    let server = fixture.serve();
    let answer = fixture.tamiz(&["tail", "--json", "--from", "earliest", "--count", "3"]);
    assert!(answer.err.contains("reading from http://127.0.0.1:"), "{}", answer.err);
    assert_eq!(ids(&answer.json()), ["s-1", "s-2", "s-3"]);
    let answer = fixture.tamiz(&["tail", "--json", "--from", "earliest", "--tenant", "acme", "--no-follow"]);
    assert_eq!(ids(&answer.json()), ["s-3"]);
    let (_, err) = fixture.tamiz(&["tail", "signals"]).failed();
    assert!(err.contains("only decisions can be read from a running process"), "{err}");
    drop(server);
}

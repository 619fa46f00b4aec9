use crate::fixture::{Fixture, ORDINARY, TOR_EXIT};
use serde_json::json;

/// A session of two stages, the second of which comes from an exit of Tor, and one of another tenant.
fn decided() -> Fixture {
    let fixture = Fixture::new();
    let publish = |session: serde_json::Value| {
        fixture.write("sessions.jsonl", format!("{session}\n"));
        fixture.tamiz(&["publish", "--input", "sessions.jsonl"]).ok();
        fixture.work();
    };
    publish(json!({"session_id": "s-1", "ip": ORDINARY, "reference": "case 7"}));
    publish(json!({"tenant": "acme", "session_id": "s-2", "ip": ORDINARY}));
    publish(json!({"session_id": "s-1", "ip": TOR_EXIT}));
    fixture
}

#[test]
fn a_decision_in_the_log_is_told_with_its_revisions() {
    let fixture = decided();
    let text = fixture.tamiz(&["explain", "s-1"]).ok();
    for part in [
        "REVIEW  risk 45.0 of 100\nSession s-1, tenant default, account s-1\n",
        "revision 2 of 2\n  Occasion         a later stage of the session came\n",
        "  Known to you as  reference case 7",
        "  1. The IP address 185.220.101.1 is a Tor exit.\n     IP_TOR, asks for a review, weight 0.45\n",
        "seen: ip.address 185.220.101.1, ip.country_code not known, ip.tor yes",
        "The one reason weighs 45.0.",
        "  - geo: does not apply (the session has no coordinates)",
        "IP_VPN: for want of ip.vpn (A VPN service's address)",
        "  ip: address 185.220.101.1, connection_type tor, tor yes\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("ADDRESS_LOCATION_DISTANCE: for want of geo - "), "{flat}");
    let history = text.split("Revisions\n").nth(1).expect("the revisions are listed");
    assert!(history.contains("PASS 0.0: every expected signal was there"), "{history}");
    assert!(history.contains("changed: what the"), "{history}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn a_decision_is_told_in_spanish_and_as_json() {
    let fixture = decided();
    let text = fixture.tamiz(&["explain", "s-1", "--language", "es", "--revision", "2"]).ok();
    assert!(text.starts_with("EN REVISIÓN  riesgo 45.0 de 100\nSesión s-1, cliente default"), "{text}");
    assert!(text.contains("La dirección IP 185.220.101.1 es una salida de la red Tor."), "{text}");
    let json = fixture.tamiz(&["explain", "s-1", "--json", "--revision", "1"]).json();
    assert_eq!(
        (&json[0]["decision"]["revision"], &json[0]["decision"]["decision"]),
        (&json!(1), &json!("pass"))
    );
    assert_eq!(json[0]["revisions"].as_array().map(Vec::len), Some(2));
    let (_, err) = fixture.tamiz(&["explain", "s-1", "--revision", "3"]).failed();
    assert!(err.contains("among those found: 1, 2"), "{err}");
}

#[test]
fn the_tenant_is_found_where_only_one_has_the_session() {
    let fixture = decided();
    assert!(fixture.tamiz(&["explain", "s-2"]).ok().contains("tenant acme"));
    let (_, err) = fixture.tamiz(&["explain", "s-2", "--tenant", "default"]).failed();
    assert!(err.contains("there is no decision of session \"s-2\" of tenant \"default\""), "{err}");
    let (_, err) = fixture.tamiz(&["explain", "s-9"]).failed();
    assert!(
        err.contains("there is no decision of session \"s-9\" of tenant \"default\"; --tenant names another"),
        "{err}"
    );
}

#[test]
fn a_file_of_decisions_is_told_as_the_log_is() {
    let fixture = decided();
    fixture.write("decisions.jsonl", fixture.tamiz(&["tail", "--json"]).ok());
    let of_file = fixture.tamiz(&["explain", "s-1", "--decisions", "decisions.jsonl"]).ok();
    assert_eq!(of_file, fixture.tamiz(&["explain", "s-1"]).ok());
    let (_, err) = fixture.tamiz(&["explain", "s-9", "--decisions", "decisions.jsonl"]).failed();
    assert!(err.ends_with("there is no decision of session \"s-9\"\n"), "{err}");
    fixture.write("broken.jsonl", "\n{\"session_id\":\"s-1\"}\n");
    let (_, err) = fixture.tamiz(&["explain", "s-1", "--decisions", "broken.jsonl"]).failed();
    assert!(err.contains("broken.jsonl, line 2, is no decision"), "{err}");
}

#[test]
fn a_running_process_tells_its_last_decision() {
    let mut fixture = decided();
    let server = fixture.serve();
    let text = fixture.tamiz(&["explain", "s-1"]).ok();
    assert!(
        text.contains("REVIEW  risk 45.0") && text.contains("1. not among the decisions at hand"),
        "{text}"
    );
    assert!(fixture.tamiz(&["explain", "s-2", "--tenant", "acme"]).ok().contains("PASS"));
    let (_, err) = fixture.tamiz(&["explain", "s-9"]).failed();
    assert!(err.contains("--tenant names another"), "{err}");
    drop(server);
}

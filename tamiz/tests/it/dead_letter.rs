use crate::fixture::Fixture;
use pipeline::record::ATTEMPTS_HEADER;
use schemas::topic::{DEAD_LETTER, IMAGES, SESSIONS};
use schemas::{Codec, DeadLetter, Key, Message, Session};
use serde_json::json;

fn session(codec: &Codec, id: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec
        .encode(&Session { session_id: id.into(), ..Session::default() }, &mut bytes)
        .expect("a session is encoded");
    bytes
}

/// A log with a record that is no session and one that is cut off, both refused.
fn refused() -> Fixture {
    let fixture = Fixture::new();
    fixture.append(&SESSIONS, "s-1", b"no record");
    let cut = &session(&Codec::new(), "s-2")[..7];
    fixture.append(&SESSIONS, "s-2", cut);
    fixture.work();
    fixture
}

/// Appends a letter as an operator would write it.
fn append_letter(fixture: &Fixture, letter: DeadLetter) {
    let mut bytes = Vec::new();
    Message::from(letter).encode(&Codec::new(), &mut bytes).expect("a letter is encoded");
    fixture.append(&DEAD_LETTER, "any", &bytes);
}

#[test]
fn letters_are_listed_with_where_they_came_from_and_why() {
    let fixture = refused();
    let letters = fixture.tamiz(&["dead-letter", "list", "--json"]).json();
    assert_eq!(letters.len(), 2);
    let first = letters.iter().find(|letter| letter["session_id"] == "s-1").expect("it is listed");
    assert_eq!((&first["topic"], &first["operator"]), (&json!("sessions"), &json!("intake")));
    assert_eq!((&first["reason"], &first["attempts"]), (&json!("undecodable"), &json!(0)));
    assert_eq!(first["can_be_handed_back"], true);
    let out = fixture.tamiz(&["dead-letter", "list", "--reason", "undecodable"]).ok();
    assert!(out.contains("default/s-1") && out.contains("2 dead letters (2 undecodable)"), "{out}");
    let out = fixture.tamiz(&["dead-letter", "list", "--limit", "1"]).ok();
    assert!(out.contains("the newest 1 are listed; --limit lists more"), "{out}");
    assert_eq!(fixture.tamiz(&["dead-letter", "list", "--reason", "other"]).ok(), "no dead letters\n");
    let (_, err) = fixture.tamiz(&["dead-letter", "list", "--topic", "session"]).failed();
    assert!(err.contains("did you mean \"sessions\"?"), "{err}");
}

#[test]
fn a_letter_goes_back_to_its_topic_with_its_key_and_its_count() {
    let fixture = refused();
    let (_, err) = fixture.tamiz(&["dead-letter", "retry"]).failed();
    assert!(err.contains("--offset, --reason, --topic or --tenant, or hand back --all"), "{err}");
    let out = fixture.tamiz(&["dead-letter", "retry", "--all", "--dry-run"]).ok();
    assert_eq!(out, "2 dead letters would be handed back\n");
    assert_eq!(fixture.records(&SESSIONS).len(), 2);

    let letters = fixture.tamiz(&["dead-letter", "list", "--json"]).json();
    let letter = letters.iter().find(|letter| letter["session_id"] == "s-1").expect("it is listed");
    let position = letter["position"].as_str().expect("it has a position");
    let json = fixture.tamiz(&["dead-letter", "retry", "--offset", position, "--json"]).json();
    assert_eq!(json[0]["handed_back"], json!([position]));
    let records = fixture.records(&SESSIONS);
    let back = records.iter().find(|record| record.header(ATTEMPTS_HEADER).is_some()).expect("it is back");
    let key = Key::of_session("default", "s-1");
    assert_eq!(back.header(ATTEMPTS_HEADER), Some("1"));
    assert_eq!((back.key.as_deref(), back.partition), (Some(key.as_bytes()), key.partition(2)));
    assert_eq!(back.value.as_deref(), Some(b"no record".as_slice()));

    fixture.work();
    let letters = fixture.tamiz(&["dead-letter", "list", "--json"]).json();
    let attempts: Vec<i64> = letters
        .iter()
        .filter(|letter| letter["session_id"] == "s-1")
        .filter_map(|letter| letter["attempts"].as_i64())
        .collect();
    assert_eq!(attempts, [0, 1], "it was refused again");
    let json = fixture.tamiz(&["dead-letter", "retry", "--all", "--json"]).json();
    assert_eq!(json[0]["handed_back"].as_array().map(Vec::len), Some(2), "one letter a record");
    let records = fixture.records(&SESSIONS);
    assert!(records.iter().any(|record| record.header(ATTEMPTS_HEADER) == Some("2")));
}

#[test]
fn letters_without_bytes_are_told_and_do_not_hold_the_others_up() {
    let fixture = refused();
    let image = DeadLetter {
        topic: IMAGES.name.into(),
        reason: "bad".into(),
        value_size: 77,
        ..DeadLetter::default()
    };
    append_letter(&fixture, image);
    let misplaced = DeadLetter {
        topic: DEAD_LETTER.name.into(),
        reason: "bad".into(),
        value: Some(session(&Codec::new(), "s-9").into()),
        ..DeadLetter::default()
    };
    append_letter(&fixture, misplaced);
    append_letter(
        &fixture,
        DeadLetter { topic: "gone".into(), reason: "bad".into(), ..DeadLetter::default() },
    );
    let (out, err) = fixture.tamiz(&["dead-letter", "retry", "--all"]).failed();
    assert!(out.contains("its bytes (77) were not kept; publish the record again from its source"), "{out}");
    assert!(out.contains("its bytes are a session.v1, which has no place in topic dead-letter"), "{out}");
    assert!(out.contains("it came from topic \"gone\", which is not known here"), "{out}");
    assert!(out.contains("2 dead letters handed back"), "{out}");
    assert!(err.contains("3 dead letters cannot be handed back"), "{err}");
    assert_eq!(fixture.records(&SESSIONS).len(), 4);
}

#[test]
fn a_letter_that_is_not_there_and_a_log_in_use_are_told() {
    let fixture = refused();
    let (_, err) = fixture.tamiz(&["dead-letter", "retry", "--offset", "1:99"]).failed();
    assert!(err.contains("there is no dead letter at 1:99"), "{err}");
    assert_eq!(fixture.tamiz(&["dead-letter", "retry", "--offset", "x"]).code, Some(2));
    let _log = fixture.log();
    let (_, err) = fixture.tamiz(&["dead-letter", "list"]).failed();
    assert!(err.contains("stop it to look at its dead letters"), "{err}");
}

use crate::fixture::{Fixture, ORDINARY};
use schemas::topic::{IMAGES, SESSIONS};
use schemas::{Codec, Image, Key, Session, sha256_hex};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

fn lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// A session with one attachment in a file beside it and one in the line itself, one that is broken, and one more.
fn sessions() -> String {
    lines(&[
        json!({"session_id": "s-1", "ip": ORDINARY, "attachments": [
            {"id": "i-1", "kind": "selfie", "path": "selfie.jpg"}, {"kind": "document_front", "data": "YWJj"}]}),
        json!({"session_id": "s-2", "ipp": ORDINARY}),
        json!({"tenant": "acme", "session_id": "s-3", "ip": ORDINARY}),
    ])
}

fn sessions_in(fixture: &Fixture) -> Vec<Session> {
    let codec = Codec::new();
    let mut sessions: Vec<Session> = fixture
        .records(&SESSIONS)
        .iter()
        .map(|record| codec.decode(record.value.as_deref().unwrap_or_default()).expect("it is a session"))
        .collect();
    sessions.sort_by(|one, other| one.session_id.cmp(&other.session_id));
    sessions
}

fn images_in(fixture: &Fixture) -> Vec<Image> {
    let codec = Codec::new();
    let read = |bytes: Option<&[u8]>| codec.decode(bytes.unwrap_or_default()).expect("it is an image");
    fixture.records(&IMAGES).iter().map(|record| read(record.value.as_deref())).collect()
}

#[track_caller]
fn check_published(fixture: &Fixture) {
    let ids: Vec<String> = sessions_in(fixture).into_iter().map(|session| session.session_id).collect();
    assert_eq!(ids, ["s-1", "s-3"]);
    let images = images_in(fixture);
    let bytes: Vec<&[u8]> =
        images.iter().filter_map(|image| image.bytes.as_ref().map(|bytes| bytes.as_slice())).collect();
    assert_eq!(bytes, [b"the selfie".as_slice(), b"abc"]);
    assert_eq!(images[0].sha256, sha256_hex(b"the selfie"));
    let keys = fixture.records(&SESSIONS).into_iter().filter_map(|record| record.key);
    for (key, tenant) in keys.map(Key::from_bytes).zip(["default", "acme"]) {
        let (found, _) = key.session().expect("the key is of a session");
        assert!([tenant, "default", "acme"].contains(&found));
    }
}

#[test]
fn a_file_goes_into_the_embedded_log_with_the_bytes_of_its_attachments() {
    let fixture = Fixture::new();
    fixture.write("sessions.jsonl", sessions());
    fixture.write("selfie.jpg", "the selfie");
    let answer = fixture.tamiz(&["publish", "--input", "sessions.jsonl", "--json"]);
    assert!(
        answer.err.contains("sessions.jsonl, line 2: ipp: unknown field, did you mean \"ip\"?"),
        "{}",
        answer.err
    );
    let summary = &answer.json()[0];
    assert_eq!(
        (&summary["sessions"], &summary["images"], &summary["problems"]),
        (&json!(2), &json!(2), &json!(1))
    );
    check_published(&fixture);
    let keys = fixture.records(&SESSIONS);
    let of = |id: &str, tenant: &str| {
        let key = Key::of_session(tenant, id);
        keys.iter().any(|record| {
            record.key.as_deref() == Some(key.as_bytes()) && record.partition == key.partition(2)
        })
    };
    assert!(of("s-1", "default") && of("s-3", "acme"), "records are keyed and placed by tenant and session");
}

#[test]
fn a_running_process_takes_the_sessions_over_http() {
    let mut fixture = Fixture::new();
    fixture.write("sessions.jsonl", sessions());
    fixture.write("selfie.jpg", "the selfie");
    let server = fixture.serve();
    let answer = fixture.tamiz(&["publish", "--input", "sessions.jsonl", "--json"]);
    let summary = &answer.json()[0];
    assert_eq!((&summary["sessions"], &summary["images"]), (&json!(2), &json!(2)));
    let target = summary["target"].as_str().expect("it names the target");
    assert!(target.starts_with("http://127.0.0.1:"), "{target}");
    drop(server);
    check_published(&fixture);
}

/// The gateway takes a request whole or not at all, and the others are not to suffer for one.
#[test]
fn a_session_that_is_refused_over_http_is_told_and_the_others_are_published() {
    let mut fixture = Fixture::new();
    let unknown = json!({"tenant": "nobody", "session_id": "s-0"});
    fixture.write("sessions.jsonl", lines(&[unknown]) + &sessions().replace("ipp", "ip"));
    fixture.write("selfie.jpg", "the selfie");
    let server = fixture.serve();
    let (_, err) = fixture.tamiz(&["publish", "--input", "sessions.jsonl", "--strict"]).failed();
    assert!(err.contains("line 1: tenant: not a tenant that is known here"), "{err}");
    assert!(err.contains("3 sessions and 2 attachments published to http://127.0.0.1:"), "{err}");
    assert!(err.contains("1 session could not be published"), "{err}");
    drop(server);
    assert_eq!(sessions_in(&fixture).len(), 3);
}

#[test]
fn the_standard_input_is_read_and_a_rate_is_kept() {
    let fixture = Fixture::new();
    let many: Vec<Value> = (0..40).map(|number| json!({"session_id": format!("s-{number}")})).collect();
    let file = fixture.write("many.jsonl", lines(&many));
    let input = File::open(file).expect("the file is there");
    let answer = fixture.tamiz_with_input(&["publish", "--input", "-", "--rate", "100/s", "--json"], input);
    let summary = &answer.json()[0];
    assert_eq!(summary["sessions"], 40);
    // Batches of 5 go every 50 ms, the first at once: the eighth goes after 350 ms.
    assert!(summary["elapsed_s"].as_f64().is_some_and(|elapsed| elapsed >= 0.35), "{summary}");
    assert_eq!(sessions_in(&fixture).len(), 40);
    assert_eq!(fixture.tamiz(&["publish", "--input", "-", "--rate", "0"]).code, Some(2));
}

#[test]
fn an_attachment_that_is_gone_or_was_changed_is_a_problem() {
    let fixture = Fixture::new();
    fixture.write("sessions.jsonl", sessions());
    let answer = fixture.tamiz(&["publish", "--input", "sessions.jsonl", "--strict"]);
    let (_, err) = answer.failed();
    assert!(err.contains("line 1: attachment i-1: cannot read"), "{err}");
    assert_eq!(images_in(&fixture).len(), 0);
    let (_, err) = fixture.tamiz(&["publish", "--input", "none.jsonl"]).failed();
    assert!(err.contains("cannot open none.jsonl"), "{err}");
}

#[test]
fn nobody_at_the_address_is_told_with_what_to_do() {
    let fixture = Fixture::new();
    fixture.write("sessions.jsonl", lines(&[json!({"session_id": "s-1"})]));
    let _log = fixture.log();
    let (_, err) = fixture.tamiz(&["publish", "--input", "sessions.jsonl"]).failed();
    assert!(err.contains("open in another process") && err.contains("is `tamiz up` running there?"), "{err}");
    let (_, err) = fixture.tamiz(&["publish", "--input", "sessions.jsonl", "--url", "127.0.0.1:1"]).failed();
    assert!(
        err.contains("begins with neither http:// nor https://") || err.contains("is not a URL"),
        "{err}"
    );
}

/// Answers each request with the next of these, and returns the bodies that came.
fn answer_with(answers: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it has an address"));
    let serve = move || {
        let mut bodies = Vec::new();
        for answer in answers {
            let (stream, _) = listener.accept().expect("a client comes");
            let mut reader = BufReader::new(stream.try_clone().expect("a stream has two ends"));
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).expect("a header comes") > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("it is a number");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("the body comes");
            bodies.push(String::from_utf8(body).expect("it is UTF-8"));
            let mut stream = stream;
            write!(stream, "HTTP/1.1 {answer}").expect("the answer goes");
        }
        bodies
    };
    (url, std::thread::spawn(serve))
}

const BUSY: &str =
    "503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const TAKEN: &str = "202 Accepted\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
const BROKEN: &str =
    "500 Internal Server Error\r\ncontent-length: 18\r\nconnection: close\r\n\r\n{\"detail\":\"broken\"}";

#[test]
fn a_busy_server_is_asked_again_and_a_broken_one_is_not() {
    let fixture = Fixture::new();
    fixture.write("sessions.jsonl", lines(&[json!({"session_id": "s-1"})]));
    let (url, server) = answer_with(&[BUSY, BUSY, TAKEN]);
    fixture.tamiz(&["publish", "--input", "sessions.jsonl", "--url", &url]).ok();
    let bodies = server.join().expect("the server ends");
    assert_eq!(bodies, vec!["{\"session_id\":\"s-1\"}\n"; 3]);
    assert!(!fixture.path("log").exists(), "a URL that is given decides");

    let (url, server) = answer_with(&[BROKEN]);
    let (_, err) = fixture.tamiz(&["publish", "--input", "sessions.jsonl", "--url", &url]).failed();
    assert!(err.contains("500 Internal Server Error") && err.contains("broken"), "{err}");
    assert!(err.contains("after 0 sessions; those are safe"), "{err}");
    server.join().expect("the server ends");
}

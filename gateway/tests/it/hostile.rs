use crate::fixture::{Gateway, settings};
use crate::http::{Connection, get, post, post_json, request};
use gateway::GatewaySettings;
use schemas::topic;
use std::time::Duration;

/// Sends a hostile body, and checks that nothing of it is published and that the gateway goes on.
async fn check(gateway: &Gateway, media_type: &str, body: impl AsRef<[u8]>, expected: &str) {
    let answer = post(gateway.address, "/v1/sessions", media_type, body).await;
    let told = answer.problem(400, "invalid_sessions").to_string();
    assert!(told.contains(expected), "{expected} is not in {told}");
    assert!(told.len() < 20_000, "an answer of {} bytes to a hostile body", told.len());
    assert!(gateway.records(&topic::SESSIONS).is_empty());
}

#[tokio::test]
async fn hostile_sessions_are_refused() {
    let gateway = Gateway::start().await;
    let json = "application/json";
    let megabyte = "x".repeat(1 << 20);
    let deep = |depth: usize| format!("{{\"session_id\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    check(&gateway, json, deep(40), "nested deeper").await;
    check(&gateway, json, deep(1 << 20), "nested deeper").await;
    check(&gateway, json, format!("[{}]", deep(1 << 20)), "nested deeper").await;
    check(&gateway, json, "[".repeat(10 << 20), "EOF").await;
    check(&gateway, json, format!(r#"{{"session_id":"{megabyte}"}}"#), "session_id").await;
    check(&gateway, json, format!(r#"{{"session_id":"s","reference":"{megabyte}"}}"#), "reference").await;
    check(&gateway, json, format!(r#"{{"session_id":"s","{megabyte}":1}}"#), "unknown field").await;
    check(&gateway, json, b"{\"session_id\":\"\xff\"}", "invalid UTF-8 at byte 15").await;
    check(&gateway, "application/x-ndjson", b"{\"session_id\":\"s\"}\n\xc3\x28", "invalid UTF-8 at byte 19")
        .await;
    check(&gateway, json, r#"{"session_id":"s","location":{"lat":NaN,"lng":1}}"#, "line").await;
    check(&gateway, json, r#"{"session_id":"s","location":{"lat":1e999,"lng":1}}"#, "out of range").await;
    check(&gateway, json, r#"{"session_id":"s","location":{"lat":91,"lng":1}}"#, "location.lat").await;
    check(&gateway, json, r#"{"session_id":"s","session_id":"t"}"#, "given twice").await;
    check(&gateway, json, r#"{"session_id":"s"}{"session_id":"t"}"#, "trailing").await;
    check(&gateway, json, r#"{"session_id":"s\u0000"}"#, "NUL").await;
    check(&gateway, json, "\u{0}\u{1}\u{2}", "expected value").await;
    check(&gateway, json, format!("[{}", "{},".repeat(900)), "EOF").await;
    assert_eq!(post_json(gateway.address, "/v1/sessions", r#"{"session_id":"s"}"#).await.status, 202);
}

#[tokio::test]
async fn bodies_that_break_off_publish_nothing() {
    let gateway = Gateway::start().await;
    let session = r#"{"session_id":"s-1"}"#;
    let head =
        "POST /v1/sessions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    for body in [
        // The whole session is there, and the last chunk is not.
        format!("{chunked}{:x}\r\n{session}\r\n", session.len()),
        format!("{chunked}{:x}\r\n{}", session.len(), &session[..9]),
        format!("{head}content-length: {}\r\n\r\n{session}", session.len() + 1),
    ] {
        let mut connection = Connection::open(gateway.address).await;
        connection.send(body).await;
        tokio::io::AsyncWriteExt::shutdown(&mut connection.stream).await.expect("the connection is open");
        // The client has gone or only closed its side, which nobody can tell: what is left is a try to tell it.
        assert!(matches!(connection.status().await, None | Some(400)));
    }
    let malformed = format!("{chunked}zz\r\n{session}\r\n0\r\n\r\n");
    assert_eq!(request(gateway.address, malformed).await.status, 400);
    assert!(gateway.records(&topic::SESSIONS).is_empty());
    assert_eq!(post_json(gateway.address, "/v1/sessions", session).await.status, 202);
}

#[tokio::test]
async fn heads_that_are_no_requests_are_refused() {
    let gateway = Gateway::start().await;
    assert_eq!(request(gateway.address, "\x16\x03\x01\x02 hello\r\n\r\n").await.status, 400);
    let large = format!("GET /health/live HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n", "x".repeat(1 << 20));
    assert_eq!(request(gateway.address, large).await.status, 431);
    let many = format!("GET /health/live HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(2_000));
    assert_eq!(request(gateway.address, many).await.status, 431);
    // One that never ends its head, and one that never begins, do not stay.
    let limits = GatewaySettings { head_wait_max: Duration::from_millis(300), ..settings() };
    let gateway = Gateway::start_with(limits).await;
    for beginning in ["GET /health/live HTTP/1.1\r\nhost", ""] {
        let mut connection = Connection::open(gateway.address).await;
        connection.send(beginning).await;
        assert!(connection.closes_without_answer().await, "{beginning:?}");
    }
    assert_eq!(get(gateway.address, "/health/live").await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let gateway = Gateway::start_with(GatewaySettings { connections_max: 2, ..settings() }).await;
    let idle = [Connection::open(gateway.address).await, Connection::open(gateway.address).await];
    let address = gateway.address;
    let third = tokio::spawn(async move { get(address, "/health/live").await.status });
    drop(idle);
    assert_eq!(third.await.expect("the request does not panic"), 200);
}

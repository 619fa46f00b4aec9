use crate::fixture::{Gateway, PARTITIONS, settings, until};
use crate::http::{Connection, PATIENCE, get, post, post_json, request, within};
use gateway::GatewaySettings;
use schemas::{Image, Key, Session, sha256_hex, topic};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

const SESSIONS: &str = "/v1/sessions";

fn published(gateway: &Gateway) -> Vec<Session> {
    let records = gateway.records(&topic::SESSIONS);
    records.iter().map(|record| gateway.codec.decode(record.value.as_ref().unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn a_session_is_in_the_log_when_it_is_accepted() {
    let gateway = Gateway::start().await;
    let body =
        json!({"tenant": "acme", "session_id": "s-1", "ip": "201.141.5.9", "name": "María Hernández López"});
    let answer = post_json(gateway.address, SESSIONS, body.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json(), json!({"accepted": [{"session_id": "s-1", "tenant": "acme"}]}));

    let records = gateway.records(&topic::SESSIONS);
    let key = Key::of_session("acme", "s-1");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key.as_deref(), Some(key.as_bytes()));
    assert_eq!(records[0].partition, key.partition(PARTITIONS));
    let session = &published(&gateway)[0];
    assert_eq!(session.session_id, "s-1");
    assert_eq!(session.name.as_ref().and_then(|name| name.full.as_deref()), Some("María Hernández López"));
    assert!(gateway.records(&topic::IMAGES).is_empty());
}

#[tokio::test]
async fn many_sessions_come_in_a_list_or_one_a_line() {
    let gateway = Gateway::start().await;
    let list = json!([{"session_id": "s-1"}, {"session_id": "s-2", "tenant": "acme"}, {"session_id": "s-1", "ip": "192.0.2.1"}]);
    let answer = post_json(gateway.address, SESSIONS, list.to_string()).await;
    let accepted = json!([
        {"session_id": "s-1", "tenant": "default"},
        {"session_id": "s-2", "tenant": "acme"},
        {"session_id": "s-1", "tenant": "default"},
    ]);
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &accepted));
    let stages: Vec<Session> =
        published(&gateway).into_iter().filter(|session| session.session_id == "s-1").collect();
    assert_eq!(stages.iter().map(|stage| stage.ip.as_deref()).collect::<Vec<_>>(), [None, Some("192.0.2.1")]);

    let lines = "\u{feff}{\"session_id\":\"l-1\"}\r\n\n{\"session_id\":\"l-2\"}";
    for media_type in ["application/x-ndjson", "application/jsonl; charset=UTF-8"] {
        let answer = post(gateway.address, SESSIONS, media_type, lines).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(answer.json()["accepted"][1]["session_id"], "l-2");
    }
    assert_eq!(published(&gateway).len(), 7);
}

#[tokio::test]
async fn images_travel_before_their_session_and_not_in_it() {
    let gateway = Gateway::start().await;
    // A PNG's first bytes, in base64.
    let (base64, bytes) = ("iVBORw0KGgo=", b"\x89PNG\r\n\x1a\n");
    let body = json!({"session_id": "s-1", "attachments": [
        {"id": "i-0", "kind": "document_pdf", "reference": "s3://bucket/key"},
        {"id": "i-1", "kind": "selfie", "media_type": "image/png", "data": base64},
    ]});
    let answer = post_json(gateway.address, SESSIONS, body.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let records = gateway.records(&topic::IMAGES);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key.as_deref(), Some(Key::of_session("default", "s-1").as_bytes()));
    let image: Image = gateway.codec.decode(records[0].value.as_ref().unwrap()).unwrap();
    assert_eq!((image.session_id.as_str(), image.attachment_id.as_str()), ("s-1", "i-1"));
    assert_eq!(image.bytes.as_deref().map(Vec::as_slice), Some(bytes.as_slice()));
    assert_eq!((image.size, image.sha256), (8, sha256_hex(bytes)));
    assert_eq!(image.media_type.as_deref(), Some("image/png"));
    let attachments = published(&gateway).remove(0).attachments.unwrap();
    assert_eq!(attachments[1].sha256.as_deref(), Some(sha256_hex(bytes).as_str()));
    assert_eq!(attachments[0].reference.as_deref(), Some("s3://bucket/key"));
}

#[tokio::test]
async fn the_largest_image_is_taken() {
    let gateway = Gateway::start().await;
    // Four digits of base64 are three bytes.
    let data = "AAAA".repeat(schemas::json::ATTACHMENT_BYTES_MAX / 3) + "AA==";
    let body = json!({"session_id": "s-1", "attachments": [{"id": "i-1", "kind": "selfie", "data": data}]});
    let answer = post_json(gateway.address, SESSIONS, body.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let value = gateway.records(&topic::IMAGES).remove(0).value.unwrap();
    let image: Image = gateway.codec.decode(&value).unwrap();
    assert_eq!(image.size, schemas::json::ATTACHMENT_BYTES_MAX as i64);
}

#[tokio::test]
async fn one_bad_session_keeps_its_whole_request_out_and_all_problems_are_told() {
    let gateway = Gateway::start().await;
    let body = "[{\"session_id\":\"s-1\"},\n {\"session_id\":\"s-2\",\"emial\":\"a@b.mx\",\"device\":{\"cpu_cores\":-1}},\n 7,\
                {\"attachments\":[]}]";
    let answer = post_json(gateway.address, SESSIONS, body).await;
    let problem = answer.problem(400, "invalid_sessions");
    let problems = problem["problems"].as_array().unwrap();
    let places: Vec<_> =
        problems.iter().map(|problem| (problem["index"].as_u64(), problem["path"].as_str())).collect();
    assert_eq!(
        places,
        [
            (Some(1), Some("emial")),
            (Some(1), Some("device.cpu_cores")),
            (Some(2), Some("")),
            (Some(3), Some("session_id")),
        ]
    );
    assert_eq!(problems[0]["suggestion"], "email");
    assert!(problems[1]["message"].as_str().unwrap().contains("whole number"));
    assert!(gateway.records(&topic::SESSIONS).is_empty() && gateway.records(&topic::IMAGES).is_empty());
}

#[tokio::test]
async fn what_is_not_json_is_told_with_its_place_in_the_body() {
    let gateway = Gateway::start().await;
    let place = |answer: crate::http::Answer| {
        let problem = answer.problem(400, "invalid_sessions")["problems"][0].clone();
        (problem["index"].as_u64(), problem["line"].as_u64(), problem["column"].as_u64())
    };
    let answer = post_json(gateway.address, SESSIONS, "{\"session_id\":\n nonsense}").await;
    assert_eq!(place(answer), (Some(0), Some(2), Some(3)));
    let answer = post_json(gateway.address, SESSIONS, "[{\"session_id\":\"s\"},\n {,}]").await;
    assert_eq!(place(answer), (Some(1), Some(2), Some(3)));
    let lines = "{\"session_id\":\"s\"}\n\n{\"session_id\" \"s\"}\n";
    let answer = post(gateway.address, SESSIONS, "application/x-ndjson", lines).await;
    assert_eq!(place(answer), (Some(1), Some(3), Some(15)));
}

#[tokio::test]
async fn problems_beyond_the_limit_are_counted() {
    let gateway = Gateway::start().await;
    let sessions: Vec<_> = (0..150).map(|_| json!({"session": 1})).collect();
    let answer = post_json(gateway.address, SESSIONS, json!(sessions).to_string()).await;
    let problem = answer.problem(400, "invalid_sessions");
    assert_eq!(problem["problems"].as_array().unwrap().len(), 100);
    // Each session lacks its id and has a field that nobody knows.
    assert_eq!(problem["problems_left_out"], 200);
}

#[tokio::test]
async fn files_and_unknown_tenants_are_refused() {
    let tenants = BTreeSet::from(["acme".to_owned()]);
    let gateway = Gateway::start_with(GatewaySettings { tenants, ..settings() }).await;
    let body = json!({"tenant": "acme", "session_id": "s-1", "attachments": [
        {"id": "i-0", "kind": "selfie", "reference": "s3://bucket/key"},
        {"id": "i-1", "kind": "selfie", "path": "/etc/passwd"},
    ]});
    let problem =
        post_json(gateway.address, SESSIONS, body.to_string()).await.problem(400, "invalid_sessions");
    assert_eq!(problem["problems"][0]["path"], "attachments[1].path");
    assert!(problem["problems"][0]["hint"].as_str().unwrap().contains("\"data\""), "{problem}");
    for body in [json!({"session_id": "s-1", "tenant": "acmé"}), json!({"session_id": "s-1"})] {
        let problem =
            post_json(gateway.address, SESSIONS, body.to_string()).await.problem(400, "invalid_sessions");
        assert_eq!(problem["problems"][0]["path"], "tenant");
    }
    assert!(gateway.records(&topic::SESSIONS).is_empty());
}

#[tokio::test]
async fn wrong_requests_are_told_apart() {
    let gateway = Gateway::start().await;
    let address = gateway.address;
    let session = r#"{"session_id":"s-1"}"#;
    for media_type in
        ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=latin1"]
    {
        post(address, SESSIONS, media_type, session).await.problem(415, "unsupported_media_type");
    }
    let compressed = format!(
        "POST {SESSIONS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n{session}",
        session.len()
    );
    request(address, compressed).await.problem(415, "unsupported_media_type");
    for body in ["", " \n", "[]"] {
        post_json(address, SESSIONS, body).await.problem(400, "no_sessions");
    }
    post_json(address, "/v1/sessions?tenant=acme", session).await.problem(400, "unknown_parameter");
    get(address, "/v1/session").await.problem(404, "not_found");
    let answer = get(address, SESSIONS).await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    assert!(gateway.records(&topic::SESSIONS).is_empty());
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let settings = GatewaySettings { body_bytes_max: 1_000, sessions_max: 3, ..settings() };
    let gateway = Gateway::start_with(settings).await;
    let long = json!({"session_id": "s-1", "reference": "x".repeat(1_000)}).to_string();
    // Refused by its length alone, before any of it is sent.
    let head = "POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1001\r\n\r\n";
    let mut connection = Connection::open(gateway.address).await;
    connection.send(head).await;
    connection.answer().await.problem(413, "body_too_large");
    let chunked = format!(
        "POST /v1/sessions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    request(gateway.address, chunked).await.problem(413, "body_too_large");
    let four = json!([{"session_id": "a"}, {"session_id": "b"}, {"session_id": "c"}, {"session_id": "d"}]);
    post_json(gateway.address, SESSIONS, four.to_string()).await.problem(413, "too_many_sessions");
    assert!(gateway.records(&topic::SESSIONS).is_empty());
}

#[tokio::test]
async fn a_log_that_fails_is_told_and_the_gateway_recovers() {
    let gateway = Gateway::start().await;
    gateway.faults.publish.store(true, Ordering::SeqCst);
    let session = r#"{"session_id":"s-1"}"#;
    let answer = post_json(gateway.address, SESSIONS, session).await;
    answer.problem(503, "not_published");
    assert_eq!(answer.header("retry-after"), Some("1"));
    get(gateway.address, "/health/ready").await.problem(503, "not_ready");
    assert_eq!(get(gateway.address, "/health/live").await.status, 200);
    gateway.faults.publish.store(false, Ordering::SeqCst);
    assert_eq!(post_json(gateway.address, SESSIONS, session).await.status, 202);
    assert_eq!(get(gateway.address, "/health/ready").await.status, 200);
    assert_eq!(published(&gateway).len(), 1);
}

#[tokio::test]
async fn a_log_that_stands_still_is_told_and_what_was_refused_is_not_published() {
    let limits =
        GatewaySettings { publish_wait_max: Duration::from_secs(1), publish_queue_max: 1, ..settings() };
    let gateway = Gateway::start_with(limits).await;
    gateway.faults.hold(true);
    let send = |id: &'static str| {
        let address = gateway.address;
        tokio::spawn(async move { post_json(address, SESSIONS, json!({"session_id": id}).to_string()).await })
    };
    let published_late = send("s-1");
    until("the first one is at the gate", || gateway.faults.begun.load(Ordering::SeqCst) == 1).await;
    let too_late = send("s-2");
    until("the second one is queued", || gateway.queued() == 1).await;
    let turned_away = send("s-3").await.unwrap();
    turned_away.problem(429, "queue_full");
    assert_eq!(turned_away.header("retry-after"), Some("1"));
    for answer in [published_late, too_late] {
        let answer = answer.await.unwrap();
        answer.problem(503, "not_published");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    gateway.faults.hold(false);
    until("the queue is empty", || gateway.queued() == 0).await;
    assert_eq!(post_json(gateway.address, SESSIONS, r#"{"session_id":"s-4"}"#).await.status, 202);
    let mut ids: Vec<String> = published(&gateway).into_iter().map(|session| session.session_id).collect();
    ids.sort();
    // What was at the gate went through, as any write whose answer is lost; what was queued behind it did not.
    assert_eq!(ids, ["s-1", "s-4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_come_together_are_published_together() {
    const REQUESTS: usize = 200;
    let gateway = Gateway::start_with(GatewaySettings { publish_wait_max: PATIENCE, ..settings() }).await;
    gateway.faults.hold(true);
    let send = |request: usize| {
        let address = gateway.address;
        let body = json!([{"session_id": format!("s-{request}")}, {"session_id": format!("t-{request}")}])
            .to_string();
        tokio::spawn(async move { post_json(address, SESSIONS, body).await })
    };
    let mut requests = vec![send(0)];
    until("the first one is at the gate", || gateway.faults.begun.load(Ordering::SeqCst) == 1).await;
    requests.extend((1..REQUESTS).map(send));
    until("all others are queued", || gateway.queued() == REQUESTS - 1).await;
    gateway.faults.hold(false);
    for request in requests {
        assert_eq!(request.await.unwrap().status, 202);
    }
    let sessions = published(&gateway);
    let ids: BTreeSet<&str> = sessions.iter().map(|session| session.session_id.as_str()).collect();
    assert_eq!((ids.len(), sessions.len()), (2 * REQUESTS, 2 * REQUESTS));
    // The first one by itself, and all that came meanwhile together.
    assert_eq!(gateway.faults.publishes.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn bodies_have_a_limit_together_and_a_deadline() {
    let limits =
        GatewaySettings { bodies_bytes_max: 1_000, body_wait_max: Duration::from_secs(5), ..settings() };
    let gateway = Gateway::start_with(limits).await;
    let head = "POST /v1/sessions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                content-length: 2000\r\n\r\n";
    let mut slow = Connection::open(gateway.address).await;
    slow.send(format!("{head}{}", " ".repeat(900))).await;
    let body = json!({"session_id": "s-1", "reference": "x".repeat(200)}).to_string();
    // Until the slow body has been read so far, there is room for this one beside it.
    let refused = within(async {
        loop {
            let answer = post_json(gateway.address, SESSIONS, &body).await;
            if answer.status != 202 {
                break answer;
            }
        }
    });
    let refused = refused.await;
    refused.problem(429, "bodies_too_large");
    slow.answer().await.problem(408, "body_too_slow");
    // Its share is given back.
    assert_eq!(post_json(gateway.address, SESSIONS, &body).await.status, 202);
}

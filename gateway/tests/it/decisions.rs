use crate::fixture::{Gateway, decision, settings, until};
use crate::http::{PATIENCE, get};
use gateway::GatewaySettings;
use schemas::Outcome::{Flag, Pass, Review};
use schemas::json::decision_to_json;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[tokio::test]
async fn the_last_decision_is_returned_as_it_was_made() {
    let gateway = Gateway::start().await;
    gateway.decide(&decision("s-1", 1, Review));
    let last = decision("s-1", 2, Flag);
    gateway.decide(&last);
    let answer = get(gateway.address, "/v1/decisions/s-1?revision_min=2&wait=10s").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json(), decision_to_json(&last));
}

#[tokio::test]
async fn a_session_without_a_decision_is_not_found() {
    let gateway = Gateway::start().await;
    let started = Instant::now();
    let problem = get(gateway.address, "/v1/decisions/s-1").await.problem(404, "decision_not_found");
    assert!(problem["detail"].as_str().unwrap().contains("wait"), "{problem}");
    get(gateway.address, "/v1/decisions/s-1?wait=300ms").await.problem(404, "decision_not_found");
    assert!(started.elapsed() >= Duration::from_millis(300));
    // A decision of another tenant, or a session whose key would be the same without lengths, is another one.
    gateway.decide(&decision("s-1", 1, Pass));
    get(gateway.address, "/v1/decisions/s-1?tenant=acme").await.problem(404, "decision_not_found");
    get(gateway.address, "/v1/decisions/ts-1?tenant=defaul").await.problem(404, "decision_not_found");
    assert_eq!(get(gateway.address, "/v1/decisions/s-1?tenant=default").await.status, 200);
    get(gateway.address, "/v1/decisions/s-1?revision_min=2").await.problem(404, "revision_not_found");
}

#[tokio::test]
async fn who_waits_is_woken_at_once() {
    let gateway = Gateway::start().await;
    let address = gateway.address;
    let waiting = tokio::spawn(async move {
        let answer = get(address, "/v1/decisions/s-1?wait=29s").await;
        (answer, Instant::now())
    });
    let second = tokio::spawn(async move { get(address, "/v1/decisions/s-1?wait=29s&revision_min=2").await });
    let other = tokio::spawn(async move { get(address, "/v1/decisions/s-2?wait=29s").await });
    let decided = Instant::now();
    gateway.decide(&decision("s-1", 1, Pass));
    let (answer, woken) = waiting.await.unwrap();
    assert_eq!((answer.status, answer.json()["revision"].as_i64()), (200, Some(1)));
    // Far from the wait, and from anything that looks again from time to time.
    assert!(woken - decided < Duration::from_secs(3), "woken after {:?}", woken - decided);
    gateway.decide(&decision("s-1", 2, Flag));
    assert_eq!(second.await.unwrap().json()["revision"], 2);
    gateway.decide(&decision("s-2", 1, Pass));
    assert_eq!(other.await.unwrap().json()["session_id"], "s-2");
}

#[tokio::test]
async fn a_wait_is_cut_to_the_most_that_is_allowed() {
    let limits = GatewaySettings { wait_max: Duration::from_millis(100), waiters_max: 0, ..settings() };
    let gateway = Gateway::start_with(limits).await;
    get(gateway.address, "/v1/decisions/s-1?wait=1s").await.problem(429, "too_many_waits");
    let gateway =
        Gateway::start_with(GatewaySettings { wait_max: Duration::from_millis(100), ..settings() }).await;
    let started = Instant::now();
    get(gateway.address, "/v1/decisions/s-1?wait=3600s").await.problem(404, "decision_not_found");
    assert!(started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn session_ids_are_percent_decoded() {
    let gateway = Gateway::start().await;
    for (id, path) in
        [("a/b ñ", "a%2Fb%20%C3%B1"), ("100%", "100%25"), ("?x=1#y", "%3Fx%3D1%23y"), ("..", "%2e%2e")]
    {
        gateway.decide(&decision(id, 1, Pass));
        let answer = get(gateway.address, &format!("/v1/decisions/{path}?wait=10s")).await;
        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
        assert_eq!(answer.json()["session_id"], id);
    }
    get(gateway.address, "/v1/decisions/%FF").await.problem(400, "invalid_session_id");
    get(gateway.address, &format!("/v1/decisions/{}", "x".repeat(513)))
        .await
        .problem(400, "invalid_session_id");
    get(gateway.address, "/v1/decisions/").await.problem(404, "not_found");
}

#[tokio::test]
async fn parameters_are_checked() {
    let gateway = Gateway::start().await;
    for (query, code) in [
        ("wait=2", "invalid_parameter"),
        ("wait=-2s", "invalid_parameter"),
        ("wait=2s&wait=3s", "invalid_parameter"),
        ("revision_min=0", "invalid_parameter"),
        ("revision_min=99999999999", "invalid_parameter"),
        ("tenant=", "invalid_parameter"),
        ("wiat=2s", "unknown_parameter"),
    ] {
        get(gateway.address, &format!("/v1/decisions/s-1?{query}")).await.problem(400, code);
    }
    let problem = get(gateway.address, "/v1/decisions/s-1?wiat=2s").await.json();
    assert!(problem["detail"].as_str().unwrap().contains("did you mean \"wait\"?"), "{problem}");
}

#[tokio::test]
async fn what_is_not_recent_any_more_is_found_in_the_log() {
    let gateway = Gateway::start_with(GatewaySettings { recent_decisions_max: 1, ..settings() }).await;
    for session in 0..20 {
        gateway.decide(&decision(&format!("s-{session}"), 1, Pass));
    }
    for session in 0..20 {
        let answer = get(gateway.address, &format!("/v1/decisions/s-{session}")).await;
        assert_eq!(answer.json()["session_id"], format!("s-{session}"));
    }
}

#[tokio::test]
async fn a_reader_that_fails_misses_nothing() {
    let gateway = Gateway::start().await;
    let address = gateway.address;
    gateway.decide(&decision("s-0", 1, Pass));
    gateway.faults.tail.store(true, Ordering::SeqCst);
    let waiting = tokio::spawn(async move { get(address, "/v1/decisions/s-1?wait=29s").await });
    while get(address, "/health/ready").await.status == 200 {}
    // Both come while nobody follows the topic: only the log can tell.
    gateway.decide(&decision("s-0", 2, Flag));
    gateway.decide(&decision("s-1", 1, Pass));
    assert_eq!(get(address, "/v1/decisions/s-0").await.json()["revision"], 2);
    gateway.faults.tail.store(false, Ordering::SeqCst);
    assert_eq!(waiting.await.unwrap().json()["session_id"], "s-1");
    while get(address, "/health/ready").await.status != 200 {}
    gateway.decide(&decision("s-2", 1, Pass));
    assert_eq!(get(address, "/v1/decisions/s-2?wait=29s").await.status, 200);
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_told() {
    let gateway = Gateway::start().await;
    gateway.faults.find.store(true, Ordering::SeqCst);
    let answer = get(gateway.address, "/v1/decisions/s-1").await;
    answer.problem(503, "log_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    // A recent one needs no look into the log.
    gateway.decide(&decision("s-2", 1, Pass));
    gateway.faults.find.store(false, Ordering::SeqCst);
    assert_eq!(get(gateway.address, "/v1/decisions/s-2?wait=10s").await.status, 200);
    gateway.faults.find.store(true, Ordering::SeqCst);
    until("the decision is among the recent ones", || gateway.follows("s-2")).await;
    assert_eq!(get(gateway.address, "/v1/decisions/s-2").await.status, 200);
}

#[tokio::test]
async fn a_decision_that_cannot_be_read_is_told() {
    let gateway = Gateway::start().await;
    gateway.decide_badly("s-1");
    let answer = get(gateway.address, "/v1/decisions/s-1?wait=10s").await;
    answer.problem(500, "internal");
}

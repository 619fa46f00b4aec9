use crate::fixture::{Gateway, decision, settings, until};
use crate::http::{EventStream, get};
use gateway::GatewaySettings;
use schemas::Outcome::{Flag, Pass, Review};
use schemas::json::decision_to_json;
use schemas::{Decision, Key};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Ids of sessions that are all in one partition, where the log has an order.
fn one_partition(count: usize) -> Vec<String> {
    let in_first = |id: &String| Key::of_session("default", id).partition(crate::fixture::PARTITIONS) == 0;
    (0..).map(|number| format!("s-{number}")).filter(in_first).take(count).collect()
}

async fn ids(stream: &mut EventStream, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(stream.decision().await["session_id"].as_str().unwrap().to_owned());
    }
    ids
}

#[tokio::test]
async fn decisions_are_sent_in_their_order_as_they_are_made() {
    let gateway = Gateway::start().await;
    gateway.decide(&decision("before", 1, Pass));
    until("the first one is seen", || gateway.follows("before")).await;
    let mut stream = EventStream::open(gateway.address, "/v1/decisions", "").await;
    assert!(stream.head.to_lowercase().contains("content-type: text/event-stream"), "{}", stream.head);
    let sessions = one_partition(300);
    for session in &sessions {
        gateway.decide(&decision(session, 1, Pass));
    }
    assert_eq!(ids(&mut stream, 300).await, sessions);
    let last = decision("s-0", 2, Flag);
    gateway.decide(&last);
    let event = stream.next().await.unwrap();
    assert_eq!((event.id.as_deref(), event.event.as_deref()), (Some("s-0-2"), Some("decision")));
    assert_eq!(event.decision(), decision_to_json(&last));
}

#[tokio::test]
async fn a_stream_can_be_filtered() {
    let gateway = Gateway::start().await;
    let mut by_tenant = EventStream::open(gateway.address, "/v1/decisions?tenant=acme", "").await;
    let mut by_outcome = EventStream::open(gateway.address, "/v1/decisions?decision=flag,review", "").await;
    gateway.decide(&decision("s-1", 1, Pass));
    gateway.decide(&Decision { tenant: "acme".into(), ..decision("s-2", 1, Pass) });
    gateway.decide(&decision("s-3", 1, Review));
    gateway.decide(&decision("s-4", 1, Flag));
    gateway.decide(&Decision { tenant: "acme".into(), ..decision("s-5", 1, Pass) });
    let mut both = ids(&mut by_tenant, 2).await;
    both.sort();
    assert_eq!(both, ["s-2", "s-5"]);
    let mut both = ids(&mut by_outcome, 2).await;
    both.sort();
    assert_eq!(both, ["s-3", "s-4"]);
    for query in ["decision=maybe", "decision=", "from=yesterday", "tenant=", "tennant=x"] {
        assert_eq!(get(gateway.address, &format!("/v1/decisions?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_stream_that_was_cut_goes_on_where_it_was() {
    let gateway = Gateway::start().await;
    let sessions = one_partition(10);
    for session in &sessions {
        gateway.decide(&decision(session, 1, Pass));
    }
    until("all are seen", || gateway.follows(&sessions[9])).await;
    let header = format!("last-event-id: {}-1\r\n", sessions[6]);
    for path in ["/v1/decisions", "/v1/decisions?from=earliest", "/v1/decisions?from=latest"] {
        let mut stream = EventStream::open(gateway.address, path, &header).await;
        assert_eq!(ids(&mut stream, 3).await, sessions[7..], "{path}");
    }
}

#[tokio::test]
async fn a_stream_from_the_earliest_decision_has_all_and_goes_on() {
    let gateway = Gateway::start_with(GatewaySettings { recent_decisions_max: 2, ..settings() }).await;
    let sessions = one_partition(500);
    for session in &sessions[..499] {
        gateway.decide(&decision(session, 1, Pass));
    }
    // What the recent ones do not have comes from the log, as does all after an event that they do not know.
    for (path, header) in
        [("/v1/decisions?from=earliest", ""), ("/v1/decisions", "last-event-id: unknown\r\n")]
    {
        let mut stream = EventStream::open(gateway.address, path, header).await;
        assert_eq!(ids(&mut stream, 499).await, sessions[..499], "{path}");
    }
    let mut stream =
        EventStream::open(gateway.address, "/v1/decisions?from=earliest&decision=flag", "").await;
    gateway.decide(&decision(&sessions[499], 1, Flag));
    assert_eq!(ids(&mut stream, 1).await, sessions[499..]);
}

#[tokio::test]
async fn a_client_may_leave_out_what_it_missed() {
    let gateway = Gateway::start().await;
    gateway.decide(&decision("s-1", 1, Pass));
    until("it is seen", || gateway.follows("s-1")).await;
    let path = "/v1/decisions?from=latest";
    let mut stream = EventStream::open(gateway.address, path, "last-event-id: unknown\r\n").await;
    gateway.decide(&decision("s-2", 1, Pass));
    assert_eq!(ids(&mut stream, 1).await, ["s-2"]);
}

/// A decision whose JSON is larger than a socket's buffer can hide many of.
fn large_decision(session: &str) -> Decision {
    Decision { reference: Some("x".repeat(20_000)), ..decision(session, 1, Pass) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_is_dropped_and_holds_up_nobody() {
    // The deadline of the socket is another matter.
    let send_wait_max = Duration::from_secs(600);
    let limits = GatewaySettings { recent_decisions_max: 50, send_wait_max, ..settings() };
    let gateway = Gateway::start_with(limits).await;
    let mut slow = EventStream::open(gateway.address, "/v1/decisions", "").await;
    let mut fast = EventStream::open(gateway.address, "/v1/decisions", "").await;
    // Some 40 MB, far beyond what the system buffers for the slow one, which reads nothing meanwhile.
    let sessions = one_partition(2_000);
    for session in &sessions {
        gateway.decide(&large_decision(session));
        assert_eq!(fast.decision().await["session_id"].as_str(), Some(session.as_str()));
    }
    let mut received = 0;
    let farewell = loop {
        match slow.next().await {
            Some(event) if event.data.is_some() => received += 1,
            Some(event) => break event.comment,
            None => break None,
        }
    };
    assert_eq!(farewell.as_deref(), Some("dropped as too slow, connect again"));
    assert!(received < sessions.len(), "the slow client got all {received}");
    assert_eq!(slow.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_cut_and_makes_room() {
    let limits = GatewaySettings {
        stream_clients_max: 1,
        send_wait_max: Duration::from_millis(300),
        keep_alive: Duration::from_millis(50),
        ..settings()
    };
    let gateway = Gateway::start_with(limits).await;
    let stuck = EventStream::open(gateway.address, "/v1/decisions", "").await;
    get(gateway.address, "/v1/decisions").await.problem(429, "too_many_streams");
    for session in one_partition(2_000) {
        gateway.decide(&large_decision(&session));
    }
    // It is open and reads nothing; only the deadline of the socket can end it.
    let address = gateway.address;
    let room = tokio::spawn(async move {
        loop {
            let answer = EventStream::request(address, "/v1/decisions", "").await;
            if answer.head.starts_with("HTTP/1.1 200") {
                return;
            }
        }
    });
    crate::http::within(room).await.unwrap();
    drop(stuck);
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    let gateway =
        Gateway::start_with(GatewaySettings { keep_alive: Duration::from_millis(20), ..settings() }).await;
    for path in ["/v1/decisions", "/v1/decisions?from=earliest"] {
        let mut stream = EventStream::open(gateway.address, path, "").await;
        for _ in 0..3 {
            assert_eq!(stream.next().await.unwrap().comment.as_deref(), Some("keep-alive"));
        }
    }
}

#[tokio::test]
async fn replays_have_a_limit_of_their_own_and_end_with_their_clients() {
    let gateway = Gateway::start_with(GatewaySettings { replays_max: 1, ..settings() }).await;
    let replay = EventStream::open(gateway.address, "/v1/decisions?from=earliest", "").await;
    get(gateway.address, "/v1/decisions?from=earliest").await.problem(429, "too_many_replays");
    let _live = EventStream::open(gateway.address, "/v1/decisions", "").await;
    drop(replay);
    loop {
        let stream = EventStream::request(gateway.address, "/v1/decisions?from=earliest", "").await;
        if stream.head.starts_with("HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn a_stream_ends_when_decisions_may_have_been_missed() {
    let gateway = Gateway::start().await;
    let mut stream = EventStream::open(gateway.address, "/v1/decisions", "").await;
    let mut replay = EventStream::open(gateway.address, "/v1/decisions?from=earliest", "").await;
    gateway.faults.tail.store(true, Ordering::SeqCst);
    assert_eq!(stream.farewell().await.as_deref(), Some("the log was interrupted, connect again"));
    assert_eq!(replay.farewell().await.as_deref(), Some("the log cannot be read, connect again"));
    get(gateway.address, "/v1/decisions").await.problem(503, "log_unavailable");
    gateway.faults.tail.store(false, Ordering::SeqCst);
    while get(gateway.address, "/health/ready").await.status != 200 {}
    let mut stream = EventStream::open(gateway.address, "/v1/decisions", "").await;
    gateway.decide(&decision("s-1", 1, Pass));
    assert_eq!(ids(&mut stream, 1).await, ["s-1"]);
}

#[tokio::test]
async fn a_decision_that_cannot_be_read_is_left_out() {
    let gateway = Gateway::start().await;
    let mut stream = EventStream::open(gateway.address, "/v1/decisions", "").await;
    gateway.decide_badly("s-0");
    gateway.decide(&decision("s-1", 1, Pass));
    let received: Value = stream.decision().await;
    assert_eq!(received["session_id"], "s-1");
}

use crate::fixture::{Gateway, settings, until};
use crate::http::{Connection, EventStream, get, post_json};
use gateway::GatewaySettings;
use schemas::topic;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_ends_streams() {
    let mut gateway = Gateway::start().await;
    let address = gateway.address;
    let mut live = EventStream::open(address, "/v1/decisions", "").await;
    let mut replay = EventStream::open(address, "/v1/decisions?from=earliest", "").await;
    let mut idle = Connection::open(address).await;
    gateway.faults.hold(true);
    let posting =
        tokio::spawn(async move { post_json(address, "/v1/sessions", r#"{"session_id":"s-1"}"#).await });
    until("the session is at the gate", || gateway.faults.begun.load(Ordering::SeqCst) == 1).await;
    let mut waiting = Connection::open(address).await;
    waiting.send("GET /v1/decisions/s-1?wait=29s HTTP/1.1\r\nhost: x\r\n\r\n").await;
    until("the wait is under way", || gateway.waiters() == 1).await;

    gateway.tell_to_stop();
    for stream in [&mut live, &mut replay] {
        assert_eq!(stream.farewell().await.as_deref(), Some("the gateway is stopping, connect again"));
    }
    waiting.answer().await.problem(503, "stopping");
    assert!(idle.closes_without_answer().await);
    gateway.faults.hold(false);
    assert_eq!(posting.await.unwrap().status, 202);
    gateway.stopped().await;
    assert_eq!(gateway.records(&topic::SESSIONS).len(), 1);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut gateway =
        Gateway::start_with(GatewaySettings { drain_wait_max: Duration::from_millis(100), ..settings() })
            .await;
    let mut endless = Connection::open(gateway.address).await;
    endless
        .send("POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
        .await;
    assert_eq!(get(gateway.address, "/health/ready").await.status, 200);
    gateway.tell_to_stop();
    gateway.stopped().await;
    assert!(endless.closes_without_answer().await);
}

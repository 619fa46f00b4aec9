//! Every limit of the gateway.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What a gateway may be told. The defaults suit one process beside its operators on a small machine.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Tenants whose sessions are taken; none means any.
    pub tenants: BTreeSet<String>,
    /// Prefix of the deployment's topics, which is part of the subjects of the schema registry.
    pub topic_prefix: String,

    /// Connections at a time; further ones wait to be accepted.
    pub connections_max: usize,
    /// Bytes of a request's line and headers.
    pub head_bytes_max: usize,
    /// Time for a request's line and headers, and for which an idle connection is kept.
    pub head_wait_max: Duration,
    /// Time for a request's body.
    pub body_wait_max: Duration,
    /// Time for which a client may take nothing of what it is sent.
    pub send_wait_max: Duration,
    /// Time for requests under way when the gateway stops.
    pub drain_wait_max: Duration,

    /// Bytes of one body. The default is what the largest session needs: four images in base64.
    pub body_bytes_max: usize,
    /// Bytes of all bodies that are not published yet.
    pub bodies_bytes_max: usize,
    /// Sessions of one request.
    pub sessions_max: usize,

    /// Requests that wait to be published.
    pub publish_queue_max: usize,
    /// Bytes of records that are published together; one request may have more.
    pub publish_group_bytes_max: usize,
    /// Time to wait for requests that are being read and may join a group. With nobody to wait for, none is lost.
    pub publish_linger: Duration,
    /// Time until a request that is not published is answered with 503.
    pub publish_wait_max: Duration,

    /// Longest `wait` for a decision.
    pub wait_max: Duration,
    /// Requests that wait for a decision at a time.
    pub waiters_max: usize,
    /// Decisions that are looked up in the log at a time.
    pub lookups_max: usize,
    /// Time for one look into the log.
    pub lookup_wait_max: Duration,
    /// Decisions kept in memory for readers and for streams that were cut.
    pub recent_decisions_max: usize,
    /// Bytes of the decisions kept in memory, their JSON among them whether it is there yet or not.
    pub recent_bytes_max: usize,

    /// Streams of decisions at a time.
    pub stream_clients_max: usize,
    /// Streams that read from the beginning of the log at a time, each with a thread of its own.
    pub replays_max: usize,
    /// Time between the comments that keep a silent stream alive.
    pub keep_alive: Duration,

    /// What a client that is turned away is told to wait.
    pub retry_after: Duration,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            tenants: BTreeSet::new(),
            topic_prefix: String::new(),
            connections_max: 1_024,
            head_bytes_max: 64 << 10,
            head_wait_max: Duration::from_secs(30),
            body_wait_max: Duration::from_secs(30),
            send_wait_max: Duration::from_secs(30),
            drain_wait_max: Duration::from_secs(10),
            body_bytes_max: schemas::json::INPUT_BYTES_MAX,
            bodies_bytes_max: 2 * schemas::json::INPUT_BYTES_MAX,
            sessions_max: 1_000,
            publish_queue_max: 1_024,
            publish_group_bytes_max: 4 << 20,
            publish_linger: Duration::from_millis(1),
            publish_wait_max: Duration::from_secs(10),
            wait_max: Duration::from_secs(30),
            waiters_max: 1_000,
            lookups_max: 16,
            lookup_wait_max: Duration::from_secs(10),
            recent_decisions_max: 10_000,
            recent_bytes_max: 64 << 20,
            stream_clients_max: 100,
            replays_max: 4,
            keep_alive: Duration::from_secs(15),
            retry_after: Duration::from_secs(1),
        }
    }
}

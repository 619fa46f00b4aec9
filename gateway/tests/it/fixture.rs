//! A gateway that serves, and the log behind it, which can be made to fail.

use gateway::{GatewaySettings, GatewayState, bind};
use pipeline::bus::local::LocalLog;
use pipeline::store::MemoryStore;
use pipeline::{BusError, Edge, Header, LogRecord, NewRecord, Start, SystemClock, Tail};
use schemas::{Codec, Decision, Key, Outcome, TopicSpec, topic};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const PARTITIONS: u32 = 4;

/// A gateway that serves until it is dropped or stopped.
pub struct Gateway {
    pub address: SocketAddr,
    pub log: Arc<LocalLog>,
    pub faults: Arc<Faults>,
    pub codec: Arc<Codec>,
    // Held weakly, since its threads end with its last holder.
    state: Weak<GatewayState>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
}

/// What goes wrong with the log.
#[derive(Default)]
pub struct Faults {
    /// Publishing fails.
    pub publish: AtomicBool,
    /// Looking up a key fails.
    pub find: AtomicBool,
    /// Readers fail, the open ones and new ones.
    pub tail: AtomicBool,
    /// How often something was to be published, what is held back among it.
    pub begun: AtomicUsize,
    /// How often something was published.
    pub publishes: AtomicUsize,
    /// While it is held, nothing is published.
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Faults {
    /// Holds back what is published from now on, or lets it go.
    pub fn hold(&self, held: bool) {
        *self.gate.lock().unwrap() = held;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let held = self.gate.lock().unwrap();
        drop(self.opened.wait_while(held, |held| *held).unwrap());
    }
}

struct FaultyEdge {
    log: Arc<LocalLog>,
    faults: Arc<Faults>,
}

struct FaultyTail {
    tail: Box<dyn Tail>,
    faults: Arc<Faults>,
}

fn fail_if(fault: &AtomicBool, action: &'static str) -> Result<(), BusError> {
    if fault.load(Ordering::SeqCst) { Err(BusError::retry(action, "the test wants it so")) } else { Ok(()) }
}

impl Edge for FaultyEdge {
    fn partitions(&self) -> u32 {
        self.log.partitions()
    }

    fn publish(&self, records: Vec<NewRecord>) -> Result<(), BusError> {
        self.faults.begun.fetch_add(1, Ordering::SeqCst);
        self.faults.pass();
        fail_if(&self.faults.publish, "publish records")?;
        self.faults.publishes.fetch_add(1, Ordering::SeqCst);
        self.log.publish(records)
    }

    fn publish_atomically(&self, records: Vec<NewRecord>) -> Result<(), BusError> {
        self.log.publish_atomically(records)
    }

    fn tail(&self, topic: &'static TopicSpec, start: Start) -> Result<Box<dyn Tail>, BusError> {
        fail_if(&self.faults.tail, "open a reader")?;
        let (tail, faults) = (self.log.tail(topic, start)?, Arc::clone(&self.faults));
        Ok(Box::new(FaultyTail { tail, faults }))
    }

    fn read_compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, BusError> {
        self.log.read_compacted(topic)
    }

    fn find_compacted(&self, topic: &'static TopicSpec, key: &[u8]) -> Result<Option<LogRecord>, BusError> {
        fail_if(&self.faults.find, "find a record")?;
        self.log.find_compacted(topic, key)
    }
}

impl Tail for FaultyTail {
    fn next(&mut self, records_max: usize, wait: Duration) -> Result<Vec<LogRecord>, BusError> {
        fail_if(&self.faults.tail, "read records")?;
        self.tail.next(records_max, wait)
    }
}

/// Settings of a gateway on a free port.
pub fn settings() -> GatewaySettings {
    GatewaySettings { listen: ([127, 0, 0, 1], 0).into(), ..GatewaySettings::default() }
}

impl Gateway {
    pub async fn start() -> Self {
        Self::start_with(settings()).await
    }

    pub async fn start_with(settings: GatewaySettings) -> Self {
        let store = Arc::new(MemoryStore::default());
        let log = LocalLog::open(store, Arc::new(SystemClock), PARTITIONS, false).expect("the log opens");
        let (faults, codec) = (Arc::new(Faults::default()), Arc::new(Codec::new()));
        let edge = FaultyEdge { log: Arc::clone(&log), faults: Arc::clone(&faults) };
        let bound = bind(settings, Arc::new(edge), Arc::clone(&codec)).await.expect("the gateway starts");
        let (address, state) = (bound.address(), Arc::downgrade(bound.state()));
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(bound.run(async {
            let _ = stopped.await;
        }));
        Self { address, log, faults, codec, state, stop: Some(stop), served: Some(served) }
    }

    /// Returns how many requests wait to be published.
    pub fn queued(&self) -> usize {
        self.state.upgrade().expect("the gateway runs").publish_queue_requests()
    }

    /// Returns how many requests wait for decisions.
    pub fn waiters(&self) -> usize {
        self.state.upgrade().expect("the gateway runs").decision_waiters()
    }

    /// Tells whether the gateway has seen a decision of a session.
    pub fn follows(&self, session_id: &str) -> bool {
        let state = self.state.upgrade().expect("the gateway runs");
        state.has_recent(&Key::of_session("default", session_id))
    }

    /// Tells the gateway to stop, without waiting until it has.
    pub fn tell_to_stop(&mut self) {
        self.stop.take().expect("it is told once").send(()).expect("the gateway runs");
    }

    /// Waits until the gateway has stopped.
    pub async fn stopped(&mut self) {
        let served = self.served.take().expect("it stops once");
        super::http::within(served).await.expect("the gateway does not panic");
    }

    /// Returns all records of a topic, partition by partition.
    pub fn records(&self, topic: &'static TopicSpec) -> Vec<LogRecord> {
        (0..PARTITIONS)
            .flat_map(|partition| self.log.read(topic, partition, 0, usize::MAX).unwrap())
            .collect()
    }

    /// Publishes a decision as fusion does.
    pub fn decide(&self, decision: &Decision) {
        let mut value = Vec::new();
        self.codec.encode(decision, &mut value).unwrap();
        self.append(&Key::of_session(&decision.tenant, &decision.session_id), decision.revision, &value);
    }

    /// Publishes bytes that begin as a decision of a session and are none.
    pub fn decide_badly(&self, session_id: &str) {
        let mut value = Vec::new();
        self.codec.encode(&decision(session_id, 1, Outcome::Pass), &mut value).unwrap();
        value.truncate(9);
        self.append(&Key::of_session("default", session_id), 1, &value);
    }

    fn append(&self, key: &Key, revision: i32, value: &[u8]) {
        let record = |topic| NewRecord {
            topic,
            partition: key.partition(PARTITIONS),
            key: Some(key.as_bytes().to_vec()),
            value: Some(value.to_vec()),
            headers: vec![Header::new("revision", revision.to_string())],
            time: 1_772_366_400_000,
        };
        self.log.append(vec![record(&topic::DECISIONS), record(&topic::DECISIONS_LATEST)]).unwrap();
    }
}

impl Drop for Gateway {
    /// Lets go what is held back, since the gateway would wait for it while a test that failed is cleared away.
    fn drop(&mut self) {
        self.faults.hold(false);
    }
}

/// Returns a decision.
pub fn decision(session_id: &str, revision: i32, outcome: Outcome) -> Decision {
    Decision {
        tenant: "default".into(),
        session_id: session_id.into(),
        account_id: session_id.into(),
        decision_id: format!("{session_id}-{revision}"),
        revision,
        decision: outcome,
        risk_score: 12.5,
        decided_at: 1_772_366_400_000,
        ..Decision::default()
    }
}

/// Waits until something is so; for what has no event to wait for.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + super::http::PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

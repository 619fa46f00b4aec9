//! The decisions of the last minutes: one thread follows the topic, keeps what came last, and wakes who waits for it.
//!
//! A reader keeps its own place in the one queue that all share, so that a slow one holds up nobody and costs nothing.
//! Records are kept as they came; one is decoded when the first reader wants it, and then once for all.

use crate::error::GatewayError;
use crate::settings::GatewaySettings;
use crate::telemetry;
use pipeline::{BusError, Edge, LogRecord, Start, Tail};
use schemas::json::decision_to_json;
use schemas::{Codec, Decision, Key, topic};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Most records of one partition that are taken at a time.
const RECORDS_MAX: usize = 500;
/// How long the thread listens before it looks whether it should stop.
const LISTEN: Duration = Duration::from_millis(250);
/// Pause after a failure; it doubles from failure to failure, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// What an event costs beside its bytes, roughly.
const EVENT_BYTES: usize = 300;

/// A decision as it stands in the log, and in JSON once somebody has asked for it.
pub(crate) struct Event {
    /// The key of its session.
    key: Key,
    value: Vec<u8>,
    pub(crate) revision: i32,
    rendered: OnceLock<Option<Rendered>>,
}

/// A decision as clients see it.
pub(crate) struct Rendered {
    pub(crate) decision_id: String,
    pub(crate) outcome: &'static str,
    pub(crate) json: String,
}

impl Event {
    /// Takes over a record of a topic of decisions; none for one without a decision.
    pub(crate) fn of(record: LogRecord, codec: &Codec) -> Option<Self> {
        let revision = record.header("revision").and_then(|revision| revision.parse().ok());
        let (key, value) = (Key::from_bytes(record.key?), record.value?);
        let own_schema = value.get(1..5) == Some(&codec.id::<Decision>().to_be_bytes());
        let event = Self { key, value, revision: revision.unwrap_or(1), rendered: OnceLock::new() };
        // A schema of another writer may have to be fetched, which a task must not wait for. Rendered here, on the
        // thread of the follower, it is there for all.
        if !own_schema || revision.is_none() {
            let decision = event.decode(codec);
            let revision = decision.as_ref().map_or(event.revision, |decision| decision.revision);
            return Some(Self { revision, rendered: OnceLock::from(decision.map(Rendered::of)), ..event });
        }
        Some(event)
    }

    /// Returns the tenant.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.key.session().map(|(tenant, _)| tenant)
    }

    /// Returns the decision as clients see it; none where its bytes cannot be read.
    pub(crate) fn rendered(&self, codec: &Codec) -> Option<&Rendered> {
        self.rendered.get_or_init(|| self.decode(codec).map(Rendered::of)).as_ref()
    }

    fn decode(&self, codec: &Codec) -> Option<Decision> {
        codec.decode(&self.value).map_err(|error| telemetry::decision_unreadable(&error)).ok()
    }

    fn bytes(&self) -> usize {
        // Its JSON is some three times as long as its encoding, and counts before anybody has asked for it.
        4 * self.value.len() + 2 * self.key.as_bytes().len() + EVENT_BYTES
    }
}

impl Rendered {
    fn of(decision: Decision) -> Self {
        let (json, outcome) = (decision_to_json(&decision).to_string(), decision.decision.as_str());
        Self { decision_id: decision.decision_id, outcome, json }
    }
}

/// The decisions that came last.
pub(crate) struct Feed {
    inner: Mutex<Inner>,
    /// Rises with whatever happens to the queue.
    changes: watch::Sender<u64>,
    events_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Inner {
    /// Counts how often the thread lost its place in the log, which leaves a gap in the queue.
    epoch: u64,
    following: bool,
    /// Place of the first event of the queue among all there ever were.
    first: u64,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    last: HashMap<Key, Arc<Event>>,
    waiters: HashMap<Key, Vec<Waiter>>,
    next_waiter: u64,
}

struct Waiter {
    number: u64,
    revision_min: i32,
    sender: oneshot::Sender<Arc<Event>>,
}

/// A reader's place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    epoch: u64,
    next: u64,
}

/// What comes after a place.
pub(crate) enum Next {
    /// These events; none where there are none yet.
    Events(Vec<Arc<Event>>),
    /// More has gone by than is kept.
    TooSlow,
    /// The thread lost its place in the log.
    Gap,
}

impl Feed {
    pub(crate) fn new(settings: &GatewaySettings) -> Arc<Self> {
        let (changes, _) = watch::channel(0);
        let (events_max, bytes_max) = (settings.recent_decisions_max.max(1), settings.recent_bytes_max);
        Arc::new(Self { inner: Mutex::default(), changes, events_max, bytes_max })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the topic is being followed.
    pub(crate) fn is_following(&self) -> bool {
        self.lock().following
    }

    /// Returns the last decision of a session, where it is among the recent ones.
    pub(crate) fn last(&self, key: &Key) -> Option<Arc<Event>> {
        self.lock().last.get(key).cloned()
    }

    /// Waits for a decision of at least a revision. The wait begins with this call, not when it is first polled.
    pub(crate) fn wait(self: &Arc<Self>, key: &Key, revision_min: i32) -> Wait {
        let (sender, receiver) = oneshot::channel();
        let mut inner = self.lock();
        let number = inner.next_waiter;
        inner.next_waiter += 1;
        inner.waiters.entry(key.clone()).or_default().push(Waiter { number, revision_min, sender });
        Wait { feed: Arc::clone(self), key: key.clone(), number, receiver }
    }

    /// Returns how many wait.
    pub(crate) fn waiters(&self) -> usize {
        self.lock().waiters.values().map(Vec::len).sum()
    }

    /// Returns the place after the newest decision.
    pub(crate) fn end(&self) -> Place {
        let inner = self.lock();
        Place { epoch: inner.epoch, next: inner.first + inner.events.len() as u64 }
    }

    /// Returns the place after a decision, where it is among the recent ones.
    pub(crate) fn after(&self, decision_id: &str, codec: &Codec) -> Option<Place> {
        let (epoch, first, events) = {
            let inner = self.lock();
            (inner.epoch, inner.first, inner.events.iter().cloned().collect::<Vec<_>>())
        };
        // A stream that was cut was mostly cut a moment ago.
        let is_wanted =
            |event: &Arc<Event>| event.rendered(codec).is_some_and(|event| event.decision_id == decision_id);
        let place = events.iter().rposition(is_wanted)?;
        Some(Place { epoch, next: first + place as u64 + 1 })
    }

    /// Returns what comes after a place, and moves it on.
    pub(crate) fn next(&self, place: &mut Place, events_max: usize) -> Next {
        let inner = self.lock();
        if place.epoch != inner.epoch {
            return Next::Gap;
        }
        let Some(skipped) = place.next.checked_sub(inner.first) else { return Next::TooSlow };
        // The queue is in memory, so that its length fits.
        let events: Vec<_> = inner.events.iter().skip(skipped as usize).take(events_max).cloned().collect();
        place.next += events.len() as u64;
        Next::Events(events)
    }

    /// Returns a receiver that is told of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Adds what came.
    fn push(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut awake = Vec::new();
        let mut inner = self.lock();
        for event in events {
            let event = Arc::new(event);
            inner.wake(&event, &mut awake);
            inner.bytes += event.bytes();
            inner.last.insert(event.key.clone(), Arc::clone(&event));
            inner.events.push_back(event);
        }
        inner.trim(self.events_max, self.bytes_max);
        drop(inner);
        for (sender, event) in awake {
            // Who has given up waiting does not mind.
            let _ = sender.send(event);
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Notes that the topic is followed from here on, or that it is not any more. What was kept is dropped, since a newer
    /// decision may have been missed, and who waits looks anew.
    fn restart(&self, following: bool) {
        let mut inner = self.lock();
        let (epoch, next_waiter) = (inner.epoch + 1, inner.next_waiter);
        let old = std::mem::replace(&mut *inner, Inner { epoch, following, next_waiter, ..Inner::default() });
        drop(inner);
        drop(old);
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl Inner {
    fn wake(&mut self, event: &Arc<Event>, awake: &mut Vec<(oneshot::Sender<Arc<Event>>, Arc<Event>)>) {
        let Some(waiters) = self.waiters.get_mut(&event.key) else { return };
        let ready = waiters.extract_if(.., |waiter| waiter.revision_min <= event.revision);
        awake.extend(ready.map(|waiter| (waiter.sender, Arc::clone(event))));
        if waiters.is_empty() {
            self.waiters.remove(&event.key);
        }
    }

    fn trim(&mut self, events_max: usize, bytes_max: usize) {
        // The newest stays, however large it is.
        while self.events.len() > events_max || (self.bytes > bytes_max && self.events.len() > 1) {
            let Some(oldest) = self.events.pop_front() else { return };
            self.first += 1;
            self.bytes -= oldest.bytes();
            if self.last.get(&oldest.key).is_some_and(|last| Arc::ptr_eq(last, &oldest)) {
                self.last.remove(&oldest.key);
            }
        }
    }
}

/// A wait for a decision, which ends with an error when the feed starts anew.
pub(crate) struct Wait {
    feed: Arc<Feed>,
    key: Key,
    number: u64,
    receiver: oneshot::Receiver<Arc<Event>>,
}

impl Wait {
    /// Returns the decision; none where one may have been missed, so that the log has to be asked.
    pub(crate) async fn event(&mut self) -> Option<Arc<Event>> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut inner = self.feed.lock();
        let Some(waiters) = inner.waiters.get_mut(&self.key) else { return };
        waiters.retain(|waiter| waiter.number != self.number);
        if waiters.is_empty() {
            inner.waiters.remove(&self.key);
        }
    }
}

/// The thread that follows the topic.
pub(crate) struct Follower {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts the thread. The topic is opened before this returns, so that no decision after it is missed.
    pub(crate) fn start(
        edge: Arc<dyn Edge>,
        feed: Arc<Feed>,
        codec: Arc<Codec>,
    ) -> Result<Self, GatewayError> {
        let stop = Arc::new(AtomicBool::new(false));
        let opened = edge.tail(&topic::DECISIONS, Start::Latest);
        if opened.is_ok() {
            feed.restart(true);
        }
        let name = "gateway-follower";
        let stopping = Arc::clone(&stop);
        let follow = move || follow(edge.as_ref(), &feed, &codec, opened, &stopping);
        let thread = std::thread::Builder::new().name(name.into()).spawn(follow);
        let thread = Some(thread.map_err(|source| GatewayError::Thread { name, source })?);
        Ok(Self { stop, thread })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                telemetry::thread_panicked("gateway-follower");
            }
        }
    }
}

fn follow(
    edge: &dyn Edge,
    feed: &Feed,
    codec: &Codec,
    mut opened: Result<Box<dyn Tail>, BusError>,
    stop: &AtomicBool,
) {
    let mut pause = PAUSE_FIRST;
    while !stop.load(Ordering::Relaxed) {
        let failed = opened.and_then(|tail| {
            pause = PAUSE_FIRST;
            read(tail, feed, codec, stop)
        });
        if let Err(error) = failed {
            telemetry::follow_failed(&error);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        feed.restart(false);
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(PAUSE_MAX);
        opened = edge.tail(&topic::DECISIONS, Start::Latest);
        if opened.is_ok() {
            feed.restart(true);
        }
    }
}

/// Reads until it fails or is told to stop.
fn read(mut tail: Box<dyn Tail>, feed: &Feed, codec: &Codec, stop: &AtomicBool) -> Result<(), BusError> {
    while !stop.load(Ordering::Relaxed) {
        let records = tail.next(RECORDS_MAX, LISTEN)?;
        feed.push(records.into_iter().filter_map(|record| Event::of(record, codec)).collect());
    }
    Ok(())
}

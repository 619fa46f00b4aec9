//! Group commit: one thread publishes the records of all requests, those that come together in one go, so that one flush
//! to the disk or one round trip to the brokers serves many.

use crate::error::GatewayError;
use crate::problem::Problem;
use crate::settings::GatewaySettings;
use crate::telemetry;
use pipeline::{Edge, NewRecord};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// How long a failure counts against readiness: long enough to be seen, and short enough that a gateway which gets no
/// requests for it is asked again.
const FAILURE_KEPT: Duration = Duration::from_secs(10);

/// Publishes records.
pub(crate) struct Publisher {
    /// Gone once the publisher is closed.
    sender: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    preparing: Arc<AtomicUsize>,
    queued: Arc<AtomicUsize>,
    failed_at: Arc<Mutex<Option<Instant>>>,
    wait_max: Duration,
    retry_after: Duration,
}

/// The records of one request.
struct Job {
    records: Vec<NewRecord>,
    bytes: usize,
    queued_at: Instant,
    reply: oneshot::Sender<bool>,
    /// The request's body counts until its records are safe.
    _share: Option<OwnedSemaphorePermit>,
}

/// A request that is being read and will probably publish something.
pub(crate) struct Preparing(Arc<AtomicUsize>);

impl Drop for Preparing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Publisher {
    /// Starts the thread.
    pub(crate) fn start(edge: Arc<dyn Edge>, settings: &GatewaySettings) -> Result<Self, GatewayError> {
        let (sender, receiver) = sync_channel(settings.publish_queue_max);
        let (preparing, queued) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let failed_at = Arc::new(Mutex::new(None));
        let mut group = Group {
            edge,
            receiver,
            preparing: Arc::clone(&preparing),
            queued: Arc::clone(&queued),
            failed_at: Arc::clone(&failed_at),
            bytes_max: settings.publish_group_bytes_max,
            linger: settings.publish_linger,
            wait_max: settings.publish_wait_max,
            left_over: None,
        };
        let name = "gateway-publisher";
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || group.run());
        let thread = Some(thread.map_err(|source| GatewayError::Thread { name, source })?);
        let (wait_max, retry_after) = (settings.publish_wait_max, settings.retry_after);
        Ok(Self { sender: Some(sender), thread, preparing, queued, failed_at, wait_max, retry_after })
    }

    /// Announces a request, for which a group waits a moment.
    pub(crate) fn prepare(&self) -> Preparing {
        self.preparing.fetch_add(1, Ordering::Relaxed);
        Preparing(Arc::clone(&self.preparing))
    }

    /// Publishes the records of a request, in their order, and returns when they are safe.
    pub(crate) async fn publish(
        &self,
        records: Vec<NewRecord>,
        share: Option<OwnedSemaphorePermit>,
        preparing: Preparing,
    ) -> Result<(), Problem> {
        let (reply, answer) = oneshot::channel();
        let bytes = records.iter().map(|record| record.value.as_ref().map_or(0, Vec::len)).sum();
        let job = Job { records, bytes, queued_at: Instant::now(), reply, _share: share };
        let unavailable = || {
            // Records that were written although the answer says otherwise do no harm when they come again.
            let detail = "the records may not be safe; send the same request again";
            Problem::unavailable("not_published", detail, self.retry_after)
        };
        // Counted before it is there, so that the thread never takes away what is not counted yet.
        self.queued.fetch_add(1, Ordering::Relaxed);
        let sent = self.sender.as_ref().map(|sender| sender.try_send(job));
        if !matches!(sent, Some(Ok(()))) {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(match sent {
                Some(Err(TrySendError::Full(_))) => {
                    Problem::busy("queue_full", "too many requests wait to be published", self.retry_after)
                }
                _ => unavailable(),
            });
        }
        drop(preparing);
        match tokio::time::timeout(self.wait_max, answer).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(unavailable()),
        }
    }

    /// Returns how many requests wait to be published.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Tells whether nothing failed in the last seconds.
    pub(crate) fn is_well(&self) -> bool {
        let failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed_at.is_none_or(|failed_at| failed_at.elapsed() > FAILURE_KEPT)
    }
}

impl Drop for Publisher {
    /// Publishes what is queued and ends the thread.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            telemetry::thread_panicked("gateway-publisher");
        }
    }
}

/// What the thread works with.
struct Group {
    edge: Arc<dyn Edge>,
    receiver: Receiver<Job>,
    preparing: Arc<AtomicUsize>,
    queued: Arc<AtomicUsize>,
    failed_at: Arc<Mutex<Option<Instant>>>,
    bytes_max: usize,
    linger: Duration,
    wait_max: Duration,
    /// A job that was taken but had no room in the last group.
    left_over: Option<Job>,
}

impl Group {
    fn run(&mut self) {
        while let Some(first) = self.left_over.take().or_else(|| self.receiver.recv().ok()) {
            let jobs = self.gather(first);
            self.publish(jobs);
        }
    }

    /// Takes all jobs that are there, and waits for requests that are nearly there.
    fn gather(&mut self, first: Job) -> Vec<Job> {
        let until = Instant::now() + self.linger;
        let mut bytes = first.bytes;
        let mut jobs = vec![first];
        loop {
            let next = match self.receiver.try_recv() {
                Ok(job) => Some(job),
                Err(_) if self.preparing.load(Ordering::Relaxed) == 0 => None,
                Err(_) => self.receiver.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
            };
            let Some(job) = next else { return jobs };
            if bytes + job.bytes > self.bytes_max {
                self.left_over = Some(job);
                return jobs;
            }
            bytes += job.bytes;
            jobs.push(job);
        }
    }

    fn publish(&mut self, mut jobs: Vec<Job>) {
        let left = self.queued.fetch_sub(jobs.len(), Ordering::Relaxed) - jobs.len();
        telemetry::publish_queue(left);
        // Whoever asked for these was told that they are not published.
        jobs.retain(|job| job.queued_at.elapsed() < self.wait_max);
        let records: Vec<NewRecord> =
            jobs.iter_mut().flat_map(|job| std::mem::take(&mut job.records)).collect();
        if records.is_empty() {
            return;
        }
        let (count, started) = (records.len(), Instant::now());
        let published = self.edge.publish(records);
        telemetry::published(count, jobs.len(), started.elapsed(), published.is_ok());
        let mut failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        *failed_at = published.is_err().then(Instant::now);
        drop(failed_at);
        if let Err(error) = &published {
            telemetry::publish_failed(error);
        }
        for job in jobs {
            // A client that has gone has no use for the answer.
            let _ = job.reply.send(published.is_ok());
        }
    }
}

//! What all requests share.

use crate::body::Bodies;
use crate::catalogue::Catalogue;
use crate::error::GatewayError;
use crate::feed::{Feed, Follower};
use crate::openapi;
use crate::publisher::Publisher;
use crate::settings::GatewaySettings;
use pipeline::Edge;
use schemas::{Codec, Key};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// What all requests share: the log, what is remembered of it, and what is left of every limit.
///
/// Dropping it ends its threads, after what is queued is published.
pub struct GatewayState {
    pub(crate) settings: GatewaySettings,
    pub(crate) edge: Arc<dyn Edge>,
    pub(crate) codec: Arc<Codec>,
    pub(crate) partitions: u32,
    pub(crate) bodies: Bodies,
    pub(crate) publisher: Publisher,
    pub(crate) feed: Arc<Feed>,
    pub(crate) catalogue: Catalogue,
    pub(crate) openapi: String,
    pub(crate) waiters: Semaphore,
    pub(crate) lookups: Semaphore,
    pub(crate) stream_clients: Arc<Semaphore>,
    pub(crate) replays: Arc<Semaphore>,
    /// Whether the gateway is stopping.
    pub(crate) closing: watch::Sender<bool>,
    _follower: Follower,
}

impl GatewayState {
    /// Makes the state and starts its threads.
    pub fn open(
        settings: GatewaySettings,
        edge: Arc<dyn Edge>,
        codec: Arc<Codec>,
    ) -> Result<Arc<Self>, GatewayError> {
        let feed = Feed::new(&settings);
        let (closing, _) = watch::channel(false);
        let permits = |count: usize| Semaphore::new(count.min(Semaphore::MAX_PERMITS));
        Ok(Arc::new(Self {
            partitions: edge.partitions(),
            bodies: Bodies::new(&settings),
            catalogue: Catalogue::of(&codec, &settings.topic_prefix)?,
            openapi: openapi::document().to_string(),
            waiters: permits(settings.waiters_max),
            lookups: permits(settings.lookups_max),
            stream_clients: Arc::new(permits(settings.stream_clients_max)),
            replays: Arc::new(permits(settings.replays_max)),
            closing,
            publisher: Publisher::start(Arc::clone(&edge), &settings)?,
            _follower: Follower::start(Arc::clone(&edge), Arc::clone(&feed), Arc::clone(&codec))?,
            feed,
            settings,
            edge,
            codec,
        }))
    }

    /// Ends streams and waits for decisions, so that their connections can close.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Returns how many requests wait to be published.
    pub fn publish_queue_requests(&self) -> usize {
        self.publisher.queued()
    }

    /// Returns how many requests wait for decisions.
    pub fn decision_waiters(&self) -> usize {
        self.feed.waiters()
    }

    /// Tells whether a decision with this key is among the recent ones.
    pub fn has_recent(&self, key: &Key) -> bool {
        self.feed.last(key).is_some()
    }

    /// Tells whether sessions are published and decisions followed.
    pub fn is_ready(&self) -> bool {
        !*self.closing.borrow() && self.feed.is_following() && self.publisher.is_well()
    }
}

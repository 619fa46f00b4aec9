//! `GET /v1/decisions`: decisions as they are made, as server-sent events.
//!
//! A stream delivers at least once: where a client's last event is not among the recent ones, it begins with the oldest
//! decision in the log, unless the client says `from=latest`.

use crate::error::GatewayError;
use crate::feed::{Event, Next, Place};
use crate::problem::Problem;
use crate::query::{Parameters, invalid};
use crate::state::GatewayState;
use crate::telemetry::{self, StreamClient};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use pipeline::{BusError, Edge, Start};
use schemas::{Codec, Outcome, topic};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Names of the parameters.
pub(crate) const PARAMETERS: &[&str] = &["tenant", "decision", "from"];
/// Most events that are taken from the feed at a time.
const EVENTS_MAX: usize = 64;
/// Most records of one partition that a replay takes at a time.
const RECORDS_MAX: usize = 256;
/// How long a replay listens before it looks whether its client is still there.
const LISTEN: Duration = Duration::from_millis(500);

/// Opens a stream.
pub(crate) async fn get(
    State(state): State<Arc<GatewayState>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let parameters = Parameters::of(&uri, PARAMETERS)?;
    let filter = Filter::of(&parameters)?;
    let from = start(&parameters)?;
    let client = take(&state, &state.stream_clients, "too_many_streams")?;
    if !state.feed.is_following() {
        return Err(Problem::unavailable(
            "log_unavailable",
            "decisions cannot be read",
            state.settings.retry_after,
        ));
    }
    let last_event_id =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let place = match last_event_id {
        Some(last_event_id) => place_after(&state, last_event_id).await,
        None if from == Some(Start::Earliest) => None,
        None => Some(state.feed.end()),
    };
    let source = match place {
        Some(place) => Source::Feed { place, changes: state.feed.changes(), pending: VecDeque::new() },
        None if from == Some(Start::Latest) => {
            Source::Feed { place: state.feed.end(), changes: state.feed.changes(), pending: VecDeque::new() }
        }
        None => Source::Replay(replay(&state, filter.clone())?),
    };
    let closing = state.closing.subscribe();
    let greeting = Some(sse::Event::default().retry(state.settings.retry_after).comment("connected"));
    let keep_alive = KeepAlive::new().interval(state.settings.keep_alive).text("keep-alive");
    let reader =
        Reader { state, filter, source, closing, greeting, ended: false, _client: StreamClient::new(client) };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    // Reverse proxies of one kind would otherwise hold events back until they fill a buffer.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn take(
    state: &GatewayState,
    permits: &Arc<Semaphore>,
    code: &'static str,
) -> Result<OwnedSemaphorePermit, Problem> {
    let busy = |_| Problem::busy(code, "too many streams are open", state.settings.retry_after);
    Arc::clone(permits).try_acquire_owned().map_err(busy)
}

fn start(parameters: &Parameters) -> Result<Option<Start>, Problem> {
    match parameters.text("from") {
        None => Ok(None),
        Some("earliest") => Ok(Some(Start::Earliest)),
        Some("latest") => Ok(Some(Start::Latest)),
        Some(_) => Err(invalid("from", "neither earliest nor latest")),
    }
}

/// Finds a decision among the recent ones, which may have to be decoded for it.
async fn place_after(state: &Arc<GatewayState>, decision_id: &str) -> Option<Place> {
    let (state, decision_id) = (Arc::clone(state), decision_id.to_owned());
    tokio::task::spawn_blocking(move || state.feed.after(&decision_id, &state.codec)).await.ok()?
}

/// What a client wants to see.
#[derive(Clone, Debug, Default)]
struct Filter {
    tenant: Option<String>,
    /// None means all.
    outcomes: Vec<&'static str>,
}

impl Filter {
    fn of(parameters: &Parameters) -> Result<Self, Problem> {
        let tenant = parameters.tenant()?.map(str::to_owned);
        let mut outcomes = Vec::new();
        for text in parameters.text("decision").into_iter().flat_map(|text| text.split(',')) {
            let unknown =
                || invalid("decision", &format!("expected one or more of {}", Outcome::SYMBOLS.join(",")));
            outcomes.push(Outcome::parse(text).ok_or_else(unknown)?.as_str());
        }
        Ok(Self { tenant, outcomes })
    }

    /// Returns what a client is sent of a decision; none where it does not want it.
    fn apply(&self, event: &Event, codec: &Codec) -> Option<sse::Event> {
        // The tenant stands in the key, so that nothing is decoded for a stream of another one.
        if self.tenant.is_some() && self.tenant.as_deref() != event.tenant() {
            return None;
        }
        let decision = event.rendered(codec)?;
        if !self.outcomes.is_empty() && !self.outcomes.contains(&decision.outcome) {
            return None;
        }
        let sent = sse::Event::default().event("decision").data(&decision.json);
        // An id with a control character would end its own line.
        let is_safe = !decision.decision_id.chars().any(char::is_control);
        Some(if is_safe { sent.id(&decision.decision_id) } else { sent })
    }
}

/// One client's side of a stream.
struct Reader {
    state: Arc<GatewayState>,
    filter: Filter,
    source: Source,
    closing: watch::Receiver<bool>,
    greeting: Option<sse::Event>,
    ended: bool,
    _client: StreamClient,
}

/// Where a stream's events come from.
enum Source {
    /// The recent decisions, which all streams share.
    Feed { place: Place, changes: watch::Receiver<u64>, pending: VecDeque<Arc<Event>> },
    /// A reader of its own from the beginning of the log.
    Replay(mpsc::Receiver<sse::Event>),
}

impl Reader {
    /// Returns the next event; the last one is a comment that says why it is the last.
    async fn next(&mut self) -> Option<sse::Event> {
        if self.ended {
            return None;
        }
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting);
        }
        let next = match &mut self.source {
            Source::Feed { place, changes, pending } => {
                next_of_feed(&self.state, &self.filter, place, changes, pending, &mut self.closing).await
            }
            Source::Replay(events) => tokio::select! {
                event = events.recv() => event.ok_or("the log cannot be read, connect again"),
                _ = self.closing.wait_for(|closing| *closing) => Err(STOPPING),
            },
        };
        Some(next.unwrap_or_else(|farewell| {
            self.ended = true;
            sse::Event::default().comment(farewell)
        }))
    }
}

const STOPPING: &str = "the gateway is stopping, connect again";

/// Returns the next event that the filter lets through, or why there is none any more.
async fn next_of_feed(
    state: &GatewayState,
    filter: &Filter,
    place: &mut Place,
    changes: &mut watch::Receiver<u64>,
    pending: &mut VecDeque<Arc<Event>>,
    closing: &mut watch::Receiver<bool>,
) -> Result<sse::Event, &'static str> {
    loop {
        while let Some(event) = pending.pop_front() {
            if let Some(event) = filter.apply(&event, &state.codec) {
                return Ok(event);
            }
        }
        if *closing.borrow() {
            return Err(STOPPING);
        }
        changes.mark_unchanged();
        match state.feed.next(place, EVENTS_MAX) {
            Next::TooSlow => return Err("dropped as too slow, connect again"),
            Next::Gap => return Err("the log was interrupted, connect again"),
            Next::Events(events) if events.is_empty() => tokio::select! {
                changed = changes.changed() => changed.map_err(|_| STOPPING)?,
                _ = closing.wait_for(|closing| *closing) => return Err(STOPPING),
            },
            Next::Events(events) => {
                pending.extend(events);
                // A filter that lets little through must not keep the thread from other tasks.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Starts a thread that reads from the beginning of the log for one client.
fn replay(state: &Arc<GatewayState>, filter: Filter) -> Result<mpsc::Receiver<sse::Event>, Problem> {
    let permit = take(state, &state.replays, "too_many_replays")?;
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    let (edge, codec) = (Arc::clone(&state.edge), Arc::clone(&state.codec));
    let name = "gateway-replay";
    let read = move || {
        let _permit = permit;
        if let Err(error) = read(edge.as_ref(), &codec, &filter, &sender) {
            telemetry::follow_failed(&error);
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(read).map_err(|source| {
        telemetry::thread_failed(&GatewayError::Thread { name, source });
        Problem::unavailable("log_unavailable", "decisions cannot be read", state.settings.retry_after)
    })?;
    Ok(receiver)
}

/// Reads until the client has gone. A slow one holds up only its own thread.
fn read(
    edge: &dyn Edge,
    codec: &Codec,
    filter: &Filter,
    sender: &mpsc::Sender<sse::Event>,
) -> Result<(), BusError> {
    let mut tail = edge.tail(&topic::DECISIONS, Start::Earliest)?;
    while !sender.is_closed() {
        for record in tail.next(RECORDS_MAX, LISTEN)? {
            let event = Event::of(record, codec).and_then(|event| filter.apply(&event, codec));
            if event.is_some_and(|event| sender.blocking_send(event).is_err()) {
                return Ok(());
            }
        }
    }
    Ok(())
}

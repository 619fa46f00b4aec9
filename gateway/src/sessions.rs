//! `POST /v1/sessions`: from a body to records in the log. All sessions of a request are taken, or none.

use crate::DEFAULT_TENANT;
use crate::batch::{self, Format};
use crate::body::Body;
use crate::problem::{PROBLEMS_MAX, Problem, SessionProblem};
use crate::state::GatewayState;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pipeline::{NewRecord, SystemClock, WallClock};
use schemas::json::{AttachmentSource, JsonProblem, ParsedSession, session_from_json};
use schemas::{Image, Key, Record, Session, TopicSpec, topic};
use serde::Serialize;
use serde_bytes::ByteBuf;
use std::sync::Arc;

/// Largest body that is read on the thread of its connection; reading a larger one would hold up the others there.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// What is answered when the records are safe.
#[derive(Serialize)]
struct Acceptance {
    accepted: Vec<Accepted>,
}

#[derive(Serialize)]
struct Accepted {
    session_id: String,
    tenant: String,
}

/// The records of a request.
struct Prepared {
    accepted: Vec<Accepted>,
    records: Vec<NewRecord>,
}

/// Takes sessions.
pub(crate) async fn post(
    State(state): State<Arc<GatewayState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    crate::query::Parameters::of(&head.uri, &[])?;
    let format = Format::of(&head.headers)?;
    let preparing = state.publisher.prepare();
    let (settings, bytes_max) = (&state.settings, state.settings.body_bytes_max);
    let Body { bytes, share } = state.bodies.read(settings, bytes_max, &head.headers, body).await?;
    let prepared = if bytes.len() > INLINE_BYTES_MAX {
        let state = Arc::clone(&state);
        let prepared = tokio::task::spawn_blocking(move || prepare(&state, &bytes, format));
        prepared.await.map_err(|_| Problem::internal("the sessions could not be read"))??
    } else {
        prepare(&state, &bytes, format)?
    };
    state.publisher.publish(prepared.records, share, preparing).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(Acceptance { accepted: prepared.accepted })).into_response())
}

fn prepare(state: &GatewayState, body: &[u8], format: Format) -> Result<Prepared, Problem> {
    let texts = batch::split(body, format, state.settings.sessions_max)?;
    let mut prepared =
        Prepared { accepted: Vec::with_capacity(texts.len()), records: Vec::with_capacity(texts.len()) };
    let mut problems = Problems::default();
    for (index, text) in texts.into_iter().enumerate() {
        let parsed = match session_from_json(text.as_bytes()) {
            Ok(parsed) => parsed,
            Err(error) => {
                problems.left_out += error.problems_left_out;
                error
                    .problems
                    .into_iter()
                    .for_each(|problem| problems.add(placed(body, text, index, problem)));
                continue;
            }
        };
        match prepare_session(state, parsed, &mut prepared) {
            Ok(()) => {}
            Err(found) => {
                found.into_iter().for_each(|problem| problems.add(SessionProblem { index, ..problem }))
            }
        }
    }
    problems.finish().map(|()| prepared)
}

/// The problems of a request's sessions, no more of them than are told.
#[derive(Default)]
struct Problems {
    told: Vec<SessionProblem>,
    left_out: usize,
}

impl Problems {
    fn add(&mut self, problem: SessionProblem) {
        if self.told.len() < PROBLEMS_MAX {
            self.told.push(problem);
        } else {
            self.left_out += 1;
        }
    }

    fn finish(self) -> Result<(), Problem> {
        if self.told.is_empty() { Ok(()) } else { Err(Problem::invalid_sessions(self.told, self.left_out)) }
    }
}

/// Returns a problem with its place in the whole body, of which the session is a part.
fn placed(body: &[u8], text: &str, index: usize, problem: JsonProblem) -> SessionProblem {
    let JsonProblem { path, message, suggestion, hint, line, column } = problem;
    let place = line.zip(column).map(|(line, column)| batch::place_in_body(body, text, line, column));
    let (line, column) = place.unzip();
    SessionProblem { index, path, message, suggestion, hint, line, column }
}

/// Adds the records of a session: its images before itself, so that they are there when it is judged.
fn prepare_session(
    state: &GatewayState,
    parsed: ParsedSession,
    prepared: &mut Prepared,
) -> Result<(), Vec<SessionProblem>> {
    let ParsedSession { session, files } = parsed;
    let mut problems = Vec::new();
    let tenant = session.tenant.as_deref().unwrap_or(DEFAULT_TENANT).to_owned();
    if !state.settings.tenants.is_empty() && !state.settings.tenants.contains(&tenant) {
        problems.push(problem("tenant", "not a tenant that is known here"));
    }
    let key = Key::of_session(&tenant, &session.session_id);
    for file in files {
        let place =
            session.attachments.iter().flatten().position(|attachment| attachment.id == file.attachment_id);
        let path = place.map_or_else(|| "attachments".to_owned(), |place| format!("attachments[{place}]"));
        match file.source {
            AttachmentSource::Path(_) => problems.push(SessionProblem {
                hint: Some("send the bytes in \"data\", or \"reference\" for what is in an object store"),
                ..problem(&format!("{path}.path"), "files cannot be named over HTTP")
            }),
            AttachmentSource::Data(bytes) => match image(&session, &file.attachment_id, bytes) {
                Some(image) => add(state, &topic::IMAGES, &key, &image, &path, prepared, &mut problems),
                None => problems.push(problem(&path, "no such attachment")),
            },
        }
    }
    add(state, &topic::SESSIONS, &key, &session, "", prepared, &mut problems);
    prepared.accepted.push(Accepted { session_id: session.session_id, tenant });
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn problem(path: &str, message: impl Into<String>) -> SessionProblem {
    SessionProblem { path: path.to_owned(), message: message.into(), ..SessionProblem::default() }
}

/// Returns the record of an attachment's bytes, whose size and hash stand in the attachment already.
fn image(session: &Session, attachment_id: &str, bytes: Vec<u8>) -> Option<Image> {
    let attachment =
        session.attachments.iter().flatten().find(|attachment| attachment.id == attachment_id)?;
    Some(Image {
        tenant: session.tenant.clone(),
        session_id: session.session_id.clone(),
        attachment_id: attachment_id.to_owned(),
        kind: attachment.kind,
        media_type: attachment.media_type.clone(),
        sha256: attachment.sha256.clone()?,
        size: attachment.size?,
        bytes: Some(ByteBuf::from(bytes)),
        reference: None,
        subject_id: session.subject_id.clone(),
        sealed: None,
    })
}

/// Adds a record, or the problem that it is too large for its topic: a record that the log refuses would take those of
/// other requests with it.
fn add<T: Record>(
    state: &GatewayState,
    topic: &'static TopicSpec,
    key: &Key,
    record: &T,
    path: &str,
    prepared: &mut Prepared,
    problems: &mut Vec<SessionProblem>,
) {
    let mut value = Vec::new();
    if let Err(error) = state.codec.encode(record, &mut value) {
        return problems.push(problem(path, error.to_string()));
    }
    if value.len() > topic.record_bytes_max as usize {
        let message = format!("{} bytes are more than {}", value.len(), topic.record_bytes_max);
        return problems.push(problem(path, message));
    }
    prepared.records.push(NewRecord {
        topic,
        partition: key.partition(state.partitions),
        key: Some(key.as_bytes().to_vec()),
        value: Some(value),
        headers: Vec::new(),
        // The log stamps both topics; this is what it has until then.
        time: SystemClock.now_ms(),
    });
}

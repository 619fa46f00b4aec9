//! The read-only part of the interface of Confluent's schema registry, so that its clients decode what is on the topics
//! without a registry of their own.
//!
//! A producer that registers before it writes finds our own schemas there already; any other is refused.

use crate::catalogue::Version;
use crate::state::GatewayState;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Largest schema that is compared with ours.
const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// What goes wrong, by the interface's own codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistryProblem {
    SubjectNotFound,
    VersionNotFound,
    SchemaNotFound,
    InvalidSchema,
    InvalidVersion,
    ReadOnly,
    Unreadable,
}

impl RegistryProblem {
    fn describe(self) -> (StatusCode, u32, &'static str) {
        match self {
            Self::SubjectNotFound => (StatusCode::NOT_FOUND, 40401, "subject not found"),
            Self::VersionNotFound => (StatusCode::NOT_FOUND, 40402, "version not found"),
            Self::SchemaNotFound => (StatusCode::NOT_FOUND, 40403, "schema not found"),
            Self::InvalidSchema => {
                (StatusCode::UNPROCESSABLE_ENTITY, 42201, "the schema is not an Avro schema")
            }
            Self::InvalidVersion => {
                (StatusCode::UNPROCESSABLE_ENTITY, 42202, "a version is a number from 1, or \"latest\"")
            }
            Self::ReadOnly => {
                let message = "this registry is read-only and has only the schemas of its own topics";
                (StatusCode::UNPROCESSABLE_ENTITY, 42205, message)
            }
            Self::Unreadable => (StatusCode::BAD_REQUEST, 400, "the request cannot be read"),
        }
    }
}

impl IntoResponse for RegistryProblem {
    fn into_response(self) -> Response {
        let (status, error_code, message) = self.describe();
        (status, MEDIA_TYPE, json!({ "error_code": error_code, "message": message }).to_string())
            .into_response()
    }
}

type Answer = Result<Response, RegistryProblem>;

const MEDIA_TYPE: [(HeaderName, HeaderValue); 1] =
    [(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.schemaregistry.v1+json"))];

fn answer(value: &Value) -> Response {
    (MEDIA_TYPE, value.to_string()).into_response()
}

/// A parameter of the path, or why it cannot be read.
type Part<T> = Result<Path<T>, PathRejection>;

fn part<T>(part: Part<T>) -> Result<T, RegistryProblem> {
    part.map(|Path(part)| part).map_err(|_| RegistryProblem::Unreadable)
}

/// Returns the kinds of schemas.
pub(crate) async fn types() -> Response {
    answer(&json!(["AVRO"]))
}

/// Returns what a later version promises: whoever has it reads the records of all before it, as a test of the schemas
/// holds.
pub(crate) async fn config() -> Response {
    answer(&json!({ "compatibilityLevel": "BACKWARD_TRANSITIVE" }))
}

/// Returns that nothing can be written.
pub(crate) async fn mode() -> Response {
    answer(&json!({ "mode": "READONLY" }))
}

/// Returns a schema by its id.
pub(crate) async fn schema(State(state): State<Arc<GatewayState>>, id: Part<String>) -> Answer {
    let schema = state.catalogue.schema(schema_id(&part(id)?)?).ok_or(RegistryProblem::SchemaNotFound)?;
    Ok(answer(&json!({ "schema": schema.json })))
}

/// Returns the bare text of a schema by its id.
pub(crate) async fn schema_text(State(state): State<Arc<GatewayState>>, id: Part<String>) -> Answer {
    let schema = state.catalogue.schema(schema_id(&part(id)?)?).ok_or(RegistryProblem::SchemaNotFound)?;
    Ok((MEDIA_TYPE, schema.json).into_response())
}

/// Returns under which subjects a schema stands, and as which version.
pub(crate) async fn schema_versions(State(state): State<Arc<GatewayState>>, id: Part<String>) -> Answer {
    let id = schema_id(&part(id)?)?;
    state.catalogue.schema(id).ok_or(RegistryProblem::SchemaNotFound)?;
    let places = state.catalogue.places(id);
    Ok(answer(&places.map(|(subject, version)| json!({ "subject": subject, "version": version })).collect()))
}

/// Returns the names of the subjects.
pub(crate) async fn subjects(State(state): State<Arc<GatewayState>>) -> Response {
    answer(&state.catalogue.subjects().collect())
}

/// Returns the numbers of a subject's versions.
pub(crate) async fn versions(State(state): State<Arc<GatewayState>>, subject: Part<String>) -> Answer {
    let versions = find_versions(&state, &part(subject)?)?;
    Ok(answer(&(1..=versions.len()).collect()))
}

/// Returns a version of a subject.
pub(crate) async fn version(State(state): State<Arc<GatewayState>>, parts: Part<(String, String)>) -> Answer {
    let (subject, number) = part(parts)?;
    let (number, version) = find_version(&state, &subject, &number)?;
    Ok(answer(&described(&subject, number, version)))
}

/// Returns the bare text of a version of a subject.
pub(crate) async fn version_text(
    State(state): State<Arc<GatewayState>>,
    parts: Part<(String, String)>,
) -> Answer {
    let (subject, number) = part(parts)?;
    let (_, version) = find_version(&state, &subject, &number)?;
    Ok((MEDIA_TYPE, version.schema.json).into_response())
}

/// Returns the version of a subject that has a given schema.
pub(crate) async fn look_up(
    State(state): State<Arc<GatewayState>>,
    subject: Part<String>,
    request: Request,
) -> Answer {
    let subject = part(subject)?;
    let (number, version) =
        find_schema(&state, &subject, request).await?.ok_or(RegistryProblem::SchemaNotFound)?;
    Ok(answer(&described(&subject, number, &version)))
}

/// Returns the id of a schema that is there already, as a registry does that may be written.
pub(crate) async fn register(
    State(state): State<Arc<GatewayState>>,
    subject: Part<String>,
    request: Request,
) -> Answer {
    let found = match find_schema(&state, &part(subject)?, request).await {
        Err(RegistryProblem::SubjectNotFound) => None,
        found => found?,
    };
    let (_, version) = found.ok_or(RegistryProblem::ReadOnly)?;
    Ok(answer(&json!({ "id": version.id })))
}

fn schema_id(text: &str) -> Result<u32, RegistryProblem> {
    text.parse().map_err(|_| RegistryProblem::SchemaNotFound)
}

fn find_versions<'s>(state: &'s GatewayState, subject: &str) -> Result<&'s [Version], RegistryProblem> {
    state.catalogue.versions(subject).ok_or(RegistryProblem::SubjectNotFound)
}

fn find_version<'s>(
    state: &'s GatewayState,
    subject: &str,
    number: &str,
) -> Result<(usize, &'s Version), RegistryProblem> {
    let versions = find_versions(state, subject)?;
    let number = match number {
        // Both mean the newest.
        "latest" | "-1" => versions.len(),
        _ => number.parse().ok().filter(|number| *number > 0).ok_or(RegistryProblem::InvalidVersion)?,
    };
    versions.get(number - 1).map(|version| (number, version)).ok_or(RegistryProblem::VersionNotFound)
}

/// What a client sends of a schema.
#[derive(Deserialize)]
struct Sent {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
}

async fn find_schema(
    state: &Arc<GatewayState>,
    subject: &str,
    request: Request,
) -> Result<Option<(usize, Version)>, RegistryProblem> {
    let (head, body) = request.into_parts();
    let body = state.bodies.read(&state.settings, SCHEMA_BYTES_MAX, &head.headers, body).await;
    let body = body.map_err(|_| RegistryProblem::Unreadable)?;
    let sent: Sent = serde_json::from_slice(&body.bytes).map_err(|_| RegistryProblem::Unreadable)?;
    let versions = find_versions(state, subject)?.to_vec();
    if sent.schema_type.is_some_and(|kind| kind != "AVRO") {
        return Ok(None);
    }
    // A hostile schema takes time, which the connections of this thread would miss.
    let schema = tokio::task::spawn_blocking(move || apache_avro::Schema::parse_str(&sent.schema)).await;
    let Ok(Ok(schema)) = schema else { return Err(RegistryProblem::InvalidSchema) };
    let place = versions.iter().position(|version| version.is(&schema));
    Ok(place.map(|place| (place + 1, versions[place])))
}

fn described(subject: &str, number: usize, version: &Version) -> Value {
    json!({ "subject": subject, "id": version.id, "version": number, "schema": version.schema.json })
}

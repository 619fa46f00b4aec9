//! The client of a schema registry that speaks Confluent's interface: our schemas are registered at the start, and those
//! of other producers are fetched by their ids while records are read.
//!
//! A call is bounded in time and in tries, so that a registry that is gone stops nobody for long. What is registered is
//! the same everywhere, so that any number of processes may do it at once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemas::{PUBLISHED, Published, SchemaAnswer, SchemaSource, topic};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::http::{Method, StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// Time that one try may take.
const TRY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Time that a connection may take.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(2);
/// Most tries of one call.
const TRIES_MAX: u32 = 4;
/// Pause after the first try that failed; it doubles from try to try.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Largest answer in bytes; our largest schema has some 40 kB.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// How long an id that the registry did not know is not asked for again: a record with a made-up id costs no request.
const MISSING_KEPT: Duration = Duration::from_secs(10);
/// Most ids that are remembered as not known.
const MISSING_MAX: usize = 1_000;
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// A connection to a schema registry.
pub struct RegistryClient {
    agent: ureq::Agent,
    base: String,
    authorization: Option<String>,
    topic_prefix: String,
    missing: Mutex<HashMap<u32, Instant>>,
}

/// A schema registry could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its address cannot be used.
    #[error("cannot use the address of the schema registry: {reason}")]
    Address {
        /// Why not.
        reason: String,
    },
    /// It did not answer.
    #[error("cannot {action}, the schema registry at {url} did not answer in {tries} tries")]
    Unreachable {
        /// What was tried.
        action: String,
        /// The registry's address.
        url: String,
        /// How often it was tried.
        tries: u32,
        /// Why the last try failed.
        #[source]
        source: Box<ureq::Error>,
    },
    /// It answered that it will not.
    #[error("cannot {action}, the schema registry at {url} answers with status {status}: {reason}")]
    Refused {
        /// What was tried.
        action: String,
        /// The registry's address.
        url: String,
        /// The status of the answer.
        status: u16,
        /// Its own code of the error, where it gave one.
        code: Option<u64>,
        /// What it said.
        reason: String,
    },
    /// What it answered is not what its interface promises.
    #[error(
        "cannot {action}, the answer of the schema registry at {url} is not of Confluent's interface: {reason}"
    )]
    Answer {
        /// What was tried.
        action: String,
        /// The registry's address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl RegistryClient {
    /// Connects to a registry, by user and password where it asks for them, and checks that it speaks the interface.
    ///
    /// The address is that of the interface, with its path where it has one, as in
    /// `http://registry:8080/apis/ccompat/v7`.
    pub fn connect(url: &str, auth: Option<(&str, &str)>) -> Result<Self, RegistryError> {
        let base = check_address(url)?;
        let authorization =
            auth.map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        let missing = Mutex::default();
        let client = Self { agent: agent(), base, authorization, topic_prefix: String::new(), missing };
        let types = client.call("ask for the types of schemas", Method::GET, "/schemas/types", None)?;
        if !types.as_array().is_some_and(|types| types.iter().any(|name| name == "AVRO")) {
            return Err(
                client.answer("ask for the types of schemas", format!("AVRO is not among the types {types}"))
            );
        }
        Ok(client)
    }

    /// Names the subjects of a deployment whose topics have a prefix.
    pub fn with_topic_prefix(self, topic_prefix: &str) -> Self {
        Self { topic_prefix: topic_prefix.to_owned(), ..self }
    }

    /// Registers schemas under all their [`subjects`] and returns their ids, in the same order.
    ///
    /// A schema that is there already keeps its id.
    pub fn register_all(&self, schemas: &[Published]) -> Result<Vec<u32>, RegistryError> {
        let mut ids: Vec<u32> = Vec::with_capacity(schemas.len());
        for schema in schemas {
            let id = self.register(schema)?;
            // With one id for two schemas, no reader could tell their records apart.
            if let Some(place) = ids.iter().position(|known| *known == id) {
                let reason = format!("{} and {} have the same id {id}", schemas[place].file, schema.file);
                return Err(self.answer(&format!("register schema {}", schema.file), reason));
            }
            ids.push(id);
        }
        Ok(ids)
    }

    /// Registers a schema under all its subjects; where they give it different ids, the first one is written, and all
    /// of them are read.
    fn register(&self, schema: &Published) -> Result<u32, RegistryError> {
        let mut first = None;
        let body = serde_json::json!({ "schema": schema.json }).to_string();
        for subject in subjects(&self.topic_prefix, schema) {
            let action = format!("register schema {} as {subject}", schema.file);
            let path = format!("/subjects/{}/versions", percent_encoded(&subject));
            let answer = self.call(&action, Method::POST, &path, Some(&body))?;
            let id = answer["id"].as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| self.answer(&action, "it has no id of 32 bits".into()))?;
            first.get_or_insert(id);
        }
        first.ok_or_else(|| {
            self.answer(&format!("register schema {}", schema.file), "it has no subject".into())
        })
    }

    /// Makes a call, again and again while trying again may help.
    fn call(
        &self,
        action: &str,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<serde_json::Value, RegistryError> {
        let mut pause = PAUSE_FIRST;
        for attempt in 1.. {
            let last = attempt == TRIES_MAX;
            match self.request(&method, path, body) {
                Ok((status, text)) if status.is_success() => {
                    return serde_json::from_str(&text)
                        .map_err(|error| self.answer(action, error.to_string()));
                }
                Ok((status, text)) if last || !is_passing(status) => {
                    return Err(self.refused(action, status, &text));
                }
                Err(source) if last => {
                    let (action, url) = (action.to_owned(), self.base.clone());
                    return Err(RegistryError::Unreachable {
                        action,
                        url,
                        tries: TRIES_MAX,
                        source: Box::new(source),
                    });
                }
                Ok(_) | Err(_) => {}
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        unreachable!("the last try returns")
    }

    /// Sends one request, and returns the status and the text of the answer.
    fn request(
        &self,
        method: &Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<(StatusCode, String), ureq::Error> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("accept", format!("{MEDIA_TYPE}, application/json"));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = match body {
            Some(body) => self.agent.run(request.header("content-type", MEDIA_TYPE).body(body)?)?,
            None => self.agent.run(request.body(())?)?,
        };
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
        Ok((response.status(), text))
    }

    fn refused(&self, action: &str, status: StatusCode, text: &str) -> RegistryError {
        const REASON_CHARS_MAX: usize = 300;
        let answer: Option<serde_json::Value> = serde_json::from_str(text).ok();
        let field = |name: &str| answer.as_ref().and_then(|answer| answer.get(name));
        let reason = field("message").and_then(|message| message.as_str()).unwrap_or(text);
        RegistryError::Refused {
            action: action.to_owned(),
            url: self.base.clone(),
            status: status.as_u16(),
            code: field("error_code").and_then(serde_json::Value::as_u64),
            reason: reason.chars().take(REASON_CHARS_MAX).collect(),
        }
    }

    fn answer(&self, action: &str, reason: String) -> RegistryError {
        RegistryError::Answer { action: action.to_owned(), url: self.base.clone(), reason }
    }

    fn fetch(&self, id: u32) -> Result<String, RegistryError> {
        let action = format!("fetch schema {id}");
        let answer = self.call(&action, Method::GET, &format!("/schemas/ids/{id}"), None)?;
        if let Some(kind) =
            answer.get("schemaType").and_then(|kind| kind.as_str()).filter(|kind| *kind != "AVRO")
        {
            return Err(self.answer(&action, format!("the schema is of type {kind}, not AVRO")));
        }
        let schema = answer.get("schema").and_then(|schema| schema.as_str());
        schema.map(str::to_owned).ok_or_else(|| self.answer(&action, "it has no schema".into()))
    }

    fn is_missing(&self, id: u32) -> bool {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.get(&id).is_some_and(|since| since.elapsed() < MISSING_KEPT)
    }

    fn remember_missing(&self, id: u32) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.len() >= MISSING_MAX {
            missing.retain(|_, since| since.elapsed() < MISSING_KEPT);
        }
        if missing.len() < MISSING_MAX {
            missing.insert(id, Instant::now());
        }
    }
}

impl SchemaSource for RegistryClient {
    fn schema(&self, id: u32) -> SchemaAnswer {
        if self.is_missing(id) {
            return SchemaAnswer::Unknown("the schema registry did not know it a moment ago".into());
        }
        let error = match self.fetch(id) {
            Ok(schema) => return SchemaAnswer::Found(schema),
            Err(error) => error,
        };
        let reason = crate::telemetry::describe_error(&error);
        match error {
            RegistryError::Refused { status: 404, .. } => {
                self.remember_missing(id);
                SchemaAnswer::Unknown(reason)
            }
            RegistryError::Answer { .. } => SchemaAnswer::Unknown(reason),
            _ => SchemaAnswer::Unavailable(reason),
        }
    }
}

/// Returns the subjects of a schema: `<topic>-value` for each topic whose first record it describes, as a producer that
/// writes only to that topic expects, and else the full name of its record.
pub fn subjects(topic_prefix: &str, schema: &Published) -> Vec<String> {
    let is_first = |topic: &&&schemas::TopicSpec| PUBLISHED[topic.records[0]].file == schema.file;
    let topics = topic::TOPICS.iter().filter(is_first);
    let subjects: Vec<String> = topics.map(|topic| format!("{topic_prefix}{}-value", topic.name)).collect();
    if subjects.is_empty() { vec![full_name(schema)] } else { subjects }
}

fn full_name(schema: &Published) -> String {
    let json: serde_json::Value = serde_json::from_str(schema.json).unwrap_or_default();
    let part = |name: &str| json.get(name).and_then(|part| part.as_str());
    match (part("namespace"), part("name")) {
        (Some(namespace), Some(name)) => format!("{namespace}.{name}"),
        (_, name) => name.unwrap_or(schema.file).to_owned(),
    }
}

/// Returns the address without a slash at its end.
fn check_address(url: &str) -> Result<String, RegistryError> {
    let refuse = |reason: &str| Err(RegistryError::Address { reason: reason.to_owned() });
    let Ok(uri) = url.parse::<Uri>() else { return refuse("it is not a URL") };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return refuse("it begins with neither http:// nor https://");
    }
    // An address is shown in errors, which no password may be.
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return refuse("user and password have settings of their own and no place in it");
    }
    if uri.query().is_some() {
        return refuse("it has a query");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn agent() -> ureq::Agent {
    // The roots are the system's: a registry inside a company often has a certificate of the company's own.
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier);
    ureq::Agent::config_builder()
        .tls_config(tls.build())
        .timeout_global(Some(TRY_WAIT_MAX))
        .timeout_connect(Some(CONNECT_WAIT_MAX))
        .http_status_as_error(false)
        .max_redirects(3)
        // As the environment says, which is how a machine behind a proxy is set up.
        .proxy(ureq::Proxy::try_from_env())
        .user_agent(concat!("tamiz/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// Tells whether the same request may be answered otherwise a moment later.
fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || status.is_server_error()
}

/// Returns a text as one segment of a path.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{Decision, Marker, Record, Session};

    #[test]
    fn a_schema_has_the_subjects_of_its_topics_and_else_its_name() {
        assert_eq!(subjects("", Session::published()), ["sessions-value"]);
        assert_eq!(
            subjects("eu.", Decision::published()),
            ["eu.decisions-value", "eu.decisions.latest-value"]
        );
        assert_eq!(subjects("eu.", Marker::published()), ["tamiz.Marker"]);
        let all: Vec<String> = PUBLISHED.iter().flat_map(|schema| subjects("", schema)).collect();
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "no two schemas share a subject: {all:?}");
    }

    #[test]
    fn an_address_that_cannot_be_used_says_why_and_shows_no_password() {
        for (url, reason) in [
            ("registry:8080", "it begins with neither http:// nor https://"),
            ("not a url", "it is not a URL"),
            ("ftp://registry/", "it begins with neither http:// nor https://"),
            (
                "http://user:hunter2@registry/",
                "user and password have settings of their own and no place in it",
            ),
            ("http://registry/?a=b", "it has a query"),
        ] {
            let error = RegistryClient::connect(url, None).err().expect("the address is refused");
            assert_eq!(error.to_string(), format!("cannot use the address of the schema registry: {reason}"));
        }
        assert_eq!(check_address("http://registry/api/").expect("it can be used"), "http://registry/api");
    }

    #[test]
    fn a_segment_of_a_path_is_encoded() {
        assert_eq!(percent_encoded("eu.sessions-value"), "eu.sessions-value");
        assert_eq!(percent_encoded("a/b ñ"), "a%2Fb%20%C3%B1");
    }
}

//! Intake reads what producers write: it validates, moves a record to the partition it belongs to, removes repeats,
//! merges the stages of a session and opens it.
//!
//! A record whose content was merged before changes nothing. Any other adds a stage: an absent field keeps, a cleared
//! one is taken back. Each stage leaves as [`schemas::Accepted`], once for the operators that judge and once for
//! fusion. Reading order: [`Intake`], then [`validate`].

mod validate;

pub use validate::validate;

use pipeline::{
    Built, Descriptor, Event, HostContext, Operator, Registration, Reject, Step, TableSpec, TimeSource,
};
use schemas::codec::encode_datum;
use schemas::topic::{ACCEPTED, SESSIONS, SIGNALS};
use schemas::{Accepted, IntakeSession, Key, Message, Session, TimeMs};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Name of the operator.
pub const NAME: &str = "intake";
/// Tenant of a session that names none.
pub const DEFAULT_TENANT: &str = "default";
/// Records whose hashes are kept, so that a repeat of an older stage is known too.
const ABSORBED_MAX: usize = 64;
/// Bytes of a record's hash that are kept.
const HASH_BYTES: usize = 16;
/// How long a session is kept after its last record: stages that come later open it anew.
const SESSION_TTL_MS: TimeMs = 30 * 24 * 3_600_000;

static SESSIONS_TABLE: TableSpec =
    TableSpec { number: pipeline::table::FIRST_TABLE, name: "sessions", ttl_ms: Some(SESSION_TTL_MS) };

/// How a process hosts the operator.
pub const REGISTRATION: Registration = Registration { name: NAME, input: &SESSIONS, build };

fn build(context: &HostContext) -> Result<Built, Box<dyn std::error::Error + Send + Sync>> {
    let tenants = &context.config.deployment.tenants;
    let settings = IntakeSettings { tenants: (!tenants.is_empty()).then(|| tenants.clone()) };
    Ok(Built { operator: Arc::new(Intake::new(settings)), libraries: Vec::new() })
}

/// What intake accepts.
#[derive(Clone, Debug, Default)]
pub struct IntakeSettings {
    /// The tenants whose sessions are accepted; none: any tenant.
    pub tenants: Option<Vec<String>>,
}

/// The operator.
pub struct Intake {
    descriptor: Descriptor,
    settings: IntakeSettings,
}

impl Intake {
    /// Makes the operator.
    pub fn new(settings: IntakeSettings) -> Self {
        let descriptor = Descriptor {
            name: NAME,
            version: env!("CARGO_PKG_VERSION"),
            input: &SESSIONS,
            outputs: &[&SESSIONS, &ACCEPTED, &SIGNALS],
            tables: std::slice::from_ref(&SESSIONS_TABLE),
            time: TimeSource::AppendTime,
            progress_to: &[&ACCEPTED, &SIGNALS],
        };
        Self { descriptor, settings }
    }

    fn tenant<'a>(&self, session: &'a Session) -> Result<&'a str, Reject> {
        let tenant = session.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
        match &self.settings.tenants {
            Some(known) if !known.iter().any(|name| name == tenant) => Err(Reject::new(
                "unknown_tenant",
                format!("tenant {tenant:?} is not among the configured tenants"),
            )),
            _ => Ok(tenant),
        }
    }
}

impl Operator for Intake {
    type Input = Arc<Session>;

    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn on_event(&self, event: Event<Arc<Session>>, step: &mut Step<'_>) -> Result<(), Reject> {
        let record = event.input;
        validate(&record)?;
        let tenant = self.tenant(&record)?;
        let key = Key::of_session(tenant, &record.session_id);
        if !step.owns(&key) {
            // Another partitioner put it here; there its session's other records would not meet it.
            step.emit(&SESSIONS, &key, Message::Session(record));
            return Ok(());
        }
        let row = step.get::<IntakeSession>(&SESSIONS_TABLE, key.as_bytes());
        let hash = content_hash(&record)?;
        let Some(row) = merged(row.as_deref(), &record, hash, step.append_time())? else { return Ok(()) };
        let stage = Accepted {
            tenant: tenant.to_owned(),
            session_id: record.session_id.clone(),
            stage: row.stage,
            stage_hash: row.stage_hash.clone(),
            opened_at: row.opened_at,
            append_time: step.append_time(),
            session: Arc::clone(&row.session),
            subject_id: row.session.subject_id.clone(),
            sealed: None,
        };
        step.put(&SESSIONS_TABLE, key.as_bytes(), row);
        let stage = Message::from(stage);
        step.emit(&SIGNALS, &key, stage.clone());
        step.emit(&ACCEPTED, &key, stage);
        Ok(())
    }
}

/// Returns the session with one more record merged, or nothing where the record changes nothing.
fn merged(
    row: Option<&IntakeSession>,
    record: &Arc<Session>,
    hash: Vec<u8>,
    append_time: TimeMs,
) -> Result<Option<IntakeSession>, Reject> {
    let Some(row) = row else { return first(record, hash, append_time).map(Some) };
    if row.absorbed.iter().any(|known| known.as_slice() == hash) {
        return Ok(None);
    }
    let mut session = Session::clone(&row.session);
    session.absorb(Session::clone(record));
    // The tenant is half of the session's key: to spell the default one out says nothing new, and nothing takes it back.
    session.tenant.clone_from(&row.session.tenant);
    if session == *row.session {
        return Ok(None);
    }
    let mut absorbed = row.absorbed.clone();
    if absorbed.len() == ABSORBED_MAX {
        absorbed.remove(0);
    }
    absorbed.push(hash.into());
    Ok(Some(IntakeSession {
        stage: row.stage + 1,
        stage_hash: schemas::hex(&content_hash(&session)?),
        session: Arc::new(session),
        opened_at: row.opened_at,
        absorbed,
    }))
}

/// Opens a session with its first record.
fn first(record: &Arc<Session>, hash: Vec<u8>, append_time: TimeMs) -> Result<IntakeSession, Reject> {
    let (mut session, mut stage_hash) = (Arc::clone(record), schemas::hex(&hash));
    if !session.cleared.is_empty() {
        // There is nothing to take back yet.
        session = Arc::new(Session { cleared: Vec::new(), ..Session::clone(record) });
        stage_hash = schemas::hex(&content_hash(&session)?);
    }
    Ok(IntakeSession { session, stage: 1, stage_hash, opened_at: append_time, absorbed: vec![hash.into()] })
}

/// Returns a hash of a session's content: of its encoding, which is the same for equal sessions.
fn content_hash(session: &Session) -> Result<Vec<u8>, Reject> {
    let mut bytes = Vec::with_capacity(2_048);
    encode_datum(session, &mut bytes).map_err(|error| Reject::new("not_encodable", error.to_string()))?;
    Ok(Sha256::digest(&bytes)[..HASH_BYTES].to_vec())
}

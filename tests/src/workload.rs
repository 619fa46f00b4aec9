//! Sessions as producers send them, good and bad, and what must come of each, by a model of its own.
//!
//! A workload comes in waves. All records of a wave are there before the first of them is handled, and the deadlines of
//! its sessions pass before the next wave, so that what is decided depends neither on how operators are hosted nor on
//! how fast they are.

use crate::data::{DATACENTER_ADDRESSES, HOME_ADDRESSES, TOR_EXITS, VPN_ADDRESSES};
use crate::deployment::{PARTITIONS, TENANTS, codec};
use crate::hostile;
use crate::random::Random;
use pipeline::NewRecord;
use rules::RuleSet;
use schemas::topic::SESSIONS;
use schemas::{Cause, Codec, Key, Name, Place, Session, TimeMs};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Append time of the first wave.
pub const START: TimeMs = 1_772_366_400_000;
/// Log time from the first to the last record of a wave: less than the deadline of the built-in rules.
pub const WAVE_MS: TimeMs = 4_000;
/// Log time after a wave in which its deadlines pass.
pub const PAUSE_MS: TimeMs = 20_000;

/// How much there is to be.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Sessions.
    pub sessions: usize,
    /// The ways in which they come, in turn.
    pub kinds: &'static [Kind],
    /// Waves, at least one; another rule set is in force from the second on.
    pub waves: usize,
    /// Some sessions are left open, and decided by their deadlines.
    pub open: bool,
    /// Records that are refused, at most one of each kind.
    pub hostile: usize,
}

impl Shape {
    /// Everything that can happen.
    pub const WHOLE: Self = Self { sessions: 66, kinds: &KINDS, waves: 2, open: true, hostile: 100 };
    /// One of each kind of session, for tests that run it many times.
    pub const SHORT: Self = Self { sessions: 11, kinds: &KINDS, waves: 2, open: true, hostile: 3 };
    /// All that can happen without waiting for a deadline.
    pub const PROMPT: Self = Self { sessions: 66, kinds: &KINDS, waves: 1, open: false, hostile: 100 };
    /// All that can happen in one wave.
    pub const PATIENT: Self = Self { sessions: 66, kinds: &KINDS, waves: 1, open: true, hostile: 100 };
    /// Sessions that wait for nothing, so that any span of time may lie between their records.
    pub const CLOSED: Self = Self { sessions: 120, kinds: &CLOSED_KINDS, waves: 1, open: false, hostile: 10 };
}

/// What producers send, and what must come of it.
pub struct Workload {
    /// The records, by wave.
    pub waves: Vec<Wave>,
    /// What must become of each session.
    pub sessions: BTreeMap<Key, Expected>,
    /// What must be refused.
    pub refusals: Vec<Refusal>,
}

/// Records that are there at once.
pub struct Wave {
    /// The rule set to put in force before.
    pub rules: Option<RuleSet>,
    /// The records in the order of their times, which count from the wave's start.
    pub records: Vec<(TimeMs, NewRecord)>,
}

/// What must become of a session.
#[derive(Debug)]
pub struct Expected {
    /// Its records merged, as far as they were decided.
    pub session: Session,
    /// Its decisions, in order.
    pub decisions: Vec<ExpectedDecision>,
}

/// What must be said of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedDecision {
    /// In which wave it is issued.
    pub wave: usize,
    /// The stage that is judged.
    pub stage: i32,
    /// Why it is issued.
    pub cause: Cause,
    /// The rule set in force.
    pub rule_set: String,
}

/// What must be said of a record that is refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// In which wave it was sent.
    pub wave: usize,
    /// The partition it was sent to.
    pub partition: u32,
    /// Why it is refused.
    pub reason: String,
    /// Hex SHA-256 of its bytes.
    pub value_sha256: String,
}

/// Ways in which sessions come.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// At once.
    Single,
    /// Without anything to judge.
    Bare,
    /// In three stages, the last of which says that it is the last.
    Staged,
    /// In stages that are a wave apart.
    StagedSlowly,
    /// A stage that is never followed.
    LeftOpen,
    /// The same record twice.
    Repeated,
    /// Another record of the same session, which does not say that it is a stage.
    Changed,
    /// A record, a change, and the record again.
    BackAndForth,
    /// A later stage takes something back.
    Cleared,
    /// All records under another key, in a partition to which the session does not belong.
    Misplaced,
    /// As said by a producer's clock that is far off.
    Misdated,
}

const KINDS: [Kind; 11] = [
    Kind::Single,
    Kind::Bare,
    Kind::Staged,
    Kind::StagedSlowly,
    Kind::LeftOpen,
    Kind::Repeated,
    Kind::Changed,
    Kind::BackAndForth,
    Kind::Cleared,
    Kind::Misplaced,
    Kind::Misdated,
];

const CLOSED_KINDS: [Kind; 7] = [
    Kind::Single,
    Kind::Bare,
    Kind::Repeated,
    Kind::Changed,
    Kind::BackAndForth,
    Kind::Misplaced,
    Kind::Misdated,
];

impl Workload {
    /// Makes a workload by random choices.
    pub fn new(shape: Shape, random: &mut Random) -> Self {
        let mut maker = Maker::new(shape);
        for number in 0..shape.sessions {
            maker.add_session(number, random);
        }
        maker.add_hostile(shape.hostile, random);
        maker.finish()
    }

    /// Returns how many decisions there must be after a wave.
    pub fn decisions_after(&self, wave: usize) -> usize {
        let decisions = self.sessions.values().flat_map(|expected| &expected.decisions);
        decisions.filter(|decision| decision.wave <= wave).count()
    }

    /// Returns how many records must be refused after a wave.
    pub fn refusals_after(&self, wave: usize) -> usize {
        self.refusals.iter().filter(|refusal| refusal.wave <= wave).count()
    }
}

struct Maker {
    shape: Shape,
    codec: Arc<Codec>,
    waves: Vec<Wave>,
    rule_sets: Vec<String>,
    sessions: BTreeMap<Key, Expected>,
    refusals: Vec<Refusal>,
}

impl Maker {
    fn new(shape: Shape) -> Self {
        let built_in =
            RuleSet::load(fusion::DEFAULT_RULES, fusion::catalogue()).expect("the built-in rules load");
        let mut rule_sets = vec![built_in.hash().to_owned()];
        let mut waves = vec![Wave { rules: None, records: Vec::new() }];
        for number in 1..shape.waves {
            let rules = other_rules(number);
            rule_sets.push(rules.hash().to_owned());
            waves.push(Wave { rules: Some(rules), records: Vec::new() });
        }
        Self { shape, codec: codec(), waves, rule_sets, sessions: BTreeMap::new(), refusals: Vec::new() }
    }

    fn add_session(&mut self, number: usize, random: &mut Random) {
        let kind = self.shape.kinds[number % self.shape.kinds.len()];
        let tenant = TENANTS[number % TENANTS.len()];
        // Two tenants may well use the same id.
        let session_id = format!("s-{}", number / TENANTS.len());
        let script = self.script(kind, session(tenant, &session_id, number, random), random);
        let key = Key::of_session(tenant, &session_id);
        let own = key.partition(PARTITIONS);
        let (key_bytes, partition) = match kind {
            Kind::Misplaced => {
                (random.bytes(8), (own + 1 + random.below(PARTITIONS as usize - 1) as u32) % PARTITIONS)
            }
            _ => (key.as_bytes().to_vec(), own),
        };
        let mut times: Vec<TimeMs> =
            script.iter().map(|_| random.below(WAVE_MS as usize) as TimeMs).collect();
        times.sort_unstable();
        for ((wave, session), at) in script.iter().zip(times) {
            let value = Some(hostile::encoded(session, &self.codec));
            self.append(*wave, at, partition, Some(key_bytes.clone()), value);
        }
        let expected = model(&script, self.shape, &self.rule_sets);
        self.sessions.insert(key, expected);
    }

    fn script(&self, kind: Kind, first: Session, random: &mut Random) -> Vec<(usize, Session)> {
        let wave = random.below(self.shape.waves);
        let last = self.shape.waves - 1;
        let id = Session {
            tenant: first.tenant.clone(),
            session_id: first.session_id.clone(),
            ..Session::default()
        };
        let open = |session: Session| Session { complete: Some(false), ..session };
        let closed = |session: Session| Session { complete: Some(true), ..session };
        let more = Session {
            ip: Some((*random.pick(&HOME_ADDRESSES)).into()),
            reference: Some("más".into()),
            ..id.clone()
        };
        let named = Session { name: Some(name(random)), ..id.clone() };
        match kind {
            Kind::Single => vec![(wave, first)],
            Kind::Bare => vec![(wave, id)],
            Kind::Staged => vec![(wave, open(first)), (wave, named), (wave, closed(more))],
            Kind::StagedSlowly => {
                let first = if self.shape.open { open(first) } else { first };
                vec![(0, first), (last, closed(more))]
            }
            Kind::LeftOpen if self.shape.open => vec![(wave, open(first))],
            Kind::LeftOpen => vec![(wave, closed(first))],
            Kind::Repeated => vec![(wave, first.clone()), (wave, first.clone()), (last, first)],
            Kind::Changed => vec![(wave, first), (wave, more), (last, named)],
            Kind::BackAndForth => vec![(wave, first.clone()), (wave, more), (wave, first)],
            Kind::Cleared => {
                let first = Session { ip: Some(TOR_EXITS[0].into()), ..first };
                let cleared = Session { cleared: vec!["ip".into(), "location".into()], ..id };
                vec![(wave, open(first)), (wave, closed(cleared))]
            }
            Kind::Misplaced => vec![(wave, first), (wave, closed(more))],
            Kind::Misdated => {
                let event_time = *random.pick(&[4_102_444_800_000, -2_208_988_800_000, 0]);
                vec![(wave, Session { event_time: Some(event_time), ..first })]
            }
        }
    }

    fn add_hostile(&mut self, count: usize, random: &mut Random) {
        let tenant = TENANTS[1];
        let mut records = hostile::records(&session(tenant, "s-0", 0, random), random);
        random.shuffle(&mut records);
        for record in records.into_iter().take(count) {
            let (wave, at) = (random.below(self.shape.waves), random.below(WAVE_MS as usize) as TimeMs);
            let partition = random.below(PARTITIONS as usize) as u32;
            let key = random.percent(50).then(|| Key::of_session(tenant, "s-0").as_bytes().to_vec());
            self.refusals.push(Refusal {
                wave,
                partition,
                reason: record.reason.to_owned(),
                value_sha256: schemas::sha256_hex(record.value.as_deref().unwrap_or_default()),
            });
            self.append(wave, at, partition, key, record.value);
        }
    }

    fn append(
        &mut self,
        wave: usize,
        at: TimeMs,
        partition: u32,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) {
        // The time that a producer gives is not to matter.
        let record = NewRecord { topic: &SESSIONS, partition, key, value, headers: Vec::new(), time: at };
        self.waves[wave].records.push((at, record));
    }

    fn finish(mut self) -> Workload {
        for wave in &mut self.waves {
            // Stable: records of a session may have the same time.
            wave.records.sort_by_key(|(at, _)| *at);
        }
        Workload { waves: self.waves, sessions: self.sessions, refusals: self.refusals }
    }
}

/// Says what must become of a session's records: what intake merges and fusion waits for, in as few words as possible.
fn model(script: &[(usize, Session)], shape: Shape, rule_sets: &[String]) -> Expected {
    let mut stages: Vec<(usize, Session)> = Vec::new();
    let mut seen: Vec<&Session> = Vec::new();
    for (wave, record) in script {
        if seen.contains(&record) {
            continue;
        }
        let mut merged = stages.last().map(|(_, session)| session.clone()).unwrap_or_default();
        merged.session_id.clone_from(&record.session_id);
        merged.absorb(record.clone());
        if stages.last().is_none_or(|(_, session)| *session != merged) {
            seen.push(record);
            stages.push((*wave, merged));
        }
    }
    let mut decisions: Vec<ExpectedDecision> = Vec::new();
    for (index, (wave, session)) in stages.iter().enumerate() {
        let followed_at_once = stages.get(index + 1).is_some_and(|(next, _)| next == wave);
        let cause = match session.complete {
            Some(false) if followed_at_once => continue,
            Some(false) => Cause::Deadline,
            _ if decisions.is_empty() => Cause::AllSignals,
            _ => Cause::Stage,
        };
        assert!(shape.open || cause != Cause::Deadline, "no session waits for its deadline");
        let stage = i32::try_from(index + 1).expect("a session has few stages");
        decisions.push(ExpectedDecision { wave: *wave, stage, cause, rule_set: rule_sets[*wave].clone() });
    }
    let session = stages.pop().expect("a session has a record").1;
    Expected { session, decisions }
}

/// Returns a rule set that judges otherwise than the built-in one.
fn other_rules(number: usize) -> RuleSet {
    let source = fusion::DEFAULT_RULES.replace("home_countries = [\"MX\"]", "home_countries = [\"FR\"]");
    assert_ne!(source, fusion::DEFAULT_RULES, "the built-in rules have a home country");
    let source = source.replace("name = \"default\"", &format!("name = \"other-{number}\""));
    RuleSet::load(&source, fusion::catalogue()).expect("the other rules load")
}

fn session(tenant: &str, session_id: &str, number: usize, random: &mut Random) -> Session {
    let tenant = (tenant != intake::DEFAULT_TENANT || random.percent(50)).then(|| tenant.to_owned());
    let addresses = [
        TOR_EXITS.as_slice(),
        &VPN_ADDRESSES,
        &DATACENTER_ADDRESSES,
        &HOME_ADDRESSES,
        &["10.0.0.1", "nowhere"],
    ];
    let sort = *random.pick(&addresses);
    let ip = random.percent(85).then(|| (*random.pick(sort)).to_owned());
    Session {
        tenant,
        session_id: session_id.to_owned(),
        account_id: random.percent(70).then(|| format!("a-{number}")),
        request_id: Some(format!("r-{}", random.next())),
        event_time: random.percent(80).then(|| START + random.below(1_000_000) as TimeMs),
        ip,
        location: place(random),
        address: place(random),
        name: random.percent(50).then(|| name(random)),
        attributes: random.percent(30).then(|| [("plan".to_owned(), "oro".to_owned())].into()),
        ..Session::default()
    }
}

fn name(random: &mut Random) -> Name {
    let full = *random.pick(&["María Hernández López", "José Ángel Núñez", "Zoë O’Brien", "王小明"]);
    Name { full: Some(full.to_owned()), ..Name::default() }
}

/// Returns nothing, a text, or a position: at home, around the prison, far away.
fn place(random: &mut Random) -> Option<Place> {
    let at = |lat: f64, lng: f64| Place { lat: Some(lat), lng: Some(lng), ..Place::default() };
    let jitter = random.below(1_000) as f64 / 1_000_000.0;
    match random.below(7) {
        0 | 1 => None,
        2 => Some(Place { text: Some("Lote 12, México D.F. CP 01234".into()), ..Place::default() }),
        3 => Some(at(19.428_437 + jitter, -99.157_011)),
        4 => Some(Place { accuracy_m: Some(12.0), ..at(19.42 + jitter, -99.75) }),
        5 => Some(Place { accuracy_m: Some(4_000.0), ..at(19.424 + jitter, -99.75) }),
        _ => Some(at(48.85 + jitter, 2.35)),
    }
}

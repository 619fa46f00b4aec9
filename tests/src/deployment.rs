//! The deployments under test: every operator in one process, or each in a process of its own.

use crate::data::data_sets;
use fusion::{Fusion, FusionSettings, RuleLibrary};
use geo_risk::GeoRisk;
use intake::{Intake, IntakeSettings};
use ip_intel::IpIntel;
use pipeline::{AnyOperator, Hosting, HostingOptions, Library};
use schemas::topic::{ACCEPTED, SESSIONS, SIGNALS};
use schemas::{Codec, TimeMs, TopicSpec};
use std::sync::{Arc, OnceLock};

/// Partitions of every topic.
pub const PARTITIONS: u32 = 3;
/// How long an operator is silent before fusion's time no longer waits for it.
pub const SILENCE_MS: TimeMs = 30_000;
/// The tenants whose sessions are accepted.
pub const TENANTS: [&str; 5] = ["default", "acme", "banco-del-sur", "préstamos", "x"];

/// The operators, in the order in which records flow, with what each reads.
pub const OPERATORS: [(&str, &TopicSpec); 4] = [
    (intake::NAME, &SESSIONS),
    (ip_intel::NAME, &ACCEPTED),
    (geo_risk::NAME, &ACCEPTED),
    (fusion::NAME, &SIGNALS),
];

/// How the operators are hosted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// All in one process: records pass in memory.
    Fused,
    /// Each in a process of its own: records pass through the topics.
    Chained,
}

impl Deployment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fused, Self::Chained];

    /// Returns how many processes there are.
    pub fn processes(self) -> usize {
        match self {
            Self::Fused => 1,
            Self::Chained => OPERATORS.len(),
        }
    }

    /// Returns what a process of the deployment hosts, as it is when the process starts.
    pub fn hosting(self, process: usize) -> Arc<Hosting> {
        match self {
            Self::Fused => hosting(&OPERATORS.map(|(name, _)| name)),
            Self::Chained => hosting(&[OPERATORS[process].0]),
        }
    }

    /// Returns what each process hosts.
    pub fn hostings(self) -> Vec<Arc<Hosting>> {
        (0..self.processes()).map(|process| self.hosting(process)).collect()
    }
}

/// Returns the codec of all tests: its ids depend on nothing but the schemas.
pub fn codec() -> Arc<Codec> {
    static CODEC: OnceLock<Arc<Codec>> = OnceLock::new();
    Arc::clone(CODEC.get_or_init(|| Arc::new(Codec::new())))
}

/// Returns a process that hosts some of the operators.
pub fn hosting(names: &[&str]) -> Arc<Hosting> {
    let (mut operators, mut libraries) = (Vec::new(), Vec::new());
    for name in names {
        operators.push(operator(name, &mut libraries));
    }
    let deployment = OPERATORS.map(|(name, topic)| (name.to_owned(), topic));
    // As the default settings have it: all that a decision was made from is published, and every step is recorded.
    let options = HostingOptions { publish: vec![SIGNALS.name.to_owned()], record_steps: true };
    Arc::new(Hosting::new(operators, libraries, codec(), PARTITIONS, &deployment, options))
}

fn operator(name: &str, libraries: &mut Vec<Arc<dyn Library>>) -> Arc<dyn AnyOperator> {
    let data = data_sets();
    match name {
        intake::NAME => {
            let tenants = TENANTS.map(str::to_owned).to_vec();
            Arc::new(Intake::new(IntakeSettings { tenants: Some(tenants) }))
        }
        ip_intel::NAME => Arc::new(IpIntel::new(Arc::clone(&data.ip), &data.hashes)),
        geo_risk::NAME => Arc::new(GeoRisk::new(Arc::clone(&data.places), &data.hashes)),
        fusion::NAME => {
            let others =
                OPERATORS.iter().map(|(name, _)| (*name).to_owned()).filter(|name| name != fusion::NAME);
            let settings = FusionSettings { operators: others.collect(), silence_ms: SILENCE_MS };
            let library = Arc::new(RuleLibrary::default());
            libraries.push(Arc::clone(&library) as Arc<dyn Library>);
            Arc::new(Fusion::new(settings, library))
        }
        name => panic!("{name} is no operator"),
    }
}

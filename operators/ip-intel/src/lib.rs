//! Judges the IP address of a session's device: where it is, whose it is, and what kind of connection it stands for.
//!
//! The signal is `ip`, its fields are in `schemas/avro/parts/ip-signal.avsc`, and `docs/signals/ip.md` says what each
//! means. A list that is not configured leaves its field null, which is not the same as false.

use geodata::{DataConfig, DataSets, IpData, IpFacts};
use pipeline::{
    Built, Descriptor, Event, HostContext, Operator, Registration, Reject, Step, TimeSource, Verdict,
};
use schemas::topic::{ACCEPTED, SIGNALS};
use schemas::{Accepted, IpSignal, SignalStatus};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Name of the operator.
pub const NAME: &str = "ip-intel";
/// Name of its signal.
pub const SIGNAL: &str = "ip";

/// How a process hosts the operator.
pub const REGISTRATION: Registration = Registration { name: NAME, input: &ACCEPTED, build };

fn build(context: &HostContext) -> Result<Built, Box<dyn std::error::Error + Send + Sync>> {
    let data = context.shared(|config| {
        let files = DataConfig::from_settings(&config.data.assets_folder, &config.data.files)?;
        DataSets::open(&files)
    })?;
    let operator = IpIntel::new(Arc::clone(&data.ip), &data.hashes);
    Ok(Built { operator: Arc::new(operator), libraries: Vec::new() })
}

/// The operator.
pub struct IpIntel {
    descriptor: Descriptor,
    data: Arc<IpData>,
    hashes: BTreeMap<String, String>,
}

impl IpIntel {
    /// Makes the operator over reference data with the content hashes of its data sets; those of other operators are
    /// left out.
    pub fn new(data: Arc<IpData>, hashes: &BTreeMap<String, String>) -> Self {
        let descriptor = Descriptor {
            name: NAME,
            version: env!("CARGO_PKG_VERSION"),
            input: &ACCEPTED,
            outputs: &[&SIGNALS],
            tables: &[],
            time: TimeSource::Progress { operators: vec!["intake".to_owned()], silence_ms: i64::MAX },
            progress_to: &[&SIGNALS],
        };
        let own = hashes.iter().filter(|(name, _)| name.starts_with("ip."));
        let hashes = own.map(|(name, hash)| (name.clone(), hash.clone())).collect();
        Self { descriptor, data, hashes }
    }

    fn judge(&self, text: &str) -> Verdict {
        let without = |status, reason: String| Verdict::without(SIGNAL, &self.hashes, status, reason);
        let Ok(address) = text.trim().parse::<IpAddr>() else {
            return without(SignalStatus::Failed, "the text is not an IP address".into());
        };
        if self.hashes.is_empty() {
            return without(SignalStatus::NotConfigured, "no data set about addresses is installed".into());
        }
        let facts = self.data.lookup(address);
        if let Some(reason) = facts.reserved {
            let reason = format!("nobody on the public Internet has this address: {reason}");
            return without(SignalStatus::NotApplicable, reason);
        }
        if let Some(data_set) = facts.failed {
            let reason = format!("the record of this address in data set {} is damaged", data_set.as_str());
            return without(SignalStatus::Failed, reason);
        }
        Verdict::ok(SIGNAL, &self.hashes, signal(&facts))
    }
}

impl Operator for IpIntel {
    type Input = Arc<Accepted>;

    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn on_event(&self, event: Event<Arc<Accepted>>, step: &mut Step<'_>) -> Result<(), Reject> {
        // Fusion expects no signal of a session without an address.
        if let Some(text) = &event.input.session.ip {
            step.emit_verdict(&event, self.judge(text));
        }
        Ok(())
    }
}

fn signal(facts: &IpFacts<'_>) -> IpSignal {
    let text = |value: Option<&str>| value.map(str::to_owned);
    IpSignal {
        address: Some(facts.address.to_string()),
        country_code: text(facts.country_code),
        state: text(facts.state),
        city: text(facts.city),
        zip_code: text(facts.postal_code),
        latitude: facts.latitude,
        longitude: facts.longitude,
        timezone: text(facts.time_zone),
        asn: facts.asn.map(i64::from),
        service_provider: text(facts.service_provider),
        connection_type: connection_type(facts).map(str::to_owned),
        tor: facts.tor_exit,
        vpn: facts.vpn,
        datacenter: facts.datacenter,
        proxy: facts.public_proxy,
        private_relay: facts.private_relay,
        tunnel: facts.tunnel,
        blacklisted: facts.blacklisted,
    }
}

/// Returns what kind of connection the address stands for, the most telling first. An address on none of the lists is
/// an Internet provider's only where there is a list of hosting providers to be absent from.
fn connection_type(facts: &IpFacts<'_>) -> Option<&'static str> {
    let classes = [
        (facts.tor_exit, "tor"),
        (facts.private_relay, "private_relay"),
        (facts.vpn, "vpn"),
        (facts.public_proxy, "proxy"),
        (facts.datacenter, "hosting"),
    ];
    let listed = classes.iter().find(|(listed, _)| *listed == Some(true)).map(|(_, name)| *name);
    listed.or_else(|| (facts.datacenter == Some(false) && facts.asn.is_some()).then_some("isp"))
}

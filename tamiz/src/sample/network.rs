//! Addresses of devices, drawn from the networks of the data sets in use.

use std::collections::BTreeMap;
use std::net::IpAddr;

use geodata::{AddressClass, AddressRange, DataSets, IpData, IpFacts, NetworkChoice};

use super::error::{Result, SampleError};
use super::random::{Random, Weighted};
use super::traits::{Code, Trait};

/// How often an address is drawn anew where a list disagrees with the network it is of.
const DRAWS_MAX: u32 = 64;

/// The networks that samples draw from.
pub(super) struct Networks {
    countries: BTreeMap<String, CountryPool>,
    classes: BTreeMap<Trait, ClassPool>,
}

struct CountryPool {
    /// By the number of their addresses, so that every address is as likely as any other.
    networks: Weighted<AddressRange>,
    /// An address that is fit, for the case that none of those drawn is.
    fallback: IpAddr,
}

struct ClassPool {
    networks: Vec<AddressRange>,
    fallback: IpAddr,
}

/// An address with what the data says of it.
pub(super) struct Drawn {
    pub address: IpAddr,
    pub country_code: Option<String>,
    /// The rules that fire for the address alone.
    pub codes: Vec<Code>,
}

impl Networks {
    /// Collects the networks of countries, and of the lists of traits that are asked for.
    ///
    /// What the data has nothing of is left out, and [`Networks::has_country`] and [`Networks::has_class`] say so.
    pub(super) fn new<'a>(
        data: &DataSets,
        countries: impl IntoIterator<Item = &'a str>,
        traits: impl IntoIterator<Item = Trait>,
    ) -> Result<Networks> {
        let mut found = Networks { countries: BTreeMap::new(), classes: BTreeMap::new() };
        for country in countries {
            let networks = data.networks(NetworkChoice::Country(country));
            let networks =
                networks.map_err(|source| SampleError::Networks { country: country.to_owned(), source })?;
            if let Some(pool) = CountryPool::new(networks, country, &data.ip) {
                found.countries.insert(country.to_owned(), pool);
            }
        }
        for (wanted, class) in traits.into_iter().filter_map(|wanted| Some((wanted, class_of(wanted)?))) {
            if let Some(pool) = ClassPool::new(data.ip.class_networks(class), wanted, &data.ip) {
                found.classes.insert(wanted, pool);
            }
        }
        Ok(found)
    }

    pub(super) fn has_country(&self, country: &str) -> bool {
        self.countries.contains_key(country)
    }

    pub(super) fn has_class(&self, wanted: Trait) -> bool {
        self.classes.contains_key(&wanted)
    }

    /// Draws an address of a country that is on none of the lists.
    pub(super) fn of_country(&self, country: &str, ip: &IpData, random: &mut Random) -> Option<Drawn> {
        let pool = self.countries.get(country)?;
        let draw = |random: &mut Random| {
            let network = *pool.networks.pick(random);
            within(network, random)
        };
        Some(draw_fit(draw, pool.fallback, |facts| is_plain(facts, country), ip, random))
    }

    /// Draws an address that is on the list of a trait.
    pub(super) fn of_class(&self, wanted: Trait, ip: &IpData, random: &mut Random) -> Option<Drawn> {
        let pool = self.classes.get(&wanted)?;
        let draw = |random: &mut Random| within(*random.pick(&pool.networks), random);
        Some(draw_fit(draw, pool.fallback, |facts| shows(facts, wanted), ip, random))
    }
}

impl CountryPool {
    fn new(networks: Vec<AddressRange>, country: &str, ip: &IpData) -> Option<CountryPool> {
        let fallback =
            networks.iter().find_map(|network| fit(network, |facts| is_plain(facts, country), ip))?;
        // IPv4 alone, so that the number of addresses fits.
        let weights =
            networks.into_iter().map(|network| (network, u64::try_from(network.len()).unwrap_or(1)));
        Some(CountryPool { networks: Weighted::new(weights)?, fallback })
    }
}

impl ClassPool {
    fn new(mut networks: Vec<AddressRange>, wanted: Trait, ip: &IpData) -> Option<ClassPool> {
        networks.retain(|network| fit(network, |facts| shows(facts, wanted), ip).is_some());
        let fallback = fit(networks.first()?, |facts| shows(facts, wanted), ip)?;
        Some(ClassPool { networks, fallback })
    }
}

/// Returns the list that names the addresses of a trait.
pub(super) fn class_of(wanted: Trait) -> Option<AddressClass> {
    match wanted {
        Trait::Tor => Some(AddressClass::TorExit),
        Trait::Vpn => Some(AddressClass::Vpn),
        Trait::Datacenter => Some(AddressClass::Datacenter),
        Trait::Proxy => Some(AddressClass::PublicProxy),
        Trait::PrivateRelay => Some(AddressClass::PrivateRelay),
        Trait::Blacklisted => Some(AddressClass::Blacklisted),
        _ => None,
    }
}

/// Returns the first address of a network, or the one in its middle, if it is fit.
fn fit(network: &AddressRange, is_fit: impl Fn(&IpFacts<'_>) -> bool, ip: &IpData) -> Option<IpAddr> {
    let probes = [network.len() / 2, 0].map(|offset| network.nth(offset));
    probes.into_iter().flatten().find(|address| is_fit(&ip.lookup(*address)))
}

fn within(network: AddressRange, random: &mut Random) -> IpAddr {
    network.nth(random.below_wide(network.len())).unwrap_or(network.first())
}

fn draw_fit(
    mut draw: impl FnMut(&mut Random) -> IpAddr,
    fallback: IpAddr,
    is_fit: impl Fn(&IpFacts<'_>) -> bool,
    ip: &IpData,
    random: &mut Random,
) -> Drawn {
    for _ in 0..DRAWS_MAX {
        let address = draw(random);
        let facts = ip.lookup(address);
        if is_fit(&facts) {
            return Drawn::new(address, &facts);
        }
    }
    Drawn::new(fallback, &ip.lookup(fallback))
}

impl Drawn {
    fn new(address: IpAddr, facts: &IpFacts<'_>) -> Drawn {
        // A private relay is a consumer product, which explains why it is on the lists of hosts and VPNs.
        let is_relay = facts.private_relay == Some(true);
        let listed = [
            (facts.tor_exit == Some(true), Code::IpTor),
            (facts.vpn == Some(true) && !is_relay, Code::IpVpn),
            (facts.datacenter == Some(true) && !is_relay, Code::IpDatacenter),
            (facts.public_proxy == Some(true) && !is_relay, Code::IpProxy),
            (facts.blacklisted == Some(true), Code::IpBlacklisted),
            (is_relay, Code::IpPrivateRelay),
        ];
        Drawn {
            address,
            country_code: facts.country_code.map(str::to_owned),
            codes: listed.into_iter().filter(|(fires, _)| *fires).map(|(_, code)| code).collect(),
        }
    }
}

fn is_public(facts: &IpFacts<'_>) -> bool {
    facts.reserved.is_none() && facts.failed.is_none()
}

/// Returns whether an address is an ordinary one of a country.
fn is_plain(facts: &IpFacts<'_>, country: &str) -> bool {
    let is_listed = AddressClass::ALL.into_iter().any(|class| facts.class(class) == Some(true));
    is_public(facts) && facts.country_code == Some(country) && !is_listed
}

/// Returns whether an address shows a trait so that its rule fires.
fn shows(facts: &IpFacts<'_>, wanted: Trait) -> bool {
    let is_listed = class_of(wanted).is_some_and(|class| facts.class(class) == Some(true));
    let is_clear = match wanted {
        // A relay that is anything worse would not show what becomes of a relay.
        Trait::PrivateRelay => facts.tor_exit != Some(true) && facts.blacklisted != Some(true),
        Trait::Vpn | Trait::Datacenter | Trait::Proxy => facts.private_relay != Some(true),
        _ => true,
    };
    is_public(facts) && is_listed && is_clear
}

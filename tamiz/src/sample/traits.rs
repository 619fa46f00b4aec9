//! The traits that a session can have, how often, and what the default rules make of them.

use std::fmt;

use schemas::Outcome;

use super::error::{Result, SampleError};

/// Something about a session that the rules, or the pipeline, treat in a way of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trait {
    Tor,
    Vpn,
    Datacenter,
    Proxy,
    PrivateRelay,
    Blacklisted,
    NoIp,
    InPrison,
    NearPrison,
    MaybeNearPrison,
    FarApart,
    OutsideCountry,
    NoLocation,
    AddressAsText,
    MultiStage,
    Repeat,
}

/// Which traits exclude each other: a session has at most one of each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// About the address of the device.
    Network,
    /// About where the device is and where the person lives.
    Place,
    /// About how the session arrives.
    Delivery,
}

impl Group {
    /// Every group.
    pub const ALL: [Group; 3] = [Group::Network, Group::Place, Group::Delivery];
}

impl Trait {
    /// Every trait, those of a group side by side.
    pub const ALL: [Trait; 16] = [
        Trait::Tor,
        Trait::Vpn,
        Trait::Datacenter,
        Trait::Proxy,
        Trait::PrivateRelay,
        Trait::Blacklisted,
        Trait::NoIp,
        Trait::InPrison,
        Trait::NearPrison,
        Trait::MaybeNearPrison,
        Trait::FarApart,
        Trait::OutsideCountry,
        Trait::NoLocation,
        Trait::AddressAsText,
        Trait::MultiStage,
        Trait::Repeat,
    ];

    /// Returns the name, as shares and expectations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Trait::Tor => "tor",
            Trait::Vpn => "vpn",
            Trait::Datacenter => "datacenter",
            Trait::Proxy => "proxy",
            Trait::PrivateRelay => "private_relay",
            Trait::Blacklisted => "blacklisted",
            Trait::NoIp => "no_ip",
            Trait::InPrison => "in_prison",
            Trait::NearPrison => "near_prison",
            Trait::MaybeNearPrison => "maybe_near_prison",
            Trait::FarApart => "far_apart",
            Trait::OutsideCountry => "outside_country",
            Trait::NoLocation => "no_location",
            Trait::AddressAsText => "address_as_text",
            Trait::MultiStage => "multi_stage",
            Trait::Repeat => "repeat",
        }
    }

    /// Returns what makes a session have this trait, for people.
    pub fn doc(self) -> &'static str {
        match self {
            Trait::Tor => "its address is a Tor exit",
            Trait::Vpn => "its address is a VPN's",
            Trait::Datacenter => "its address is a data centre's",
            Trait::Proxy => "its address is a public proxy's",
            Trait::PrivateRelay => "its address is a private relay's",
            Trait::Blacklisted => "its address is on blacklists",
            Trait::NoIp => "it has no address",
            Trait::InPrison => "its location is inside the outline of a Mexican prison",
            Trait::NearPrison => "its location is outside a Mexican prison, less than 50 m away",
            Trait::MaybeNearPrison => "its location may be at a prison that is known as a coarse point only",
            Trait::FarApart => "its address and location are in cities more than 100 km apart",
            Trait::OutsideCountry => "its location is outside Mexico; in half of them the address is too",
            Trait::NoLocation => "it has no location",
            Trait::AddressAsText => "its address has no coordinates",
            Trait::MultiStage => "it comes in two stages, the first without location and document",
            Trait::Repeat => "it comes twice, the same to the byte",
        }
    }

    /// Returns which traits it excludes.
    pub fn group(self) -> Group {
        match self {
            Trait::Tor
            | Trait::Vpn
            | Trait::Datacenter
            | Trait::Proxy
            | Trait::PrivateRelay
            | Trait::Blacklisted
            | Trait::NoIp => Group::Network,
            Trait::InPrison
            | Trait::NearPrison
            | Trait::MaybeNearPrison
            | Trait::FarApart
            | Trait::OutsideCountry
            | Trait::NoLocation
            | Trait::AddressAsText => Group::Place,
            Trait::MultiStage | Trait::Repeat => Group::Delivery,
        }
    }

    /// Returns the share of sessions that have it where nothing else is asked for: enough of each to be seen among
    /// ten thousand, while most sessions are ordinary.
    pub fn default_share(self) -> f64 {
        match self {
            Trait::Tor | Trait::Datacenter | Trait::NoIp => 0.01,
            Trait::Vpn | Trait::PrivateRelay => 0.02,
            Trait::Proxy | Trait::Blacklisted => 0.005,
            Trait::InPrison | Trait::NearPrison | Trait::MaybeNearPrison => 0.005,
            Trait::FarApart => 0.03,
            Trait::OutsideCountry => 0.03,
            Trait::NoLocation => 0.04,
            Trait::AddressAsText => 0.1,
            Trait::MultiStage => 0.08,
            Trait::Repeat => 0.02,
        }
    }

    fn from_name(name: &str) -> Option<Trait> {
        Trait::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

impl fmt::Display for Trait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The share of sessions that have each trait, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares([f64; Trait::ALL.len()]);

impl Default for Shares {
    fn default() -> Shares {
        Shares(Trait::ALL.map(Trait::default_share))
    }
}

impl Shares {
    /// Returns shares with which every session is ordinary.
    pub fn none() -> Shares {
        Shares([0.0; Trait::ALL.len()])
    }

    /// Returns the same shares but for one trait.
    pub fn with(mut self, asked: Trait, fraction: f64) -> Shares {
        self.0[asked as usize] = fraction;
        self
    }

    /// Returns the share of a trait.
    pub fn get(&self, asked: Trait) -> f64 {
        self.0[asked as usize]
    }

    /// Refuses shares that are no shares, and such as exclude each other and are more than the whole.
    pub fn check(&self) -> Result<()> {
        for (name, fraction) in Trait::ALL.into_iter().map(|known| (known.as_str(), self.get(known))) {
            if !(0.0..=1.0).contains(&fraction) {
                return Err(SampleError::ShareOutOfRange { name, fraction });
            }
        }
        for group in Group::ALL {
            let members =
                Trait::ALL.into_iter().filter(|known| known.group() == group && self.get(*known) > 0.0);
            let sum: f64 = members.clone().map(|known| self.get(known)).sum();
            // Shares of a tenth do not add up to one exactly.
            if sum > 1.0 + 1e-9 {
                let names: Vec<&str> = members.map(Trait::as_str).collect();
                return Err(SampleError::SharesAboveOne { names: names.join(", "), sum });
            }
        }
        Ok(())
    }

    /// Returns the trait of a group that a number from 0 to 1 falls on.
    pub(super) fn draw(&self, group: Group, unit: f64) -> Option<Trait> {
        let mut left = unit;
        Trait::ALL.into_iter().filter(|known| known.group() == group).find(|known| {
            left -= self.get(*known);
            left < 0.0
        })
    }
}

/// A share as the command line writes it: `NAME=FRACTION`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShareArgument {
    pub name: Trait,
    pub fraction: f64,
}

impl std::str::FromStr for ShareArgument {
    type Err = SampleError;

    fn from_str(text: &str) -> Result<ShareArgument> {
        let malformed = || SampleError::MalformedShare { text: text.to_owned() };
        let (name, fraction) = text.split_once('=').ok_or_else(malformed)?;
        let fraction: f64 = fraction.parse().map_err(|_| malformed())?;
        let name = Trait::from_name(name).ok_or_else(|| SampleError::UnknownShare {
            name: name.to_owned(),
            suggestion: suggestion(name),
            known: Trait::ALL.map(Trait::as_str).join(", "),
        })?;
        if !(0.0..=1.0).contains(&fraction) {
            return Err(SampleError::ShareOutOfRange { name: name.as_str(), fraction });
        }
        Ok(ShareArgument { name, fraction })
    }
}

fn suggestion(text: &str) -> String {
    let near = Trait::ALL.into_iter().map(|known| (strsim::damerau_levenshtein(text, known.as_str()), known));
    let near = near.filter(|(distance, _)| *distance <= 3).min();
    near.map_or_else(String::new, |(_, known)| format!("; did you mean {known}?"))
}

/// A rule of the default set that samples can make fire, in the order of that set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Code {
    IpTor,
    IpVpn,
    IpDatacenter,
    IpProxy,
    IpBlacklisted,
    IpPrivateRelay,
    IpCountryLocationMismatch,
    LocationInsidePrison,
    LocationOutsideCountry,
    LocationNearPrison,
    LocationNearPrisonUncertain,
    AddressOutsideCountry,
    AddressLocationDistance,
}

impl Code {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Code::IpTor => "IP_TOR",
            Code::IpVpn => "IP_VPN",
            Code::IpDatacenter => "IP_DATACENTER",
            Code::IpProxy => "IP_PROXY",
            Code::IpBlacklisted => "IP_BLACKLISTED",
            Code::IpPrivateRelay => "IP_PRIVATE_RELAY",
            Code::IpCountryLocationMismatch => "IP_COUNTRY_LOCATION_MISMATCH",
            Code::LocationInsidePrison => "LOCATION_INSIDE_PRISON",
            Code::LocationOutsideCountry => "LOCATION_OUTSIDE_COUNTRY",
            Code::LocationNearPrison => "LOCATION_NEAR_PRISON",
            Code::LocationNearPrisonUncertain => "LOCATION_NEAR_PRISON_UNCERTAIN",
            Code::AddressOutsideCountry => "ADDRESS_OUTSIDE_COUNTRY",
            Code::AddressLocationDistance => "ADDRESS_LOCATION_DISTANCE",
        }
    }

    /// Returns what the rule alone leads to. Evidence that is weak stays so together with all other weak evidence that
    /// a sample can have, and what is strong asks for a person by itself.
    fn outcome(self) -> Outcome {
        match self {
            Code::LocationInsidePrison => Outcome::Flag,
            Code::IpPrivateRelay | Code::IpCountryLocationMismatch | Code::LocationNearPrisonUncertain => {
                Outcome::Pass
            }
            _ => Outcome::Review,
        }
    }
}

/// What the default rules must make of a session, with the data that it was drawn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What is special about the session; nothing about most.
    pub traits: Vec<&'static str>,
    /// The codes of all rules that fire, in the order of the rule set.
    pub codes: Vec<&'static str>,
    /// What is decided once all stages are there.
    pub decision: Outcome,
}

impl Expected {
    pub(super) fn new(mut traits: Vec<Trait>, mut codes: Vec<Code>) -> Expected {
        traits.sort_unstable();
        codes.sort_unstable();
        codes.dedup();
        let rank = |outcome: &Outcome| match outcome {
            Outcome::Pass => 0,
            Outcome::Review => 1,
            Outcome::Flag => 2,
        };
        let decision = codes.iter().map(|code| code.outcome()).max_by_key(rank);
        Expected {
            traits: traits.into_iter().map(Trait::as_str).collect(),
            codes: codes.into_iter().map(Code::as_str).collect(),
            decision: decision.unwrap_or(Outcome::Pass),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_read_back_and_groups_lie_together() {
        for (place, known) in Trait::ALL.into_iter().enumerate() {
            assert_eq!(known as usize, place);
            let text = format!("{known}=0.25");
            assert_eq!(text.parse::<ShareArgument>().unwrap(), ShareArgument { name: known, fraction: 0.25 });
        }
        assert!(Trait::ALL.is_sorted_by_key(|known| known.group()));
    }

    #[test]
    fn broken_shares_are_refused_with_a_reason() {
        let refuse = |text: &str| text.parse::<ShareArgument>().unwrap_err().to_string();
        assert!(
            refuse("torr=0.1").starts_with("unknown share \"torr\"; did you mean tor?; one of tor, vpn,")
        );
        assert_eq!(refuse("tor"), "cannot read share \"tor\": expected NAME=FRACTION, as in tor=0.02");
        assert_eq!(refuse("tor=1.5"), "share tor is 1.5, but a share is from 0 to 1");
        assert_eq!(refuse("tor=NaN"), "share tor is NaN, but a share is from 0 to 1");
        let too_many = Shares::none().with(Trait::Tor, 0.6).with(Trait::Vpn, 0.5);
        assert_eq!(
            too_many.check().unwrap_err().to_string(),
            "the shares tor, vpn exclude each other, but are 1.1 together, which is more than 1"
        );
        Shares::none().with(Trait::Tor, 1.0).with(Trait::FarApart, 1.0).check().unwrap();
        Shares::default().check().unwrap();
    }

    #[test]
    fn a_number_falls_on_a_trait_in_proportion() {
        let shares = Shares::none().with(Trait::Vpn, 0.5).with(Trait::NoIp, 0.25).with(Trait::Repeat, 1.0);
        let drawn = |unit| shares.draw(Group::Network, unit);
        assert_eq!(
            [drawn(0.0), drawn(0.49), drawn(0.5), drawn(0.74)].map(|drawn| drawn.map(Trait::as_str)),
            [Some("vpn"), Some("vpn"), Some("no_ip"), Some("no_ip")]
        );
        assert_eq!(drawn(0.75), None);
        assert_eq!(shares.draw(Group::Delivery, 0.999_999), Some(Trait::Repeat));
        assert_eq!(shares.draw(Group::Place, 0.0), None);
    }
}

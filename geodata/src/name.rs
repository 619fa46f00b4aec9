//! The names of data sets and of file formats, as settings and the command line write them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A data set that Tamiz knows how to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataSetName {
    IpCountry,
    IpCity,
    IpAsn,
    IpTor,
    IpVpn,
    IpDatacenter,
    IpProxy,
    IpRelay,
    IpTunnel,
    IpBlacklist,
    PlacesPrisons,
    PlacesPostal,
}

impl DataSetName {
    /// Every data set, in the order in which people should read them.
    pub const ALL: [DataSetName; 12] = [
        DataSetName::IpCountry,
        DataSetName::IpCity,
        DataSetName::IpAsn,
        DataSetName::IpTor,
        DataSetName::IpVpn,
        DataSetName::IpDatacenter,
        DataSetName::IpProxy,
        DataSetName::IpRelay,
        DataSetName::IpTunnel,
        DataSetName::IpBlacklist,
        DataSetName::PlacesPrisons,
        DataSetName::PlacesPostal,
    ];

    /// Returns the name, such as `ip.country`.
    pub fn as_str(self) -> &'static str {
        match self {
            DataSetName::IpCountry => "ip.country",
            DataSetName::IpCity => "ip.city",
            DataSetName::IpAsn => "ip.asn",
            DataSetName::IpTor => "ip.tor",
            DataSetName::IpVpn => "ip.vpn",
            DataSetName::IpDatacenter => "ip.datacenter",
            DataSetName::IpProxy => "ip.proxy",
            DataSetName::IpRelay => "ip.relay",
            DataSetName::IpTunnel => "ip.tunnel",
            DataSetName::IpBlacklist => "ip.blacklist",
            DataSetName::PlacesPrisons => "places.prisons",
            DataSetName::PlacesPostal => "places.postal",
        }
    }

    /// Refuses a data set that has a name and no use yet.
    pub(crate) fn supported(self) -> Result<DataSetName> {
        match self {
            DataSetName::PlacesPostal => Err(Error::UnsupportedDataSet { name: self.as_str() }),
            name => Ok(name),
        }
    }
}

impl fmt::Display for DataSetName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for DataSetName {
    type Err = Error;

    fn from_str(text: &str) -> Result<DataSetName> {
        DataSetName::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
            let names = DataSetName::ALL.map(DataSetName::as_str);
            Error::UnknownDataSet { name: text.to_owned(), suggestion: suggestion(text, &names) }
        })
    }
}

/// A kind of address that a list can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    TorExit,
    Vpn,
    Datacenter,
    PublicProxy,
    PrivateRelay,
    Tunnel,
    Blacklisted,
}

impl AddressClass {
    /// Every class, in the order of its data set.
    pub const ALL: [AddressClass; 7] = [
        AddressClass::TorExit,
        AddressClass::Vpn,
        AddressClass::Datacenter,
        AddressClass::PublicProxy,
        AddressClass::PrivateRelay,
        AddressClass::Tunnel,
        AddressClass::Blacklisted,
    ];

    /// Returns the data set whose files list this class.
    pub fn data_set(self) -> DataSetName {
        match self {
            AddressClass::TorExit => DataSetName::IpTor,
            AddressClass::Vpn => DataSetName::IpVpn,
            AddressClass::Datacenter => DataSetName::IpDatacenter,
            AddressClass::PublicProxy => DataSetName::IpProxy,
            AddressClass::PrivateRelay => DataSetName::IpRelay,
            AddressClass::Tunnel => DataSetName::IpTunnel,
            AddressClass::Blacklisted => DataSetName::IpBlacklist,
        }
    }
}

/// The layout of a data file, where it cannot be told or should not be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A MaxMind DB file: flat or nested records for country, city and network, flags for classes.
    Mmdb,
    /// Addresses or networks, one a line.
    Addresses,
    /// First and last address a line, with a comma or a hyphen between.
    Ranges,
    /// An address and on how many lists it is, kept from three on.
    Counted,
    /// Comma-separated columns: an address in one of them, network ranges with their operator, or prisons.
    Csv,
    /// Numbers of autonomous systems, with or without `AS`.
    Asn,
    /// JSON with addresses in string values.
    Json,
    /// The packed table of the Python package `iporigin`.
    Iporigin,
    /// GeoJSON with polygons or points.
    GeoJson,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 9] = [
        Format::Mmdb,
        Format::Addresses,
        Format::Ranges,
        Format::Counted,
        Format::Csv,
        Format::Asn,
        Format::Json,
        Format::Iporigin,
        Format::GeoJson,
    ];

    /// Returns the name, such as `mmdb`.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Mmdb => "mmdb",
            Format::Addresses => "addresses",
            Format::Ranges => "ranges",
            Format::Counted => "counted",
            Format::Csv => "csv",
            Format::Asn => "asn",
            Format::Json => "json",
            Format::Iporigin => "iporigin",
            Format::GeoJson => "geojson",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Format> {
        Format::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| Error::UnknownFormat {
            name: text.to_owned(),
            known: Format::ALL.map(Format::as_str).join(", "),
        })
    }
}

/// Returns `; did you mean …?` for the nearest of `known`, or nothing where none is near.
fn suggestion(text: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(text, name), name))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map_or_else(String::new, |(_, name)| format!("; did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for name in DataSetName::ALL {
            assert_eq!(name.as_str().parse::<DataSetName>().unwrap(), name);
        }
        for format in Format::ALL {
            assert_eq!(format.as_str().parse::<Format>().unwrap(), format);
        }
    }

    #[test]
    fn a_misspelt_name_brings_a_suggestion() {
        let message = "ip.contry".parse::<DataSetName>().unwrap_err().to_string();
        assert_eq!(message, "unknown data set \"ip.contry\"; did you mean ip.country?");
        let message = "weather".parse::<DataSetName>().unwrap_err().to_string();
        assert_eq!(message, "unknown data set \"weather\"");
    }
}
